"""A schema with subscriptions of a host's own, and a client that speaks graphql-transport-ws."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import strawberry
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

import gqlauth
from gqlauth import Context, HasRole, IsAuthenticated
from gqlauth.guards.placing import guarded

PROTOCOL = "graphql-transport-ws"
SESSION_ENDED = "subscription { sessionEnded { sessionId reason } }"
Info = strawberry.Info[Context, None]


@strawberry.type
class Subscription(gqlauth.Subscription):
    """What a host may have: open, guarded, endless, and broken."""

    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription(extensions=guarded(IsAuthenticated()))
    async def greeting(self, info: Info) -> AsyncGenerator[str, None]:
        yield f"Hello {info.context.viewer.user_id}"

    @strawberry.subscription(extensions=guarded(HasRole("admin")))
    async def secret(self) -> AsyncGenerator[int, None]:
        while True:
            yield 42
            await asyncio.sleep(0.02)

    @strawberry.subscription
    async def roles(self, info: Info) -> AsyncGenerator[list[str], None]:
        while True:
            yield sorted(info.context.viewer.roles)
            await asyncio.sleep(0.02)

    @strawberry.subscription
    async def account(self, info: Info) -> AsyncGenerator[str, None]:
        while True:
            yield (await info.context.load_user()).name
            await asyncio.sleep(0.02)

    @strawberry.subscription
    async def name(self, info: Info) -> AsyncGenerator[str, None]:
        """Unguarded, and it looks at the viewer again each time."""
        while profile := info.context.viewer.profile:
            yield profile.name
            await asyncio.sleep(0.02)

    @strawberry.subscription
    async def silence(self) -> AsyncGenerator[int, None]:
        await asyncio.Event().wait()
        yield 0

    @strawberry.subscription
    async def broken(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError("the password is hunter2")


class Socket:
    """A client of one open socket."""

    def __init__(self, session: WebSocketTestSession) -> None:
        self.session = session

    def send(self, type: str, **rest: Any) -> None:
        """Send one message."""
        self.session.send_json({"type": type, **rest})

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = self.session.receive_json()
        return message

    def init(self, **params: Any) -> None:
        """Say who this is, and be let in."""
        self.send("connection_init", payload=params)
        assert self.receive() == {"type": "connection_ack"}

    def subscribe(self, query: str, id: str = "1", **variables: Any) -> None:
        """Begin an operation."""
        self.send("subscribe", id=id, payload={"query": query, "variables": variables})

    def next(self, id: str = "1") -> dict[str, Any]:
        """Return the result that comes next."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("next", id), message
        payload: dict[str, Any] = message["payload"]
        return payload

    def error(self, id: str = "1") -> list[dict[str, Any]]:
        """Return the errors that the operation ends with."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("error", id), message
        errors: list[dict[str, Any]] = message["payload"]
        return errors

    def closed(self) -> tuple[int, str]:
        """Return code and reason of the close that comes next, after whatever else is still to come."""
        try:
            while True:
                self.receive()
        except WebSocketDisconnect as close:
            return close.code, close.reason


@contextmanager
def connected(http: TestClient, *protocols: str, **headers: str) -> Iterator[Socket]:
    """Open a socket; headers are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with http.websocket_connect("ws://localhost/graphql", list(protocols or [PROTOCOL]), headers=named) as session:
        yield Socket(session)
