"""The sessions of an account: seen, used, ended, swept away."""

from __future__ import annotations

import time

import sqlalchemy as sa

from gqlauth import Auth
from gqlauth.accounts import service as accounts
from gqlauth.columns import new_id
from gqlauth.sessions import service
from tests.support import LOGIN, LOGOUT, ME, PASSWORD, REVOKE, REVOKE_OTHERS, Clock, GraphQLClient
from tests.tables import Session

REVOKED = {"code": "UNAUTHENTICATED", "reason": "SESSION_REVOKED"}


def test_sessions_are_listed_newest_first_with_the_current_one_marked(client: GraphQLClient, clock: Clock) -> None:
    """ASVS 7.5.2."""
    client.http.headers["user-agent"] = "Firefox\x1b[31m on a phone"
    client.signup()
    clock.advance(5)
    here = client.login()
    clock.advance(5)
    client.login()
    newest, current, oldest = client.sessions(here["accessToken"])
    assert [session["current"] for session in (newest, current, oldest)] == [False, True, False]
    assert newest["createdAt"] > current["createdAt"] > oldest["createdAt"]
    assert current["expiresAt"] == "2026-01-31T12:00:05+00:00"
    assert current["ipAddress"] == "127.0.0.1"
    assert current["userAgent"] == "Firefox[31m on a phone"


def test_each_login_begins_a_session_of_its_own(client: GraphQLClient) -> None:
    """ASVS 7.2.4: also where the client is signed in already."""
    first = client.signup()
    variables = {"input": {"email": "ada@example.com", "password": PASSWORD}}
    second = client.execute(LOGIN, variables, first["accessToken"])["login"]
    third = client.login()
    current = [
        next(session["id"] for session in client.sessions(payload["accessToken"]) if session["current"])
        for payload in (first, second, third)
    ]
    assert len(set(current)) == len({payload["refreshToken"] for payload in (first, second, third)}) == 3


def test_sessions_of_others_are_not_listed(client: GraphQLClient) -> None:
    client.signup("eve@example.com")
    ada = client.signup("ada@example.com")
    assert len(client.sessions(ada["accessToken"])) == 1


def test_the_last_use_is_noted_once_a_minute(client: GraphQLClient, clock: Clock) -> None:
    token = client.signup()["accessToken"]

    def last_used() -> str:
        # The note is written beside the request, not before its answer.
        client.me(token)
        time.sleep(0.2)
        return str(client.sessions(token)[0]["lastUsedAt"])

    clock.advance(59)
    assert last_used() == "2026-01-01T12:00:00+00:00"
    clock.advance(1)
    assert last_used() == "2026-01-01T12:01:00+00:00"
    clock.advance(59)
    assert last_used() == "2026-01-01T12:01:00+00:00"


def test_logout_ends_the_session_at_once(client: GraphQLClient) -> None:
    """ASVS 7.4.1."""
    here, there = client.signup(), client.login()
    assert client.execute(LOGOUT, token=here["accessToken"]) == {"logout": True}
    assert client.refused(ME, token=here["accessToken"]) == REVOKED
    assert client.refresh(here["refreshToken"])["code"] == "INVALID_TOKEN"
    assert client.me(there["accessToken"])


def test_logout_of_nobody_is_false(client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    assert client.execute(LOGOUT) == {"logout": False}
    client.execute(LOGOUT, token=token)
    assert client.execute(LOGOUT, token=token) == {"logout": False}


def test_one_session_can_be_ended_from_another(client: GraphQLClient) -> None:
    """ASVS 7.5.2."""
    here, there = client.signup(), client.login()
    other = client.sessions(here["accessToken"])[0]["id"]
    assert client.execute(REVOKE, {"id": other}, here["accessToken"]) == {"revokeSession": True}
    assert client.refused(ME, token=there["accessToken"]) == REVOKED
    assert client.execute(REVOKE, {"id": other}, here["accessToken"]) == {"revokeSession": False}


def test_a_session_of_somebody_else_is_the_same_as_an_unknown_one(client: GraphQLClient) -> None:
    eve, ada = client.signup("eve@example.com"), client.signup("ada@example.com")
    of_ada = client.sessions(ada["accessToken"])[0]["id"]
    for id in (of_ada, "00000000-0000-0000-0000-000000000000", "nonsense", ""):
        assert client.execute(REVOKE, {"id": id}, eve["accessToken"]) == {"revokeSession": False}
    assert client.me(ada["accessToken"])


def test_all_other_sessions_can_be_ended(client: GraphQLClient) -> None:
    eve, here = client.signup("eve@example.com"), client.signup()
    others = [client.login() for _ in range(3)]
    assert client.execute(REVOKE_OTHERS, token=here["accessToken"]) == {"revokeOtherSessions": 3}
    assert client.execute(REVOKE_OTHERS, token=here["accessToken"]) == {"revokeOtherSessions": 0}
    assert [client.refused(ME, token=other["accessToken"]) for other in others] == [REVOKED] * 3
    assert client.me(here["accessToken"])
    assert client.me(eve["accessToken"])


def test_a_disabled_account_is_kept_out_at_once_and_its_sessions_stay_ended(client: GraphQLClient, auth: Auth) -> None:
    """ASVS 7.4.2; simplejwt CVE-2024-22513: tokens of disabled users worked."""
    payload = client.signup()
    accounts.disable_user(auth.runtime, "ada@example.com")
    assert client.refused(ME, token=payload["accessToken"])["reason"] == "ACCOUNT_DISABLED"
    assert client.refresh(payload["refreshToken"])["code"] == "INVALID_TOKEN"
    accounts.enable_user(auth.runtime, "ada@example.com")
    assert client.refused(ME, token=payload["accessToken"]) == REVOKED
    assert client.refresh(payload["refreshToken"])["code"] == "INVALID_TOKEN"


def test_expired_sessions_are_swept_away(client: GraphQLClient, auth: Auth, clock: Clock) -> None:
    ended, kept = client.signup(), client.login()
    client.execute(LOGOUT, token=ended["accessToken"])
    clock.advance(29 * 86_400)
    kept = client.refresh(kept["refreshToken"])
    assert service.sweep(auth.runtime) == 0
    clock.advance(86_400)
    assert service.sweep(auth.runtime) == 1
    assert client.refresh(kept["refreshToken"])["__typename"] == "AuthPayload"
    clock.advance(30 * 86_400)
    assert service.sweep(auth.runtime) == 1
    with auth.runtime.database.read() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(Session)) == 0


def test_the_server_sweeps_by_itself_in_batches(client: GraphQLClient, auth: Auth, clock: Clock) -> None:
    client.signup()
    with auth.runtime.database.transaction() as db:
        row = dict(db.execute(sa.select(Session.__table__)).mappings().one())
        many = [row | {"id": new_id()} for _ in range(service.SWEEP_BATCH)]
        db.execute(sa.insert(Session), many)
    clock.advance(31 * 86_400)
    assert client.http.portal is not None
    client.http.portal.call(auth._running.housekeeping.sweep)
    with auth.runtime.database.read() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(Session)) == 0
