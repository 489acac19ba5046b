"""A thief with the owner's refresh token, who asks within the grace and hopes that nobody sees it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from gqlauth import Auth
from gqlauth.events import Event, Refreshed, RefreshReplayed
from tests.support import Clock, GraphQLClient
from tests.tables import Session

OWNER, THIEF = "192.0.2.7", "203.0.113.9"
BROWSER, TOOL = "Firefox", "curl"


@pytest.fixture
def happened(auth: Auth) -> list[Event]:
    """What was told of refreshes."""
    events: list[Event] = []
    auth.runtime.events.subscribe(events.append, Refreshed)
    auth.runtime.events.subscribe(events.append, RefreshReplayed)
    return events


def from_(client: GraphQLClient, address: str, program: str = BROWSER) -> GraphQLClient:
    http = TestClient(client.http.app, client=(address, 50_000), headers={"user-agent": program})
    http.portal = client.http.portal
    return GraphQLClient(http)


def stored(auth: Auth) -> tuple[Any, ...]:
    with auth.runtime.database.read() as db:
        return tuple(db.execute(sa.select(Session.__table__)).one())


@pytest.mark.parametrize(("address", "program"), [(THIEF, BROWSER), (OWNER, TOOL), (THIEF, TOOL), ("2001:db8::1", "")])
def test_a_replay_from_elsewhere_is_told_and_changes_nothing_of_the_session(
    client: GraphQLClient, auth: Auth, clock: Clock, happened: list[Event], address: str, program: str
) -> None:
    owner = from_(client, OWNER)
    first = owner.signup()
    clock.advance(60)
    second = owner.refresh(first["refreshToken"])
    before = stored(auth)
    clock.advance(5)
    replay = from_(client, address, program).refresh(first["refreshToken"])
    assert replay["refreshToken"] == second["refreshToken"], "a phone that changes networks gets it, too"
    assert stored(auth) == before
    assert [(type(event), event.ip_address) for event in happened] == [(Refreshed, OWNER), (RefreshReplayed, address)]
    assert happened[1].user_id is not None  # type: ignore[attr-defined]  # of the two classes alone


def test_a_thief_who_is_first_does_not_hide_behind_the_replay_of_the_owner(
    client: GraphQLClient, auth: Auth, happened: list[Event]
) -> None:
    owner, thief = from_(client, OWNER), from_(client, THIEF, TOOL)
    first = owner.signup()
    thief.refresh(first["refreshToken"])
    replay = owner.refresh(first["refreshToken"])
    assert [(type(event), event.ip_address) for event in happened] == [(Refreshed, THIEF), (RefreshReplayed, OWNER)]
    (session,) = owner.sessions(replay["accessToken"])
    assert (session["ipAddress"], session["userAgent"]) == (THIEF, TOOL), "where it was refreshed from"


@pytest.mark.parametrize(
    ("here", "there"), [(OWNER, OWNER), ("2001:db8::1", "2001:db8::2"), (OWNER, f"::ffff:{OWNER}")]
)
def test_a_replay_from_the_same_place_is_nothing_to_tell(
    client: GraphQLClient, auth: Auth, clock: Clock, happened: list[Event], here: str, there: str
) -> None:
    """Two tabs, a retried request, another address of the same home."""
    first = from_(client, here).signup()
    second = from_(client, here).refresh(first["refreshToken"])
    before = stored(auth)
    clock.advance(5)
    assert from_(client, there).refresh(first["refreshToken"])["refreshToken"] == second["refreshToken"]
    assert stored(auth) == before
    assert [type(event) for event in happened] == [Refreshed]


def test_replays_do_not_keep_a_session_alive(client: GraphQLClient, clock: Clock) -> None:
    first = client.signup()
    second = client.refresh(first["refreshToken"])
    clock.advance(9)
    replay = client.refresh(first["refreshToken"])
    assert replay["refreshToken"] == second["refreshToken"]
    clock.advance(30 * 86_400 - 9)
    assert client.refresh(second["refreshToken"])["code"] == "INVALID_TOKEN"
