"""Signing keys: made once, rotated while serving, encrypted at rest, published for others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import msgspec
import pytest
import sqlalchemy as sa
from joserfc import jwt as jose
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, ConfigurationError, Settings, migrations
from gqlauth.app import create_schema
from gqlauth.encryption import is_encrypted
from gqlauth.keys import service
from gqlauth.runtime import Runtime, create_runtime
from gqlauth.settings import Algorithm
from tests.live import at_once
from tests.support import ME, Clock, GraphQLClient
from tests.tables import Key

ENCRYPTION = "of the tests alone VhQk7mXw2ZrT9fLpC4nJ"


@pytest.fixture
def runtime(settings: Settings, clock: Clock) -> Iterator[Runtime]:
    runtime = create_runtime(settings, clock)
    migrations.upgrade(runtime.database)
    yield runtime
    runtime.database.dispose()


def with_settings(runtime: Runtime, **changes: Any) -> Runtime:
    """Return another process on the same database, with other settings."""
    settings = msgspec.structs.replace(runtime.settings, **changes)
    return replace(create_runtime(settings, runtime.clock), database=runtime.database)


def pems(runtime: Runtime) -> list[str]:
    with runtime.database.read() as db:
        return list(db.scalars(sa.select(Key.private_key)))


def signing(runtime: Runtime) -> str | None:
    assert runtime.tokens.keys is not None
    return runtime.tokens.keys.signing_kid


def published(client: GraphQLClient) -> list[str]:
    return [key["kid"] for key in client.http.get("/.well-known/jwks.json").json()["keys"]]


def test_the_first_key_is_made_once(runtime: Runtime) -> None:
    assert service.ensure(runtime)
    assert not service.ensure(runtime)
    assert service.load(runtime)
    assert not service.load(runtime)
    assert [key.kid for key in service.every(runtime)] == [signing(runtime)]


def test_processes_that_start_at_once_make_one_key(runtime: Runtime) -> None:
    processes = [create_runtime(runtime.settings, runtime.clock) for _ in range(4)]
    made = at_once(4, lambda number: service.ensure(processes[number]))
    assert sorted(made) == [False, False, False, True]
    for process in processes:
        service.load(process)
        process.database.dispose()
    assert len({signing(process) for process in processes}) == 1


def test_rotations_at_once_come_one_after_the_other(runtime: Runtime) -> None:
    service.ensure(runtime)
    processes = [create_runtime(runtime.settings, runtime.clock) for _ in range(4)]
    kids = at_once(4, lambda number: service.rotate(processes[number]))
    for process in processes:
        process.database.dispose()
    assert len({*kids}) == 4
    assert len(service.every(runtime)) == 5
    (alive,) = [key.kid for key in service.every(runtime) if key.retired_at is None]
    assert alive in kids


def test_a_rotation_while_serving_fails_no_request(client: GraphQLClient, auth: Auth, clock: Clock) -> None:
    """The old key verifies until its last token has expired, and then leaves the published set."""
    old = client.signup()
    (first,) = published(client)
    second = service.rotate(auth.runtime)
    client.me(old["accessToken"])
    service.load(auth.runtime)
    assert published(client) == [second, first]
    new = client.login()
    assert kid(new) == second
    assert client.me(new["accessToken"]) == client.me(old["accessToken"])
    clock.advance(auth.settings.access_token_seconds)
    service.load(auth.runtime)
    assert client.refused(ME, token=old["accessToken"])["reason"] == "TOKEN_EXPIRED"
    assert published(client) == [second, first]
    clock.advance(service.ROTATION_SECONDS)
    service.load(auth.runtime)
    assert published(client) == [second]
    assert client.refused(ME, token=old["accessToken"])["reason"] == "TOKEN_INVALID"


def test_a_token_that_a_slow_process_signed_after_the_rotation_lives_to_its_end(
    client: GraphQLClient, auth: Auth, clock: Clock
) -> None:
    """Other processes look for new keys every few seconds; until then they sign with the retired one."""
    client.signup()
    service.rotate(auth.runtime)
    clock.advance(5)
    late = client.login()
    service.load(auth.runtime)
    clock.advance(auth.settings.access_token_seconds - 1)
    service.load(auth.runtime)
    client.me(late["accessToken"])


def test_a_token_of_a_key_that_this_process_has_not_seen_is_looked_up(client: GraphQLClient, auth: Auth) -> None:
    account = client.signup()["user"]
    other = create_runtime(auth.settings, auth.runtime.clock)
    service.rotate(other)
    service.load(other)
    with auth.runtime.database.read() as db:
        session_id = db.scalar(sa.text("SELECT id FROM sessions"))
    token, _ = other.tokens.issue(
        UUID(account["id"]), UUID(str(session_id)), until=auth.runtime.clock().replace(year=2030)
    )
    other.database.dispose()
    assert client.me(token) == account


def kid(payload: dict[str, Any]) -> str:
    found: str = jwt.get_unverified_header(payload["accessToken"])["kid"]
    return found


def test_keys_lie_in_the_clear_only_where_no_encryption_is_set(runtime: Runtime) -> None:
    service.ensure(runtime)
    assert all(pem.startswith("-----BEGIN PRIVATE KEY-----") for pem in pems(runtime))


def test_keys_are_encrypted_at_rest_where_it_is_set(runtime: Runtime) -> None:
    encrypting = with_settings(runtime, key_encryption_key=ENCRYPTION)
    service.ensure(encrypting)
    service.rotate(encrypting)
    assert len(pems(runtime)) == 2
    assert all(map(is_encrypted, pems(runtime)))
    assert "PRIVATE KEY" not in "".join(pems(runtime))
    assert service.load(encrypting)


@pytest.mark.parametrize("other", [None, "another of the tests RtK8vNqW3xPzM5cFyB7j"])
def test_another_encryption_key_is_told_in_one_line(runtime: Runtime, other: str | None) -> None:
    service.ensure(with_settings(runtime, key_encryption_key=ENCRYPTION))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service.load(with_settings(runtime, key_encryption_key=other))


def damages(pem: str) -> list[str]:
    middle = len(pem) // 2
    return ["", "nonsense", pem[:-40], pem[:middle] + "A!" + pem[middle + 2 :], pem.replace("PRIVATE", "PUBLIC")]


def test_a_damaged_or_exchanged_key_is_told_in_one_line(runtime: Runtime) -> None:
    service.ensure(runtime)
    (pem,) = pems(runtime)
    exchanged = with_settings(runtime, algorithm="EdDSA")
    service.ensure(exchanged)
    others = [other for other in pems(runtime) if other != pem]
    for damaged in [*damages(pem), *others]:
        with runtime.database.transaction() as db:
            db.execute(sa.update(Key).where(Key.algorithm == "ES256").values(private_key=damaged))
        with pytest.raises(ConfigurationError) as told:
            service.load(with_settings(runtime))
        assert "\n" not in str(told.value)
        assert "PRIVATE" not in str(told.value)


def test_no_key_at_all_is_told_in_one_line(runtime: Runtime) -> None:
    with pytest.raises(ConfigurationError, match="gqlauth keys rotate"):
        service.load(runtime)


def test_a_shared_secret_has_no_keys_to_make_or_rotate(runtime: Runtime) -> None:
    shared = with_settings(runtime, algorithm="HS256", secret_key=ENCRYPTION)
    assert not service.ensure(shared)
    assert not service.load(shared)
    with pytest.raises(ConfigurationError, match="GQLAUTH_SECRET_KEY"):
        service.rotate(shared)
    assert pems(runtime) == []


def test_a_public_key_as_shared_secret_stops_the_start(runtime: Runtime) -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----"
    with pytest.raises(ConfigurationError, match="public key"):
        service.load(with_settings(runtime, algorithm="HS256", secret_key=pem))


# RFC 9864 renames it to Ed25519; most verifiers know the old name alone.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "HS256"])
def test_a_sibling_service_verifies_by_the_published_keys_alone(tmp_path: Path, algorithm: Algorithm) -> None:
    """With a library that we do not sign with."""
    url = f"sqlite:///{tmp_path}/test.db"
    auth = Auth(
        Settings(environment="test", bcrypt_cost=4, database_url=url, algorithm=algorithm, secret_key=ENCRYPTION)
    )
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with TestClient(app) as http:
        token = GraphQLClient(http).signup()["accessToken"]
        assert GraphQLClient(http).me(token)["email"] == "ada@example.com"
        found = http.get("/.well-known/jwks.json").json()
    if algorithm == "HS256":
        assert found == {"keys": []}
        return
    decoded = jose.decode(token, KeySet.import_key_set(found), algorithms=[algorithm])
    assert decoded.header["typ"] == "at+jwt"
    rules = {"iss": {"essential": True, "value": auth.settings.issuer}, "aud": {"essential": True, "value": "gqlauth"}}
    jose.JWTClaimsRegistry(**rules).validate(decoded.claims)  # type: ignore[arg-type]
    assert decoded.claims["client_id"] == "gqlauth"
