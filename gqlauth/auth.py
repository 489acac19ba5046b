"""`Auth`: settings, database and features composed into a context getter, routes and a lifespan. It holds no rule."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import strawberry
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gqlauth import migrations, tokens
from gqlauth.clock import Clock, utc_now
from gqlauth.context import Authenticator, Context, Identity, Refused, Viewer, read_credentials
from gqlauth.database import Lookup, lookup
from gqlauth.documents import Limits
from gqlauth.http import GraphQLView, HeaderLimit
from gqlauth.keys import service as keys
from gqlauth.pages.graphiql import SAFE, GraphiQL
from gqlauth.runtime import create_runtime
from gqlauth.schema import Schema
from gqlauth.sessions import service as sessions
from gqlauth.settings import Settings
from gqlauth.threads import database_lane, hashing_lane

logger = logging.getLogger("gqlauth")

KEY_CHECK_SECONDS = 5
SWEEP_SECONDS = 60
# A token that names an unknown key makes us look for it, but an attacker must not make us look all the time.
KEY_RELOAD_SECONDS = 1


class Auth:
    """Everything that an application needs of gqlauth.

    `settings` default to the `GQLAUTH_*` variables. Nothing is opened before `lifespan` begins.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock = utc_now) -> None:
        self.settings = settings or Settings.from_environ()
        self.runtime = create_runtime(self.settings, clock)
        self._lookup: Lookup | None = None
        self._keys_loaded_at = 0.0
        self._touching: dict[UUID, asyncio.Task[None]] = {}

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
        chores = [
            asyncio.create_task(self._every(KEY_CHECK_SECONDS, self._reload_keys)),
            asyncio.create_task(self._every(SWEEP_SECONDS, self._sweep)),
        ]
        try:
            yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, *self._touching.values(), return_exceptions=True)
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
            self._touch(identity)
        return Context(
            request=request,
            response=response,
            identity=identity,
            cookies=cookies,
            runtime=self.runtime,
            database_lane=self._database_lane,
            hashing_lane=self._hashing_lane,
        )

    def _open(self) -> None:
        self._database_lane, self._hashing_lane = database_lane(), hashing_lane()
        if not self.settings.stateless:
            self._lookup = lookup(self.runtime.database, sessions.VIEWER_KEY, sessions.VIEWER_COLUMNS)
        self._authenticator = Authenticator(
            self.runtime.tokens, self.runtime.clock, sessions.judge, self._lookup, self._reload_keys
        )

    def _close(self) -> None:
        self._hashing_lane.close()
        self._database_lane.close()
        if self._lookup is not None:
            self._lookup.close()
        self.runtime.database.dispose()

    async def _reload_keys(self) -> None:
        if time.monotonic() - self._keys_loaded_at >= KEY_RELOAD_SECONDS:
            self._keys_loaded_at = time.monotonic()
            await self._database_lane.run(keys.load, self.runtime)

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await chore()
            except Exception:
                logger.exception("housekeeping failed; it will be tried again")

    async def _sweep(self) -> None:
        """Delete what no token can reach any more, in batches, each in a transaction of its own."""
        swept = sessions.SWEEP_BATCH
        while swept == sessions.SWEEP_BATCH:
            swept = await self._database_lane.run(sessions.sweep, self.runtime)

    def _touch(self, viewer: Viewer) -> None:
        """Note that the session is in use, at most once a minute and without keeping the request waiting."""
        last = viewer.last_used_at
        if last is None or (self.runtime.clock() - last).total_seconds() < sessions.TOUCH_SECONDS:
            return
        if viewer.session_id not in self._touching:
            task = asyncio.create_task(self._write_touch(viewer.session_id))
            self._touching[viewer.session_id] = task

    async def _write_touch(self, session_id: UUID) -> None:
        try:
            await self._database_lane.run(sessions.touch, self.runtime, session_id)
        except Exception:
            logger.exception("the use of a session could not be noted")
        finally:
            del self._touching[session_id]

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
        return safely(answer, cache_control=f"public, max-age={KEY_CHECK_SECONDS * 12}")

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
