"""Subscriptions over WebSockets: the protocol graphql-transport-ws, who is asking, and what is refused.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md — the protocol itself is spoken by Strawberry.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import strawberry
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.http.exceptions import NonJsonMessageReceived, WebSocketDisconnected
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UNSET

from gqlauth import cookies
from gqlauth.context import (
    Authenticator,
    Context,
    Credentials,
    Refused,
    Unavailable,
    Viewer,
    read_bearer,
    read_credentials,
)
from gqlauth.errors import Reason
from gqlauth.events import AccessRefused
from gqlauth.http import GraphQLRequest, HTTPError, refuse_socket
from gqlauth.settings import Settings
from gqlauth.sockets import (
    DATABASE_UNAVAILABLE,
    FORBIDDEN,
    TOO_MANY_SOCKETS,
    TRY_AGAIN_LATER,
    Sockets,
    close,
    is_closed,
)
from gqlauth.tokens import InvalidToken

# How long a client may take to say who it is, and how much it may ask at the same time.
INIT_SECONDS = 10
MOST_OPERATIONS = 32

Connect = Callable[[Context], Awaitable[None]]


async def connect(context: Context, authenticator: Authenticator, sockets: Sockets) -> None:
    """Find out who opens this socket, and end it with their session. To be called once `connection_init` has come.

    The token is that of `context.connection_params`, or the handshake's own: its Authorization header or its cookie.
    Raise `WebSocketDisconnected`, which Strawberry takes for what it is, after closing the socket with 4403 and the
    `Reason`, or with 1013 where the database does not answer or there are too many sockets.
    """
    runtime = context.runtime
    credentials = _credentials(context, runtime.settings)
    if isinstance(credentials, Refused):
        raise await _refused(context, credentials)
    identity = await authenticator.authenticate(credentials.access_token)
    if isinstance(identity, Unavailable):
        await close(context, TRY_AGAIN_LATER, DATABASE_UNAVAILABLE)
        raise WebSocketDisconnected
    if isinstance(identity, Refused):
        raise await _refused(context, identity)
    context.identity, claims = identity, None
    if isinstance(identity, Viewer) and credentials.access_token is not None:
        try:
            claims = runtime.tokens.verify(credentials.access_token)
        except InvalidToken as error:  # it expired this very moment
            raise await _refused(context, Refused(error.reason, identity.user_id, identity.session_id)) from None
    if not sockets.add(context, claims):
        await close(context, TRY_AGAIN_LATER, TOO_MANY_SOCKETS)
        raise WebSocketDisconnected


def _credentials(context: Context, settings: Settings) -> Credentials | Refused:
    """Return the one token that counts. Without one, a page of another site is refused (ASVS 4.4.2)."""
    tokens = _tokens(context.connection_params or {})
    if tokens:
        token = read_bearer(tokens)
        return Refused(Reason.TOKEN_INVALID) if token is None else Credentials(token)
    request = context.request
    from_elsewhere = "origin" in request.headers and not cookies.is_ours(request, settings)
    if from_elsewhere and "authorization" not in request.headers:
        return Refused(Reason.ORIGIN_NOT_ALLOWED)
    return read_credentials(request, settings)


def _tokens(params: dict[str, Any]) -> list[bytes]:
    """Return what `connection_init` says, each as the header that it would be; null is nothing."""
    found = []
    for name, value in params.items():
        if value is not None and name.lower() in ("authorization", "authtoken"):
            text = value if isinstance(value, str) else ""
            found.append((text if name.lower() == "authorization" else f"Bearer {text}").encode("utf-8", "replace"))
    return found


async def _refused(context: Context, refused: Refused) -> WebSocketDisconnected:
    context.identity = refused
    context.runtime.events.publish(
        AccessRefused(
            field="connection_init",
            reason=refused.reason,
            user_id=refused.user_id,
            session_id=refused.session_id,
            ip_address=context.client.ip_address,
        )
    )
    await close(context, FORBIDDEN, refused.reason)
    return WebSocketDisconnected()


class Message(msgspec.Struct, omit_defaults=True):
    """What a client may send."""

    type: str
    id: str | None = None
    payload: dict[str, Any] | None = None


class Adapter(ASGIWebSocketAdapter):
    """Strawberry's, which says nothing more once the socket is closed, whoever closed it."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send, unless there is nobody to send to."""
        if not is_closed(self.ws):
            await super().send_json(message)

    async def close(self, code: int, reason: str) -> None:
        """Close, unless it is closed."""
        if not is_closed(self.ws):
            await super().close(code, reason)


class SubscriptionsOnly:
    """A schema that executes nothing else: queries and mutations have HTTP, with its limits on guesses and origins."""

    def __init__(self, schema: strawberry.Schema) -> None:
        self._schema = schema

    async def stream(self, query: str, **options: Any) -> AsyncGenerator[Any, None]:
        """Execute the operation if it is a subscription."""
        results: AsyncGenerator[Any, None] = await self._schema.stream(
            query, **options, allowed_operation_types=[OperationType.SUBSCRIPTION]
        )
        return results


class Handler(BaseGraphQLTransportWSHandler[Context, None]):
    """Strawberry's, where a wrong document is an error of its operation: it does not end all others."""

    async def handle_task_exception(self, error: Exception) -> None:
        """Log what went wrong, unless it is only that the client has left."""
        if not isinstance(error, WebSocketDisconnected):
            await super().handle_task_exception(error)

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> str | None:
        return None


class SocketView(GraphQL[Context, None]):
    """An ASGI application: the WebSocket of one GraphQL endpoint."""

    graphql_transport_ws_handler_class = Handler
    websocket_adapter_class = Adapter

    def __init__(
        self,
        schema: strawberry.Schema,
        get_context: Callable[[WebSocket], Awaitable[Context]],
        connect: Connect,
        sockets: Sockets,
    ) -> None:
        super().__init__(
            SubscriptionsOnly(schema),  # type: ignore[arg-type]
            graphql_ide=None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
            max_subscriptions_per_connection=MOST_OPERATIONS,
        )
        self._get_context = get_context
        self._connect = connect
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it is closed."""
        websocket = WebSocket(scope, receive, send)
        if not self._sockets.wait_for(websocket):
            error = HTTPError(503, TOO_MANY_SOCKETS, "There are too many WebSockets already.")
            await refuse_socket(error, scope, send)
            return
        try:
            await self.run(websocket)
        finally:
            self._sockets.remove(websocket)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """Return the context of the socket; `on_ws_connect` finds out who it is."""
        assert isinstance(request, WebSocket)  # noqa: S101 -- nothing else is routed here
        return await self._get_context(request)

    async def on_ws_connect(self, context: Context) -> Any:
        """Let the client in, or close."""
        await self._connect(context)
        return UNSET

    def is_websocket_origin_allowed(self, request: WebSocket, origin: str) -> bool:
        """Every page may knock; `connect` lets in those of ours, and those that bring a token."""
        return True

    def decode_json(self, data: str | bytes) -> object:
        """Return the message, of which every part has its type. Raise `NonJsonMessageReceived`."""
        try:
            message = msgspec.json.decode(data, type=Message)
            if message.type == "subscribe":
                msgspec.convert(message.payload, GraphQLRequest)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise NonJsonMessageReceived from None
        return msgspec.to_builtins(message)
