"""Private keys at rest, and how what encrypts them is itself rotated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from gqlauth import ConfigurationError, Settings
from gqlauth.keys import service
from gqlauth.migrations import upgrade
from gqlauth.runtime import Runtime, create_runtime

OLD = "old-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NEW = "new-0f1e2d3c4b5a69788796a5b4c3d2e1f0"


Open = Callable[[str | None], Runtime]


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Open]:
    """Opens a runtime whose keys are encrypted under what it is given."""
    opened: list[Runtime] = []

    def open(encryption_key: str | None) -> Runtime:
        opened.append(create_runtime(msgspec.structs.replace(settings, key_encryption_key=encryption_key)))
        return opened[-1]

    yield open
    for each in opened:
        each.database.dispose()


def test_the_encryption_key_can_be_rotated(runtime: Open) -> None:
    before = runtime(OLD)
    upgrade(before.database)
    service.ensure(before)
    kid = service.rotate(before)
    both = runtime(f"{NEW},{OLD}")
    service.load(both)
    assert both.tokens.keys is not None
    assert both.tokens.keys.signing_kid == kid
    assert service.encrypt(both) == 2
    service.load(runtime(NEW))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service.load(runtime(OLD))


def test_keys_in_the_clear_can_be_encrypted_afterwards(runtime: Open) -> None:
    clear = runtime(None)
    upgrade(clear.database)
    service.ensure(clear)
    assert "BEGIN PRIVATE KEY" in service.every(clear)[0].private_key
    with pytest.raises(ConfigurationError, match="GQLAUTH_KEY_ENCRYPTION_KEY is not set"):
        service.encrypt(clear)
    assert service.encrypt(runtime(NEW)) == 1
    assert "BEGIN ENCRYPTED PRIVATE KEY" in service.every(clear)[0].private_key
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service.load(clear)


def test_where_one_key_cannot_be_read_none_is_changed(runtime: Open) -> None:
    old = runtime(OLD)
    upgrade(old.database)
    service.ensure(old)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service.encrypt(runtime(NEW))
    service.load(old)
