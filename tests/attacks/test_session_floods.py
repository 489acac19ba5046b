"""Sessions without number: whoever has a password signs in again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from gqlauth.events import LoggedIn, SessionRevoked
from tests.support import LOGOUT, ME, Clock, GraphQLClient
from tests.tables import Session

REVOKED = {"code": "UNAUTHENTICATED", "reason": "SESSION_REVOKED"}

Open = Callable[..., tuple[Auth, GraphQLClient]]


@pytest.fixture
def open(settings: Settings, clock: Clock) -> Iterator[Open]:
    """Starts a server on the test's database: limits on guessing have tests of their own."""
    with ExitStack() as stack:

        def open(**changes: Any) -> tuple[Auth, GraphQLClient]:
            auth = Auth(msgspec.structs.replace(settings, rate_limits=False, **changes), clock=clock)
            app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
            return auth, GraphQLClient(stack.enter_context(TestClient(app)))

        yield open


def count(auth: Auth, *where: sa.ColumnElement[bool]) -> int:
    with auth.runtime.database.read() as db:
        return db.scalar(sa.select(sa.func.count()).select_from(Session).where(*where)) or 0


def test_an_account_has_a_hundred_sessions_at_most(open: Open) -> None:
    auth, client = open()
    first = client.signup()
    for _ in range(104):
        last = client.login()
    assert count(auth, Session.ended_at.is_(None)) == 100
    assert len(client.sessions(last["accessToken"])) == 100
    assert client.refused(ME, token=first["accessToken"]) == REVOKED


def test_of_too_many_sessions_the_one_unused_for_longest_ends_with_an_event(open: Open, clock: Clock) -> None:
    auth, client = open(max_sessions=3)
    payloads = [client.signup()]
    for _ in range(2):
        clock.advance(60)
        payloads.append(client.login())
    clock.advance(60)
    kept = client.refresh(payloads[0]["refreshToken"])
    before = [session["id"] for session in client.sessions(kept["accessToken"])]
    happened: list[LoggedIn | SessionRevoked] = []
    auth.runtime.events.subscribe(happened.append)
    new = client.login()
    assert [type(event) for event in happened] == [LoggedIn, SessionRevoked]
    assert str(happened[1].session_id) == before[1], "the second, which nobody has used since"
    assert client.refused(ME, token=payloads[1]["accessToken"]) == REVOKED
    assert client.refresh(payloads[1]["refreshToken"])["code"] == "INVALID_TOKEN"
    for payload in (kept, payloads[2], new):
        assert client.me(payload["accessToken"])["email"] == "ada@example.com"


def test_nobody_elses_sessions_end(open: Open) -> None:
    _, client = open(max_sessions=2)
    eve = client.signup("eve@example.com")
    client.signup()
    for _ in range(5):
        client.login()
    assert client.me(eve["accessToken"])["email"] == "eve@example.com"


def test_sign_ins_at_once_at_two_servers_do_not_go_over(open: Open) -> None:
    (auth, client), (_, other) = open(max_sessions=3), open(max_sessions=3)
    client.signup()
    with ThreadPoolExecutor(8) as threads:
        payloads = list(threads.map(lambda server: server.login(), [client, other] * 8))
    assert {payload["__typename"] for payload in payloads} == {"AuthPayload"}
    assert count(auth, Session.ended_at.is_(None)) == 3


def test_signing_in_and_out_for_ever_does_not_fill_the_table(open: Open, clock: Clock) -> None:
    auth, client = open(max_sessions=3)
    client.signup()
    for _ in range(20):
        clock.advance(1)
        client.execute(LOGOUT, token=client.login()["accessToken"])
    assert count(auth) <= 2 * 3
    with auth.runtime.database.read() as db:
        kept = db.scalars(sa.select(Session.created_at).where(Session.ended_at.is_not(None))).all()
    assert max(kept) == clock.now, "of those that have ended, the latest are kept"


def test_where_the_setting_was_lowered_no_more_are_shown(open: Open, clock: Clock) -> None:
    _, client = open()
    client.signup()
    for _ in range(4):
        clock.advance(1)
        token = client.login()["accessToken"]
    newest = client.sessions(token)[:2]
    _, client = open(max_sessions=2)
    assert client.sessions(token) == newest
