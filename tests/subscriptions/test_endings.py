"""A socket ends with its session: at once where this process ends it, within a second where another does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import gqlauth
from gqlauth import Auth, Settings, sockets
from gqlauth.keys import service as keys
from gqlauth.runtime import Client, Runtime, create_runtime
from gqlauth.sessions import service as sessions
from gqlauth.users.service import Kind, grant, revoke
from tests.subscriptions.support import SESSION_ENDED, Socket, Subscription, connected
from tests.support import DELETE_ACCOUNT, LOGOUT, PASSWORD, REVOKE_OTHERS, UPDATE_PROFILE, Clock, GraphQLClient
from tests.tables import User


@pytest.fixture
def elsewhere(settings: Settings, clock: Clock) -> Iterator[Runtime]:
    """Another process on the same database: this one does not hear of its events."""
    runtime = create_runtime(settings, clock)
    yield runtime
    runtime.database.dispose()


def ended(socket: Socket, reason: str, id: str = "1") -> None:
    """Expect the end of the session, told and done."""
    told = socket.next(id)["data"]["sessionEnded"]
    assert told["reason"] == reason
    assert socket.receive() == {"type": "complete", "id": id}
    assert socket.closed() == (4401, reason)


def watch(socket: Socket, payload: dict[str, Any]) -> None:
    socket.init(authToken=payload["accessToken"])
    socket.subscribe(SESSION_ENDED)


def test_a_logout_ends_the_sockets_of_its_session_and_no_other(client: GraphQLClient) -> None:
    first, second = client.signup(), client.login()
    with connected(client.http) as socket, connected(client.http) as twin, connected(client.http) as other:
        watch(socket, first)
        twin.init(authToken=first["accessToken"])
        watch(other, second)
        client.execute(LOGOUT, token=first["accessToken"])
        ended(socket, "SESSION_REVOKED")
        assert twin.closed() == (4401, "SESSION_REVOKED")
        other.send("ping")
        assert other.receive() == {"type": "pong"}
        client.execute(DELETE_ACCOUNT, {"password": PASSWORD}, second["accessToken"])
        ended(other, "SESSION_REVOKED")


def test_a_session_ended_from_another_device_tells_which_it_was(client: GraphQLClient) -> None:
    first, second = client.signup(), client.login()
    current = next(session["id"] for session in client.sessions(first["accessToken"]) if session["current"])
    with connected(client.http) as socket:
        watch(socket, first)
        client.execute(REVOKE_OTHERS, token=second["accessToken"])
        assert socket.next() == {"data": {"sessionEnded": {"sessionId": current, "reason": "SESSION_REVOKED"}}}


def test_what_ends_in_another_process_ends_the_sockets_of_this(client: GraphQLClient, elsewhere: Runtime) -> None:
    payload = client.signup()
    with connected(client.http) as socket, connected(client.http) as nobody:
        watch(socket, payload)
        nobody.init()
        session_id = UUID(client.sessions(payload["accessToken"])[0]["id"])
        assert sessions.end_session(elsewhere, session_id=session_id, client=Client())
        ended(socket, "SESSION_REVOKED")
        nobody.send("ping")
        assert nobody.receive() == {"type": "pong"}


def test_a_disabled_account_is_told_so(client: GraphQLClient, elsewhere: Runtime) -> None:
    """ASVS 7.4.2."""
    payload = client.signup()
    with connected(client.http) as socket:
        watch(socket, payload)
        with elsewhere.database.transaction() as db:
            db.execute(sa.update(User).values(disabled_at=elsewhere.clock()))
        ended(socket, "ACCOUNT_DISABLED")


def test_a_token_that_expires_ends_its_socket_but_is_no_end_of_the_session(client: GraphQLClient, clock: Clock) -> None:
    payload = client.signup()
    with connected(client.http) as socket:
        watch(socket, payload)
        clock.advance(900)
        with pytest.raises(WebSocketDisconnect) as close:
            socket.receive()
        assert (close.value.code, close.value.reason) == (4401, "TOKEN_EXPIRED")
    refreshed = client.refresh(payload["refreshToken"])
    with connected(client.http) as socket:
        watch(socket, refreshed)


def test_a_revoked_key_ends_the_sockets_that_it_let_in(client: GraphQLClient, elsewhere: Runtime) -> None:
    """Whoever stole the key may have opened them, with a token that never expires."""
    payload = client.signup()
    with connected(client.http) as socket:
        watch(socket, payload)
        keys.revoke(elsewhere, keys.every(elsewhere)[0].kid)
        with pytest.raises(WebSocketDisconnect) as close:
            socket.receive()
        assert (close.value.code, close.value.reason) == (4401, "TOKEN_INVALID")
    refreshed = client.refresh(payload["refreshToken"])
    with connected(client.http) as socket:
        watch(socket, refreshed)


def test_nothing_more_is_shown_once_the_session_has_ended(client: GraphQLClient) -> None:
    payload = client.signup()
    with connected(client.http) as socket:
        socket.init(authToken=payload["accessToken"])
        socket.subscribe("subscription { name }")
        assert socket.next() == {"data": {"name": "Ada"}}
        client.execute(LOGOUT, token=payload["accessToken"])
        assert socket.closed() == (4401, "SESSION_REVOKED")


def test_what_changes_about_the_viewer_is_seen_within_a_second(client: GraphQLClient) -> None:
    payload = client.signup()
    with connected(client.http) as socket:
        socket.init(authToken=payload["accessToken"])
        socket.subscribe("subscription { name }")
        assert socket.next() == {"data": {"name": "Ada"}}
        client.execute(UPDATE_PROFILE, {"input": {"name": "Grace"}}, payload["accessToken"])
        while socket.next() != {"data": {"name": "Grace"}}:
            pass


def test_the_whole_account_is_seen_within_a_second_too(client: GraphQLClient) -> None:
    """`load_user` keeps what it has read for one request; a socket is many."""
    payload = client.signup()
    with connected(client.http) as socket:
        socket.init(authToken=payload["accessToken"])
        socket.subscribe("subscription { account }")
        assert socket.next() == {"data": {"account": "Ada"}}
        client.execute(UPDATE_PROFILE, {"input": {"name": "Grace"}}, payload["accessToken"])
        while socket.next() != {"data": {"account": "Grace"}}:
            pass


@pytest.mark.parametrize("kind", ["role", "scope"])
def test_a_role_or_scope_that_is_lost_ends_what_its_guard_has_let_in(
    client: GraphQLClient, elsewhere: Runtime, kind: Kind
) -> None:
    """A guard is asked when a subscription begins: whoever loses something has to begin anew."""
    payload, twin = client.signup(), client.signup("grace@example.com")
    for name in ("admin", "reader"):
        grant(elsewhere, "ada@example.com", kind, name)
    grant(elsewhere, "ada@example.com", "role", "admin")
    with connected(client.http) as socket, connected(client.http) as other:
        other.init(authToken=twin["accessToken"])
        socket.init(authToken=payload["accessToken"])
        socket.subscribe("subscription { secret }")
        assert socket.next() == {"data": {"secret": 42}}
        revoke(elsewhere, "ada@example.com", kind, "admin")
        assert socket.closed() == (1012, "GRANTS_CHANGED")
        other.send("ping")
        assert other.receive() == {"type": "pong"}
    if kind == "role":
        with connected(client.http) as socket:
            socket.init(authToken=payload["accessToken"])
            socket.subscribe("subscription { secret }")
            assert socket.error()[0]["extensions"]["reason"] == "ROLE_REQUIRED"


def test_a_role_that_is_won_ends_what_has_begun_without_it(client: GraphQLClient, elsewhere: Runtime) -> None:
    """It may be one that keeps out, as in `~HasRole("banned")`."""
    payload = client.signup()
    with connected(client.http) as socket:
        socket.init(authToken=payload["accessToken"])
        socket.subscribe("subscription { roles }")
        assert socket.next() == {"data": {"roles": []}}
        grant(elsewhere, "ada@example.com", "role", "banned")
        assert socket.closed() == (1012, "GRANTS_CHANGED")


def test_all_sockets_are_asked_about_in_one_statement_and_nothing_without_one(
    client: GraphQLClient, auth: Auth, elsewhere: Runtime
) -> None:
    statements: list[str] = []
    sa.event.listen(auth.runtime.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    payloads = [client.signup(), client.login(), client.login()]
    with ExitStack() as stack:
        watched = [stack.enter_context(connected(client.http)) for _ in range(9)]
        for socket, payload in zip(watched, payloads * 3, strict=True):
            watch(socket, payload)
        statements.clear()
        sessions.end_every_session(elsewhere, UUID(payloads[0]["user"]["id"]))
        for socket in watched:
            ended(socket, "SESSION_REVOKED")
        # One tick may have come before the end of the sessions, and one right after it.
        assert 1 <= len(about_sessions(statements)) <= 2
    statements.clear()
    time.sleep(2 * sockets.CHECK_SECONDS)
    assert about_sessions(statements) == []


def about_sessions(statements: list[str]) -> list[str]:
    """Return the statements that read sessions. The server looks for new signing keys all the time."""
    return [statement for statement in statements if "FROM sessions" in statement]


def test_sockets_outlive_a_short_failure_of_the_database_but_not_a_long_one(
    client: GraphQLClient, auth: Auth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    payload = client.signup()
    with connected(client.http) as socket, connected(client.http) as nobody:
        watch(socket, payload)
        nobody.init()
        rename(auth, "sessions", "away")
        while "could not be read" not in caplog.text:
            time.sleep(0.05)
        rename(auth, "away", "sessions")
        socket.send("ping")
        assert socket.receive() == {"type": "pong"}
        monkeypatch.setattr(sockets, "OUTAGE_SECONDS", 1)
        rename(auth, "sessions", "away")
        assert socket.closed() == (1013, "DATABASE_UNAVAILABLE")
        nobody.send("ping")
        assert nobody.receive() == {"type": "pong"}
        rename(auth, "away", "sessions")


def test_stateless_a_socket_ends_by_the_events_of_this_process_and_by_its_token(
    settings: Settings, clock: Clock
) -> None:
    auth = Auth(msgspec.structs.replace(settings, stateless=True), clock=clock)
    schema = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, Subscription)
    with TestClient(Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)) as http:
        client = GraphQLClient(http)
        first, second = client.signup(), client.login()
        with connected(http) as socket, connected(http) as other:
            watch(socket, first)
            watch(other, second)
            client.execute(LOGOUT, token=first["accessToken"])
            ended(socket, "SESSION_REVOKED")
            clock.advance(900)
            assert other.closed() == (4401, "TOKEN_EXPIRED")


def test_two_hundred_sockets_are_all_ended(client: GraphQLClient, elsewhere: Runtime) -> None:
    accounts = [client.signup(f"{number}@example.com") for number in range(5)]
    with ExitStack() as stack:
        watched = []
        for payload in accounts * 40:
            socket = stack.enter_context(connected(client.http))
            socket.init(authToken=payload["accessToken"])
            watched.append(socket)
        assert client.me(accounts[0]["accessToken"])
        with elsewhere.database.transaction() as db:
            db.execute(sa.update(User).values(disabled_at=elsewhere.clock()))
        for socket in watched:
            assert socket.closed() == (4401, "ACCOUNT_DISABLED")


def test_a_lifespan_that_ends_closes_what_is_open(auth: Auth) -> None:
    """Whatever the server; uvicorn has closed them by then."""
    schema, lifespan = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, Subscription), auth.lifespan()
    with TestClient(Starlette(routes=auth.routes(schema))) as http:
        assert http.portal is not None
        http.portal.call(lifespan.__aenter__)
        with connected(http) as socket:
            watch(socket, GraphQLClient(http).signup())
            http.portal.call(lifespan.__aexit__, None, None, None)
            assert socket.closed() == (1012, "")


def rename(auth: Auth, old: str, new: str) -> None:
    with auth.runtime.database.transaction() as db:
        db.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))
