"""Private keys at rest, and how what encrypts them is itself rotated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization

from gqlauth import ConfigurationError, Settings
from gqlauth.encryption import Cipher, DecryptionError, is_encrypted
from gqlauth.keys import service
from gqlauth.migrations import upgrade
from gqlauth.runtime import Runtime, create_runtime
from tests.live import at_once
from tests.tables import Key

OLD = "old-VhQk7mXw2ZrT9fLpC4nJbY6sGdEu3aHo"
NEW = "new-RtK8vNqW3xPzM5cFyB7jLgS2dHwUe9Xa"


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
    assert is_encrypted(service.every(clear)[0].private_key)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service.load(clear)


def test_where_one_key_cannot_be_read_none_is_changed(runtime: Open) -> None:
    old = runtime(OLD)
    upgrade(old.database)
    service.ensure(old)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service.encrypt(runtime(NEW))
    service.load(old)


def old_form(runtime: Runtime, passphrase: str) -> None:
    """Encrypt every key as earlier versions did."""
    with runtime.database.transaction() as db:
        for row in db.scalars(sa.select(Key)):
            private = serialization.load_pem_private_key(row.private_key.encode(), None)
            encryption = serialization.BestAvailableEncryption(passphrase.encode())
            form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            row.private_key = private.private_bytes(*form).decode()


def stored(runtime: Runtime) -> list[str]:
    return sorted(row.private_key for row in service.every(runtime))


def test_a_start_encrypts_what_lies_in_clear_text_and_no_more_than_once(runtime: Open) -> None:
    clear = runtime(None)
    upgrade(clear.database)
    service.ensure(clear)
    kid = service.rotate(clear)
    assert (service.protect(clear), service.count_clear(clear)) == (0, 2)
    encrypting = runtime(NEW)
    assert service.protect(encrypting) == 2
    after = stored(clear)
    assert all(map(is_encrypted, after))
    assert (service.protect(encrypting), stored(clear)) == (0, after)
    service.load(encrypting)
    assert encrypting.tokens.ring().signing_kid == kid


@pytest.mark.parametrize("keys", [OLD, f"{NEW},{OLD}"])
def test_keys_of_the_old_form_still_load_and_are_encrypted_anew(runtime: Open, keys: str) -> None:
    """They were under PBES2 with 2,048 rounds of PBKDF2, which is no cost for who guesses a passphrase."""
    clear = runtime(None)
    upgrade(clear.database)
    service.ensure(clear)
    old_form(clear, OLD)
    now = runtime(keys)
    service.load(now)
    assert service.protect(now) == 1
    assert all(map(is_encrypted, stored(now)))
    service.load(runtime(keys.partition(",")[0]))


def test_a_start_encrypts_under_the_first_of_several_keys(runtime: Open) -> None:
    old = runtime(OLD)
    upgrade(old.database)
    service.ensure(old)
    assert service.protect(runtime(f"{NEW},{OLD}")) == 1
    service.load(runtime(NEW))


def test_what_cannot_be_read_and_no_longer_counts_does_not_stop_a_start(runtime: Open) -> None:
    old = runtime(OLD)
    upgrade(old.database)
    service.ensure(old)
    with old.database.transaction() as db:
        db.execute(sa.update(Key).values(retired_at=old.clock().replace(year=2001)))
    now = runtime(NEW)
    service.ensure(now)
    assert (service.protect(now), service.count_stale(now)) == (0, 1)
    service.load(now)


def test_servers_that_start_at_once_encrypt_each_key_once(runtime: Open) -> None:
    clear = runtime(None)
    upgrade(clear.database)
    service.ensure(clear)
    service.rotate(clear)
    starting = [runtime(NEW) for _ in range(4)]
    at_once(4, lambda number: service.protect(starting[number]))
    for each in starting:
        service.load(each)
    assert service.count_stale(starting[0]) == 0


def test_no_key_stays_in_clear_text_in_the_bytes_of_the_database(runtime: Open, database_url: str) -> None:
    """Neither in a freed part of SQLite's file nor in its log."""
    if not database_url.startswith("sqlite"):
        return
    clear = runtime(None)
    upgrade(clear.database)
    service.ensure(clear)
    [pem] = stored(clear)
    assert pem[40:80].encode() in contents(clear)
    service.protect(runtime(NEW))
    assert pem[40:80].encode() not in contents(clear)


def contents(runtime: Runtime) -> bytes:
    """Return the bytes of the database's files."""
    file = runtime.database.engine.url.database or ""
    parts = [Path(file + suffix) for suffix in ("", "-wal")]
    return b"".join(part.read_bytes() for part in parts if part.exists())


# The cipher alone


def test_an_encrypted_text_is_read_back_under_any_of_the_keys_and_for_its_purpose_only() -> None:
    cipher = Cipher([OLD])
    text = cipher.encrypt("JBSWY3DPEHPK3PXP", "totp 1")
    assert "JBSWY3DPEHPK3PXP" not in text
    assert text != cipher.encrypt("JBSWY3DPEHPK3PXP", "totp 1")
    later = Cipher([NEW, OLD])
    assert later.decrypt(text, "totp 1") == "JBSWY3DPEHPK3PXP"
    assert (cipher.is_current(text, "totp 1"), later.is_current(text, "totp 1")) == (True, False)
    for reader, purpose in ((cipher, "totp 2"), (Cipher([NEW]), "totp 1"), (Cipher([]), "totp 1")):
        with pytest.raises(DecryptionError):
            reader.decrypt(text, purpose)
    with pytest.raises(DecryptionError):
        Cipher([]).encrypt("text", "totp 1")


def test_a_text_that_was_changed_anywhere_is_refused() -> None:
    cipher = Cipher([OLD])
    text = cipher.encrypt("secret", "totp 1")
    for place in range(len(text.rpartition(".")[0]) + 1, len(text) - 4):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(DecryptionError):
            cipher.decrypt(changed, "totp 1")
    for broken in ("", "gqlauth1", "gqlauth1..", text + "\n", text[:-8], "gqlauth2" + text[8:], "gqlauth1.é.é"):
        with pytest.raises(DecryptionError):
            cipher.decrypt(broken, "totp 1")


def test_one_process_needs_one_derivation_for_all_texts() -> None:
    """Each takes 16 MiB and a fraction of a second, so a new text takes the salt of those before it."""
    text = Cipher([OLD]).encrypt("one", "1")
    cipher = Cipher([OLD])
    cipher.decrypt(text, "1")
    salts = {cipher.encrypt("two", str(number)).split(".")[1] for number in range(3)}
    assert salts == {text.split(".")[1]}
