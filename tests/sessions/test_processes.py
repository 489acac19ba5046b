"""Several real servers on one database: what one of them ends, refreshes or disables, the others know at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import uuid4

import httpx2
import psycopg
import pytest
from starlette.testclient import TestClient

from tests.processes import Server, run, serving
from tests.support import (
    CHANGE_PASSWORD,
    DELETE_ACCOUNT,
    LOGOUT,
    ME,
    PASSWORD,
    REVOKE,
    REVOKE_OTHERS,
    SESSIONS,
    UPDATE_PROFILE,
    GraphQLClient,
)

REVOKED = {"code": "UNAUTHENTICATED", "reason": "SESSION_REVOKED"}
DISABLED = {"code": "UNAUTHENTICATED", "reason": "ACCOUNT_DISABLED"}


@dataclass(frozen=True)
class Site:
    """A database, a folder to start servers in, and two servers that run on it."""

    folder: Path
    variables: dict[str, str]
    here: GraphQLClient
    there: GraphQLClient

    def new_email(self) -> str:
        return f"{uuid4().hex}@example.com"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Shared by the tests of this file, each with accounts of its own: a server takes a second to start."""
    folder = tmp_path_factory.mktemp("site")
    with new_database(request, folder) as url:
        variables = {"environment": "test", "bcrypt_cost": "4", "database_url": url}
        with ExitStack() as stack:

            def start(_: int) -> GraphQLClient:
                return stack.enter_context(client_of(stack.enter_context(serving(folder, **variables))))

            # At once, on an empty database: both come up, and with the same key.
            with ThreadPoolExecutor(2) as threads:
                here, there = threads.map(start, range(2))
            yield Site(folder, variables, here, there)


@contextmanager
def new_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/test.db"
        return
    server = request.getfixturevalue("postgres")
    name = f"site_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def client_of(server: Server) -> Iterator[GraphQLClient]:
    with httpx2.Client(base_url=server.root, timeout=20) as http:
        # It has all of a TestClient that a GraphQLClient uses.
        yield GraphQLClient(cast(TestClient, http))


def test_what_is_ended_at_one_server_is_refused_at_the_other_on_the_next_request(site: Site) -> None:
    """ASVS 7.4.1."""
    payload = site.here.signup(site.new_email())
    assert site.there.me(payload["accessToken"]) == payload["user"]
    assert site.here.execute(LOGOUT, token=payload["accessToken"]) == {"logout": True}
    assert site.there.refused(ME, token=payload["accessToken"]) == REVOKED
    assert site.there.refresh(payload["refreshToken"])["code"] == "INVALID_TOKEN"


def test_a_device_signed_out_from_another_is_refused_everywhere(site: Site) -> None:
    email = site.new_email()
    first, second, third = site.here.signup(email), site.there.login(email), site.here.login(email)
    newest, middle, _ = (session["id"] for session in site.there.sessions(first["accessToken"]))
    assert site.there.me(second["accessToken"]) and site.there.me(third["accessToken"])
    assert site.here.execute(REVOKE, {"id": middle}, first["accessToken"]) == {"revokeSession": True}
    assert site.there.refused(ME, token=second["accessToken"]) == REVOKED
    assert site.there.sessions(third["accessToken"])[0]["id"] == newest
    assert site.here.execute(REVOKE_OTHERS, token=first["accessToken"]) == {"revokeOtherSessions": 1}
    assert site.there.refused(ME, token=third["accessToken"]) == REVOKED
    assert site.there.me(first["accessToken"])


def test_a_password_change_at_one_server_counts_at_the_other(site: Site) -> None:
    email, new = site.new_email(), "another horse battery"
    first, second = site.here.signup(email), site.there.login(email)
    change = {"input": {"currentPassword": PASSWORD, "newPassword": new}}
    changed = site.here.execute(CHANGE_PASSWORD, change, first["accessToken"])["changePassword"]
    assert site.there.refused(ME, token=second["accessToken"]) == REVOKED
    assert site.there.login(email)["code"] == "INVALID_CREDENTIALS"
    assert site.there.refresh(changed["refreshToken"])["__typename"] == "AuthPayload"


def test_an_account_disabled_by_the_operator_or_deleted_by_its_owner_is_refused_everywhere(site: Site) -> None:
    """ASVS 7.4.2."""
    email = site.new_email()
    payload = site.here.signup(email)
    assert site.there.me(payload["accessToken"])
    assert run("users", "disable", email, folder=site.folder, **site.variables).returncode == 0
    for client in (site.here, site.there):
        assert client.refused(ME, token=payload["accessToken"]) == DISABLED
    doomed = site.here.signup(site.new_email())
    assert site.there.me(doomed["accessToken"])
    site.here.execute(DELETE_ACCOUNT, {"password": PASSWORD}, doomed["accessToken"])
    assert site.there.refused(ME, token=doomed["accessToken"]) == REVOKED
    assert site.there.refresh(doomed["refreshToken"])["code"] == "INVALID_TOKEN"


def test_refreshes_of_one_token_at_two_servers_at_once_have_one_successor(site: Site) -> None:
    """GHSA-392p-2q2v-4372."""
    token = site.here.signup(site.new_email())["refreshToken"]
    for _ in range(5):
        with ThreadPoolExecutor(8) as threads:
            payloads = list(threads.map(lambda client, token=token: client.refresh(token), (site.here, site.there) * 4))
        assert {payload["__typename"] for payload in payloads} == {"AuthPayload"}, payloads
        (token,) = {payload["refreshToken"] for payload in payloads}


def test_a_refresh_that_was_acknowledged_survives_the_death_of_its_server(site: Site) -> None:
    """ASVS 2.3.3, 16.5.3; CVE-2026-9802 (keycloak): after a restart, replaced refresh tokens worked again."""
    first = site.here.signup(site.new_email())
    other = site.here.signup(site.new_email())
    with serving(site.folder, **site.variables) as doomed, client_of(doomed) as client:
        second = client.refresh(first["refreshToken"])
        client.execute(LOGOUT, token=other["accessToken"])
        doomed.stop(signal.SIGKILL)
    assert site.there.me(second["accessToken"]) == first["user"]
    assert site.there.refresh(first["refreshToken"])["refreshToken"] == second["refreshToken"]
    third = site.here.refresh(second["refreshToken"])
    assert third["__typename"] == "AuthPayload"
    assert site.there.refused(ME, token=other["accessToken"]) == REVOKED
    # Two rotations on, the first token is reuse, also for a server that saw neither.
    assert site.there.refresh(first["refreshToken"])["code"] == "INVALID_TOKEN"
    assert site.here.refused(ME, token=third["accessToken"]) == REVOKED


@pytest.fixture(scope="module")
def stateless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("stateless")
    variables = {"environment": "test", "bcrypt_cost": "4", "stateless": "on"}
    with serving(folder, **variables) as server, client_of(server) as client:
        yield Site(folder, variables, client, client)


def test_stateless_an_access_token_lives_on_but_nothing_can_be_changed_with_it(stateless: Site) -> None:
    """What GQLAUTH_STATELESS trades away: what an ended session still sees until its token expires, no more."""
    client, email = stateless.here, stateless.new_email()
    payload, kept = client.signup(email), client.login(email)
    token, of_kept = payload["accessToken"], client.sessions(payload["accessToken"])[0]["id"]
    assert client.execute(LOGOUT, token=token) == {"logout": True}
    assert client.me(token) == payload["user"]
    assert client.refresh(payload["refreshToken"])["code"] == "INVALID_TOKEN"
    for document, variables in (
        (UPDATE_PROFILE, {"input": {"name": "Eve"}}),
        (CHANGE_PASSWORD, {"input": {"currentPassword": PASSWORD, "newPassword": "another horse battery"}}),
        (DELETE_ACCOUNT, {"password": PASSWORD}),
        (REVOKE, {"id": of_kept}),
        (REVOKE_OTHERS, None),
    ):
        assert client.refused(document, variables, token) == REVOKED
    assert client.execute(LOGOUT, token=token) == {"logout": False}
    assert client.refresh(kept["refreshToken"])["user"]["name"] == "Ada"


def test_stateless_a_disabled_or_deleted_account_is_not_shown(stateless: Site) -> None:
    client, email = stateless.here, stateless.new_email()
    disabled, deleted = client.signup(email), client.signup(stateless.new_email())
    assert run("users", "disable", email, folder=stateless.folder, **stateless.variables).returncode == 0
    client.execute(DELETE_ACCOUNT, {"password": PASSWORD}, deleted["accessToken"])
    for payload in (disabled, deleted):
        assert client.refused(ME, token=payload["accessToken"]) == DISABLED
        assert client.execute(SESSIONS, token=payload["accessToken"]) == {"sessions": []}
        assert client.refused(UPDATE_PROFILE, {"input": {"name": "Eve"}}, payload["accessToken"]) == REVOKED
        assert client.refresh(payload["refreshToken"])["code"] == "INVALID_TOKEN"
