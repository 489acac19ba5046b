"""Who gets a place for a WebSocket when they run short: no network takes all, and no kind takes those of another."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gqlauth import sockets
from tests.subscriptions.support import Socket, connected
from tests.support import GraphQLClient

FULL = (1013, "TOO_MANY_SOCKETS")
MINE, THEIRS = "192.0.2.1", "198.51.100.1"


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them are ten, and a tenth are two."""
    for kind in ("MOST_WAITING", "MOST_ANONYMOUS", "MOST_SIGNED_IN"):
        monkeypatch.setattr(sockets, kind, 20)


def at(client: GraphQLClient, address: str) -> TestClient:
    """Return a client of the same server at this address."""
    another = TestClient(client.http.app, base_url="http://localhost", client=(address, 50_000))
    another.portal = client.http.portal
    return another


def open_all(stack: ExitStack, http: TestClient, number: int, **params: str) -> list[Socket]:
    """Open so many sockets that stay open, and let each say who it is."""
    opened = [stack.enter_context(connected(http)) for _ in range(number)]
    for socket in opened:
        socket.init(**params)
    return opened


def outcome(http: TestClient, **params: str) -> tuple[int, str] | None:
    """Return how one more socket is closed, or None if it gets a place."""
    with connected(http) as socket:
        socket.send("connection_init", payload=params)
        try:
            assert socket.receive() == {"type": "connection_ack"}
        except WebSocketDisconnect as close:
            return close.code, close.reason
    return None


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_one_network_cannot_take_all_places_of_a_kind(client: GraphQLClient, is_signed_in: bool) -> None:
    accounts = [client.signup(f"user{number}@example.com")["accessToken"] for number in range(2)]
    mine, theirs = ({"authToken": token} if is_signed_in else {} for token in accounts)
    with ExitStack() as stack:
        opened = open_all(stack, at(client, MINE), 10, **mine)
        assert outcome(at(client, MINE), **mine) == FULL
        assert outcome(at(client, MINE), **theirs) == FULL, "another account is no way around it"
        open_all(stack, at(client, THEIRS), 2, **theirs)
        assert outcome(at(client, THEIRS), **theirs) == FULL
        assert outcome(at(client, "203.0.113.1"), **theirs) is None
        for socket in opened[:4]:
            socket.session.close()
        # What was given back can be taken again.
        assert outcome(at(client, MINE), **mine) is None


def test_a_network_of_ipv6_is_one_of_them(client: GraphQLClient) -> None:
    with ExitStack() as stack:
        for number in range(10):
            open_all(stack, at(client, f"2001:db8::{number}"), 1)
        assert outcome(at(client, "2001:db8::ffff")) == FULL
        assert outcome(at(client, "2001:db8:0:1::1")) is None


def test_anonymous_and_waiting_sockets_take_no_place_of_those_that_are_signed_in(client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    with ExitStack() as stack:
        for number in range(10):
            open_all(stack, at(client, f"192.0.2.{number}"), 2)
        assert outcome(at(client, THEIRS)) == FULL, "there is no place for anybody anonymous"
        for number in range(9):
            stack.enter_context(connected(at(client, f"192.0.2.{number}")))
            stack.enter_context(connected(at(client, f"192.0.2.{number}")))
        for _ in range(10):
            open_all(stack, at(client, THEIRS), 1, authToken=token)


def test_silent_sockets_of_one_network_keep_nobody_else_out(client: GraphQLClient) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connected(at(client, MINE)))
        with pytest.raises(WebSocketDisconnect) as refusal, connected(at(client, MINE)):
            pass
        assert "TOO_MANY_SOCKETS" in str(refusal.value.json())  # type: ignore[attr-defined]
        assert outcome(at(client, THEIRS)) is None
