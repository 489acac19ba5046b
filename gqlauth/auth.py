"""`Auth`: settings, database and features composed into a context getter, routes and a lifespan. It holds no rule."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
import strawberry
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gqlauth import migrations, tokens, websocket
from gqlauth.clock import Clock, utc_now
from gqlauth.context import Authenticator, Context, Identity, Refused, Viewer, read_credentials
from gqlauth.database import Lookup, lookup
from gqlauth.documents import Limits
from gqlauth.housekeeping import Housekeeping
from gqlauth.http import GraphQLView, HeaderLimit
from gqlauth.keys import service as keys
from gqlauth.pages.graphiql import SAFE, GraphiQL
from gqlauth.runtime import create_runtime
from gqlauth.schema import Schema
from gqlauth.sessions import service as sessions
from gqlauth.settings import Settings
from gqlauth.sockets import Sockets
from gqlauth.threads import database_lane, hashing_lane

logger = logging.getLogger("gqlauth")

# How long others may keep the public keys.
JWKS_SECONDS = 60


class Auth:
    """Everything that an application needs of gqlauth.

    `settings` default to the `GQLAUTH_*` variables. Nothing is opened before `lifespan` begins.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock = utc_now) -> None:
        self.settings = settings or Settings.from_environ()
        self.runtime = create_runtime(self.settings, clock)
        self._lookup: Lookup | None = None
        self._sockets = Sockets(self.runtime)

    def routes(self, schema: strawberry.Schema, *, path: str = "/graphql") -> list[BaseRoute]:
        """Return the routes of the API: GraphQL at `path`, the public keys, and the two health checks."""
        if isinstance(schema, Schema):
            schema.limit(Limits.of(self.settings))
        page = GraphiQL(self.settings, path) if self.settings.serves_graphiql else None
        view = GraphQLView(
            schema, self.get_context, max_body_bytes=self.settings.max_body_bytes, page=page.show if page else None
        )
        middleware = [*self._proxies(), Middleware(HeaderLimit, limit=self.settings.max_header_bytes), *self._cors()]
        return [
            Route(path, view, middleware=middleware),
            *([WebSocketRoute(path, self._socket_view(schema), middleware=middleware)] if schema.subscription else []),
            Route("/.well-known/jwks.json", self._jwks),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            *(page.routes() if page else []),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Migrate, make or load the keys, and keep house until the application stops.

        Raises `ConfigurationError` where starting would be unsafe.
        """
        migrations.upgrade(self.runtime.database)
        keys.ensure(self.runtime)
        keys.load(self.runtime)
        self._open()
        self._housekeeping.begin()
        self._sockets.begin(self._database_lane)
        try:
            yield
        finally:
            await self._sockets.end()
            await self._housekeeping.end()
            self._close()

    async def get_context(self, request: HTTPConnection, response: Response | None = None) -> Context:
        """Return the context of one request: who is asking, and what resolvers need."""
        credentials = read_credentials(request, self.settings)
        if isinstance(credentials, Refused):
            identity: Identity = credentials
            cookies = None
        else:
            identity = await self._authenticator.authenticate(credentials.access_token)
            cookies = credentials.cookies
        if isinstance(identity, Viewer):
            self._housekeeping.touch(identity)
        return Context(
            request=request,
            response=response,
            identity=identity,
            cookies=cookies,
            runtime=self.runtime,
            database_lane=self._database_lane,
            hashing_lane=self._hashing_lane,
        )

    async def connect(self, context: Context) -> None:
        """Find out who opens a WebSocket, and end it with their session. A host's own `on_ws_connect` awaits this.

        Closes the socket and raises Strawberry's `WebSocketDisconnected` where its client is refused.
        """
        await websocket.connect(context, self._authenticator, self._sockets)
        if isinstance(context.identity, Viewer):
            self._housekeeping.touch(context.identity)

    def _socket_view(self, schema: strawberry.Schema) -> websocket.SocketView:
        return websocket.SocketView(schema, self.get_context, self.connect, self._sockets)

    def _open(self) -> None:
        self._database_lane, self._hashing_lane = database_lane(), hashing_lane()
        self._housekeeping = Housekeeping(self.runtime, self._database_lane)
        if not self.settings.stateless:
            self._lookup = lookup(self.runtime.database, sessions.VIEWER_KEY, sessions.VIEWER_COLUMNS)
        self._authenticator = Authenticator(
            self.runtime.tokens, self.runtime.clock, sessions.judge, self._lookup, self._housekeeping.reload_keys
        )

    def _close(self) -> None:
        self._hashing_lane.close()
        self._database_lane.close()
        if self._lookup is not None:
            self._lookup.close()
        self.runtime.database.dispose()

    def _proxies(self) -> list[Middleware]:
        """Believe X-Forwarded-For and -Proto of configured proxies only (ASVS 4.1.3)."""
        if not self.settings.trusted_proxies:
            return []
        return [Middleware(ProxyHeadersMiddleware, trusted_hosts=list(self.settings.trusted_proxies))]

    def _cors(self) -> list[Middleware]:
        if not self.settings.cors_origins:
            return []
        return [
            Middleware(
                CORSMiddleware,
                allow_origins=list(self.settings.cors_origins),
                allow_methods=["POST"],
                allow_headers=["authorization", "content-type"],
                allow_credentials=True,
                max_age=600,
            )
        ]

    async def _jwks(self, request: Request) -> Response:
        ring = self.runtime.tokens.keys
        assert ring is not None  # noqa: S101 -- the lifespan has loaded them
        body = tokens.jwks(ring, self.settings.algorithm)
        answer = JSONResponse(body, media_type="application/json; charset=utf-8")
        return safely(answer, cache_control=f"public, max-age={JWKS_SECONDS}")

    async def _healthz(self, request: Request) -> Response:
        return safely(PlainTextResponse("ok"))

    async def _readyz(self, request: Request) -> Response:
        try:
            await self._database_lane.run(self._ask_database)
        except Exception:
            logger.exception("the database does not answer")
            return safely(PlainTextResponse("the database does not answer", 503))
        return safely(PlainTextResponse("ok"))

    def _ask_database(self) -> None:
        with self.runtime.database.read() as db:
            # SQLite answers `SELECT 1` without opening its file.
            db.execute(sa.select(sa.column("version_num")).select_from(sa.table(migrations.VERSION_TABLE)))


def safely(answer: Response, *, cache_control: str = "no-store") -> Response:
    """Return the answer with the headers that every answer has: taken for nothing else, kept only where it may be."""
    answer.headers.update(SAFE | {"cache-control": cache_control})
    return answer
