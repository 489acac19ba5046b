"""What is done at the same moment, from two servers on one database: one consistent outcome, whoever comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.accounts import service as accounts
from gqlauth.app import create_schema
from gqlauth.sessions import service as sessions
from gqlauth.sessions.models import SessionColumns
from gqlauth.users.models import UserColumns
from tests.support import (
    CHANGE_PASSWORD,
    DELETE_ACCOUNT,
    LOGIN,
    LOGOUT,
    ME,
    PASSWORD,
    REFRESH,
    REVOKE,
    REVOKE_OTHERS,
    UPDATE_PROFILE,
    Clock,
    GraphQLClient,
)
from tests.tables import Session, User

T = TypeVar("T")

EMAIL = "ada@example.com"
ROUNDS = 3
SESSION_REVOKED = {"code": "UNAUTHENTICATED", "reason": "SESSION_REVOKED"}


@pytest.fixture
def other_auth(settings: Settings, clock: Clock, client: GraphQLClient) -> Iterator[Auth]:
    """A second server's parts: its own pool and its own locks, as another process has them."""
    auth = Auth(settings, clock=clock)
    yield auth
    auth.runtime.database.dispose()


@pytest.fixture
def other(other_auth: Auth) -> Iterator[GraphQLClient]:
    app = Starlette(routes=other_auth.routes(create_schema()), lifespan=other_auth.lifespan)
    with TestClient(app) as http:
        yield GraphQLClient(http)


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Call all of them at the same moment, each in a thread of its own; return what they return."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(start, calls))


def outcome(client: GraphQLClient, document: str, variables: dict[str, Any] | None, token: str | None) -> Any:
    """Return what the document's one field answered, or the reason for which the guard refused it."""
    response = client.post(document, variables, token)
    assert response.status_code == 200, response.text
    answer = response.json()
    if "errors" not in answer:
        (value,) = answer["data"].values()
        return value
    assert answer["errors"][0]["extensions"] == SESSION_REVOKED, answer
    return "SESSION_REVOKED"


def kind(value: Any) -> str:
    """Tell outcomes apart: a type's name, an error's code, a guard's reason."""
    if isinstance(value, dict):
        return str(value.get("code") or value["__typename"])
    return str(value)


def change(new: str) -> dict[str, Any]:
    return {"input": {"currentPassword": PASSWORD, "newPassword": new}}


def count(auth: Auth, table: type[UserColumns | SessionColumns], *where: sa.ColumnElement[bool]) -> int:
    with auth.runtime.database.read() as db:
        return db.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0


def living(auth: Auth) -> int:
    return count(auth, Session, Session.ended_at.is_(None))


def clean(auth: Auth) -> None:
    """Begin the next round with nothing; that it can be done shows that no row holds on to another."""
    with auth.runtime.database.transaction() as db:
        db.execute(sa.delete(User))
    assert count(auth, Session) == 0


@pytest.mark.parametrize("same_device", [True, False])
def test_of_two_password_changes_at_once_one_counts(
    client: GraphQLClient, other: GraphQLClient, auth: Auth, same_device: bool
) -> None:
    for _ in range(ROUNDS):
        here = client.signup()
        there = here if same_device else client.login()
        news = ("another horse battery", "a third horse battery")
        results = at_once(
            partial(outcome, client, CHANGE_PASSWORD, change(news[0]), here["accessToken"]),
            partial(outcome, other, CHANGE_PASSWORD, change(news[1]), there["accessToken"]),
        )
        assert sorted(map(kind, results))[0] == "AuthPayload"
        won = [kind(result) for result in results].index("AuthPayload")
        assert kind(results[1 - won]) in ("INVALID_CREDENTIALS", "SESSION_REVOKED")
        assert living(auth) == 1
        assert kind(client.refresh(results[won]["refreshToken"])) == "AuthPayload"
        logins = [kind(other.login(password=password)) for password in (news[won], news[1 - won], PASSWORD)]
        assert logins == ["AuthPayload", "INVALID_CREDENTIALS", "INVALID_CREDENTIALS"]
        clean(auth)


@pytest.mark.parametrize("same_device", [True, False])
def test_of_two_deletions_at_once_one_counts(
    client: GraphQLClient, other: GraphQLClient, auth: Auth, same_device: bool
) -> None:
    for _ in range(ROUNDS):
        here = client.signup()
        there = here if same_device else client.login()
        results = at_once(
            partial(outcome, client, DELETE_ACCOUNT, {"password": PASSWORD}, here["accessToken"]),
            partial(outcome, other, DELETE_ACCOUNT, {"password": PASSWORD}, there["accessToken"]),
        )
        kinds = [kind(result) for result in results]
        assert kinds.count("AccountDeleted") == 1
        assert set(kinds) - {"AccountDeleted"} <= {"INVALID_CREDENTIALS", "SESSION_REVOKED"}
        assert count(auth, User) == count(auth, Session) == 0


def test_a_deletion_against_everything_else_leaves_nothing_or_a_whole_account(
    client: GraphQLClient, other: GraphQLClient, auth: Auth
) -> None:
    """GHSA-2vg6-77g8-24mp: sessions outlived the user's deletion."""
    for _ in range(ROUNDS):
        here, there = client.signup(), client.login()
        results = at_once(
            partial(outcome, client, DELETE_ACCOUNT, {"password": PASSWORD}, here["accessToken"]),
            partial(outcome, other, CHANGE_PASSWORD, change("another horse battery"), there["accessToken"]),
            partial(outcome, other, REFRESH, {"token": here["refreshToken"]}, None),
            partial(outcome, client, REFRESH, {"token": there["refreshToken"]}, None),
            partial(outcome, other, LOGIN, {"input": {"email": EMAIL, "password": PASSWORD}}, None),
            partial(outcome, client, UPDATE_PROFILE, {"input": {"name": "Ada L."}}, there["accessToken"]),
        )
        # Whoever of these two is first keeps the other out.
        assert [kind(result) for result in results[:2]] in (
            ["AccountDeleted", "INVALID_CREDENTIALS"],
            ["AccountDeleted", "SESSION_REVOKED"],
            ["INVALID_CREDENTIALS", "AuthPayload"],
            ["SESSION_REVOKED", "AuthPayload"],
        )
        if kind(results[0]) == "AccountDeleted":
            assert count(auth, User) == count(auth, Session) == 0
        else:
            assert client.me(results[1]["accessToken"])["email"] == EMAIL
            assert living(auth) == 1
        clean(auth)


def test_of_sessions_that_end_each_other_one_survives(client: GraphQLClient, other: GraphQLClient, auth: Auth) -> None:
    """Two that each end all others must neither lock each other out of the database nor both be ended."""
    for _ in range(ROUNDS):
        tokens = [client.signup()["accessToken"], *(client.login()["accessToken"] for _ in range(3))]
        results = at_once(
            *(
                partial(outcome, server, REVOKE_OTHERS, None, token)
                for token, server in zip(tokens, (client, other) * 2, strict=True)
            )
        )
        assert living(auth) == 1, results
        assert [kind(result) for result in results].count("SESSION_REVOKED") == 3
        clean(auth)


def test_two_sessions_that_end_one_another_do_not_both_die(
    client: GraphQLClient, other: GraphQLClient, auth: Auth
) -> None:
    for _ in range(ROUNDS):
        here, there = client.signup()["accessToken"], client.login()["accessToken"]
        of_there, of_here = (session["id"] for session in client.sessions(here))
        results = at_once(
            partial(outcome, client, REVOKE, {"id": of_there}, here),
            partial(outcome, other, REVOKE, {"id": of_here}, there),
        )
        assert living(auth) == 1, results
        clean(auth)


def test_sweeping_against_ending_refreshing_and_logging_in_loses_nothing_that_lives(
    client: GraphQLClient, other: GraphQLClient, auth: Auth, other_auth: Auth, clock: Clock
) -> None:
    for _ in range(ROUNDS):
        old = [client.signup()["refreshToken"], *(client.login()["refreshToken"] for _ in range(5))]
        clock.advance(30 * 86_400 - 1)
        here, there = client.login(), client.login()
        clock.advance(1)
        swept_here, swept_there, ended, refreshed, again, dead = at_once(
            partial(sessions.sweep, auth.runtime),
            partial(sessions.sweep, other_auth.runtime),
            partial(outcome, other, REVOKE_OTHERS, None, here["accessToken"]),
            partial(outcome, client, REFRESH, {"token": here["refreshToken"]}, None),
            partial(outcome, other, LOGIN, {"input": {"email": EMAIL, "password": PASSWORD}}, None),
            partial(outcome, client, REFRESH, {"token": old[0]}, None),
        )
        # A row that another holds at that moment is left for the next time.
        assert swept_here + swept_there + sessions.sweep(auth.runtime) == len(old)
        assert (kind(refreshed), kind(dead)) == ("AuthPayload", "INVALID_TOKEN")
        # `there` is ended; the new login is ended too if it came first.
        assert ended in (1, 2)
        assert kind(client.refresh(there["refreshToken"])) == "INVALID_TOKEN"
        assert kind(client.refresh(again["refreshToken"])) == ("AuthPayload" if ended == 1 else "INVALID_TOKEN")
        assert client.me(refreshed["accessToken"])
        clean(auth)


def test_no_session_outlives_a_disabling(
    client: GraphQLClient, other: GraphQLClient, auth: Auth, other_auth: Auth
) -> None:
    """ASVS 7.4.2."""
    log_in = {"input": {"email": EMAIL, "password": PASSWORD}}
    for _ in range(ROUNDS):
        here = client.signup()
        results = at_once(
            partial(accounts.disable_user, other_auth.runtime, EMAIL),
            partial(accounts.disable_user, auth.runtime, EMAIL),
            *(partial(outcome, server, LOGIN, log_in, None) for server in (client, other) * 3),
            partial(outcome, client, REFRESH, {"token": here["refreshToken"]}, None),
        )
        assert results[:2] == [True, True]
        assert {kind(result) for result in results[2:]} <= {"AuthPayload", "INVALID_CREDENTIALS", "INVALID_TOKEN"}
        assert living(auth) == 0
        assert count(auth, User, User.disabled_at.is_not(None)) == 1
        for result in (here, *results[2:]):
            if kind(result) == "AuthPayload":
                assert client.refused(ME, token=result["accessToken"])["reason"] == "ACCOUNT_DISABLED"
        clean(auth)


def test_no_session_outlives_a_password_change_but_those_of_the_new_password(
    client: GraphQLClient, other: GraphQLClient, auth: Auth
) -> None:
    """ASVS 7.4.3: a login with the old password, begun before the change and finished after it, must not count."""
    for _ in range(ROUNDS):
        here = client.signup()
        log_in = {"input": {"email": EMAIL, "password": PASSWORD}}
        changed, *logins = at_once(
            partial(outcome, client, CHANGE_PASSWORD, change("another horse battery"), here["accessToken"]),
            *(partial(outcome, server, LOGIN, log_in, None) for server in (client, other) * 3),
        )
        assert kind(changed) == "AuthPayload"
        assert {kind(result) for result in logins} <= {"AuthPayload", "INVALID_CREDENTIALS"}
        assert living(auth) == 1
        clean(auth)


@pytest.mark.parametrize("operate", [accounts.disable_user, accounts.enable_user])
def test_an_operator_who_comes_while_the_owner_deletes_the_account_is_told_so(
    client: GraphQLClient, auth: Auth, other_auth: Auth, operate: Callable[..., bool]
) -> None:
    client.signup()
    if operate is accounts.enable_user:
        accounts.disable_user(auth.runtime, EMAIL)
    with ThreadPoolExecutor(1) as threads:
        with auth.runtime.database.transaction() as db:
            db.execute(sa.delete(User))
            operated = threads.submit(operate, other_auth.runtime, EMAIL)
            with pytest.raises(TimeoutError):
                operated.result(timeout=0.3)
        assert operated.result(timeout=10) is False


def test_a_logout_in_one_tab_counts_though_another_has_just_refreshed(client: GraphQLClient, clock: Clock) -> None:
    """The tab that logs out still sends the cookies of before: an expired access token, a refresh token used up."""
    first = client.signup()
    clock.advance(3600)
    second = client.refresh(first["refreshToken"])
    names = {"__Host-gqlauth-access": "accessToken", "__Host-gqlauth-refresh": "refreshToken"}
    of_before = {"cookie": "; ".join(f"{cookie}={first[token]}" for cookie, token in names.items())}
    ours = {"origin": str(client.http.base_url), **of_before}
    answer = client.http.post("/graphql", json={"query": LOGOUT}, headers=ours).json()
    assert answer == {"data": {"logout": True}}
    assert client.refused(ME, token=second["accessToken"]) == SESSION_REVOKED
