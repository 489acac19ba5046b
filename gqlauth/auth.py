"""`Auth`: settings, database and features composed into a context getter, routes and a lifespan. It holds no rule."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, overload

import sqlalchemy as sa
import strawberry
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from typing_extensions import TypeVar
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gqlauth import migrations, tokens, websocket
from gqlauth.clock import Clock, utc_now
from gqlauth.context import Authenticator, Context, Identity, Lanes, Refused, Viewer, read_credentials
from gqlauth.database import Lookup, lookup
from gqlauth.documents import Limits
from gqlauth.errors import ConfigurationError
from gqlauth.events import Event
from gqlauth.housekeeping import Housekeeping
from gqlauth.http import GraphQLView, HeaderCheck
from gqlauth.keys import service as keys
from gqlauth.pages.account import AccountPages
from gqlauth.pages.files import SAFE
from gqlauth.pages.graphiql import GraphiQL
from gqlauth.runtime import Signup, create_runtime
from gqlauth.schema import Schema
from gqlauth.sessions import service as sessions
from gqlauth.settings import Settings
from gqlauth.sockets import Sockets
from gqlauth.threads import database_lane, hashing_lane
from gqlauth.users.models import UserT

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E", bound=Event)
T = TypeVar("T")
ContextT = TypeVar("ContextT", bound=Context[Any], default=Context[UserT], covariant=True)

logger = logging.getLogger("gqlauth")

# How long others may keep the public keys.
JWKS_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Running:
    """What is there only between the beginning and the end of the lifespan."""

    lanes: Lanes
    housekeeping: Housekeeping
    lookup: Lookup | None
    authenticator: Authenticator


class Auth(Generic[UserT, ContextT]):
    """Everything that an application needs of gqlauth.

    - `settings` default to the `GQLAUTH_*` variables.
    - `user` is the host's own class for users, mapped with `UserColumns`; all of the tables are the host's to migrate
      then.
    - `engine` is the host's engine, sync or async, in place of `settings.database_url`.
    - `context` is what resolvers find in `info.context`: a subclass of `Context`.
    - `before_signup` is asked before an account is written, and may raise an `AuthError`. A plain function is called in
      a thread, an `async def` one runs on the event loop.

    Nothing is opened before `lifespan` begins. Raises `ConfigurationError` if these do not fit together.
    """

    @overload
    def __init__(
        self: Auth[UserT, Context[UserT]],
        settings: Settings | None = None,
        *,
        user: type[UserT] | None = None,
        engine: Engine | AsyncEngine | None = None,
        before_signup: Callable[[Signup[UserT]], object] | None = None,
        clock: Clock = utc_now,
    ) -> None: ...

    @overload
    def __init__(
        self,
        settings: Settings | None = None,
        *,
        user: type[UserT] | None = None,
        engine: Engine | AsyncEngine | None = None,
        context: type[ContextT],
        before_signup: Callable[[Signup[UserT]], object] | None = None,
        clock: Clock = utc_now,
    ) -> None: ...

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        user: type[UserT] | None = None,
        engine: Engine | AsyncEngine | None = None,
        context: type[Any] = Context,
        before_signup: Callable[[Signup[UserT]], object] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        given: object = settings
        if not isinstance(given, Settings | None):
            # Not its value, in which a password may stand.
            raise ConfigurationError(f"{type(given)} is no settings: a URL goes into Settings(database_url=...)")
        made_of: object = context
        if not (isinstance(made_of, type) and issubclass(made_of, Context)):
            raise ConfigurationError(f"context is a subclass of gqlauth.Context, and {context!r} is none")
        self.settings = settings or Settings.from_environ()
        self.runtime = create_runtime(self.settings, clock, user=user, engine=engine, before_signup=before_signup)
        self._context: type[ContextT] = context
        self._sockets = Sockets(self.runtime)
        self._state: Running | None = None

    @property
    def metadata(self) -> sa.MetaData:
        """What gqlauth's tables are part of: the host's own where it has a class for users, for `target_metadata`."""
        return self.runtime.models.metadata

    def include_name(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """Leave our tables to us: for `include_name` in the `env.py` of a host that has no class for users."""
        return not migrations.is_ours(self.runtime.database, name, kind, parents.get("schema_name"))

    def create_tables(self) -> None:
        """Make the tables of `metadata` that are not there yet. For examples and tests: migrations do more."""
        migrations.create_tables(self.runtime.database)

    @overload
    def on(self, event: type[E]) -> Callable[[Callable[[E], T]], Callable[[E], T]]: ...

    @overload
    def on(self, event: type[E], listener: Callable[[E], object]) -> None: ...

    def on(self, event: type[Event], listener: Callable[[Any], object] | None = None) -> Any:
        """Call the listener, a plain or an `async def` function, with every event of this class or a subclass.

        Without a listener it is a decorator. docs/events.md says when, where and in which order listeners are called.
        """
        if listener is not None:
            self.runtime.events.subscribe(listener, event)
            return None

        if not (isinstance(event, type) and issubclass(event, Event)):
            raise TypeError(f"{event!r} is not a class of events: @auth.on(UserSignedUp)")

        def subscribe(listener: Callable[[Any], object]) -> Callable[[Any], object]:
            self.runtime.events.subscribe(listener, event)
            return listener

        return subscribe

    def routes(self, schema: strawberry.Schema, *, path: str = "/graphql") -> list[BaseRoute]:
        """Return the routes of the API: GraphQL at `path`, the public keys, and the two health checks."""
        limits = Limits.of(self.settings)
        if isinstance(schema, Schema):
            schema.limit(limits)
            limits = schema.limits
        page = GraphiQL(self.settings, path) if self.settings.serves_graphiql else None
        view = GraphQLView(
            schema,
            self.get_context,
            max_body_bytes=self.settings.max_body_bytes,
            max_answer_bytes=limits.answer_bytes,
            page=page.show if page else None,
        )
        check = Middleware(HeaderCheck, limit=self.settings.max_header_bytes)
        # The check comes first: proxies are read from the headers, too.
        middleware = [check, *self._proxies(), *self._cors()]
        return [
            Route(path, view, middleware=middleware),
            *([WebSocketRoute(path, self._socket_view(schema), middleware=middleware)] if schema.subscription else []),
            Route("/.well-known/jwks.json", self._jwks, middleware=[check]),
            Route("/healthz", self._healthz, middleware=[check]),
            Route("/readyz", self._readyz, middleware=[check]),
            *(page.routes() if page else []),
        ]

    def pages(
        self, *, path: str = "/graphql", prefix: str = "", name: str = "gqlauth", stylesheet: str | None = None
    ) -> list[BaseRoute]:
        """Return the routes of the pages `/` (sign in), `/signup` and `/dashboard`, below `prefix`.

        They call the API at `path` with cookies, so it must be of the same origin. `name` stands at their top;
        `stylesheet` is the address of one more style sheet, of the same origin. See docs/pages.md.
        """
        return AccountPages(self.settings, path=path, prefix=prefix, name=name, stylesheet=stylesheet).routes()

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Migrate, make or load the keys, and keep house until the application stops.

        Raises `ConfigurationError` where starting would be unsafe.
        """
        try:
            migrations.upgrade(self.runtime.database)
            keys.ensure(self.runtime)
            keys.protect(self.runtime)
            keys.load(self.runtime)
            running = self._state = self._open()
            self.runtime.events.begin()
            running.housekeeping.begin()
            self._sockets.begin(running.lanes.database)
            try:
                yield
            finally:
                await self._close(running)
        finally:
            self.runtime.database.dispose()

    async def get_context(
        self,
        request: HTTPConnection,
        response: Response = None,  # type: ignore[assignment]  # FastAPI fills in a Response, but not an optional one
    ) -> ContextT:
        """Return the context of one request: who is asking, and what resolvers need. A FastAPI dependency, as it is.

        `response` takes what resolvers set (cookies, headers); without one, the context makes its own.
        """
        running = self._running
        credentials = read_credentials(request, self.settings)
        if isinstance(credentials, Refused):
            identity: Identity = credentials
            cookies = None
        else:
            identity = await running.authenticator.authenticate(credentials.access_token)
            cookies = credentials.cookies
        if isinstance(identity, Viewer):
            running.housekeeping.touch(identity)
        return self._context(
            request=request,
            response=response,
            identity=identity,
            cookies=cookies,
            runtime=self.runtime,
            lanes=running.lanes,
        )

    async def connect(self, context: Context[Any]) -> None:
        """Find out who opens a WebSocket, and end it with their session. A host's own `on_ws_connect` awaits this.

        Closes the socket and raises Strawberry's `WebSocketDisconnected` where its client is refused.
        """
        running = self._running
        await websocket.connect(context, running.authenticator, self._sockets)
        if isinstance(context.identity, Viewer):
            running.housekeeping.touch(context.identity)

    def _socket_view(self, schema: strawberry.Schema) -> websocket.SocketView:
        return websocket.SocketView(schema, self.get_context, self.connect, self._sockets)

    @property
    def _running(self) -> Running:
        if self._state is None:
            raise RuntimeError("gqlauth is not running: give your application lifespan=auth.lifespan")
        return self._state

    def _open(self) -> Running:
        runtime, lanes = self.runtime, Lanes(database_lane(), hashing_lane())
        housekeeping = Housekeeping(runtime, lanes.database)
        models, rows = runtime.models, None
        if not self.settings.stateless:
            rows = lookup(runtime.database, sessions.viewer_key(models), sessions.viewer_columns(models))
        authenticator = Authenticator(runtime.tokens, runtime.clock, sessions.judge, rows, housekeeping.reload_keys)
        return Running(lanes, housekeeping, rows, authenticator)

    async def _close(self, running: Running) -> None:
        await self._sockets.end()
        await running.housekeeping.end()
        # What still runs in the lanes is done after this, and has told its events. In a thread, as a listener there may
        # wait for the event loop.
        await asyncio.to_thread(running.lanes.close)
        await self.runtime.events.end()
        if running.lookup is not None:
            running.lookup.close()
        self._state = None

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
        ring = self.runtime.tokens.ring()
        body = tokens.jwks(ring, self.settings.algorithm)
        answer = JSONResponse(body, media_type="application/json; charset=utf-8")
        return safely(answer, cache_control=f"public, max-age={JWKS_SECONDS}")

    async def _healthz(self, request: Request) -> Response:
        return safely(PlainTextResponse("ok"))

    async def _readyz(self, request: Request) -> Response:
        try:
            await self._running.lanes.database.run(self._ask_database)
        except Exception:
            logger.exception("the database does not answer")
            return safely(PlainTextResponse("the database does not answer", 503))
        return safely(PlainTextResponse("ok"))

    def _ask_database(self) -> None:
        with self.runtime.database.read() as db:
            # SQLite answers `SELECT 1` without opening its file.
            db.execute(sa.select(self.runtime.models.Key.kid).limit(1))


def safely(answer: Response, *, cache_control: str = "no-store") -> Response:
    """Return the answer with the headers that every answer has: taken for nothing else, kept only where it may be."""
    answer.headers.update(SAFE | {"cache-control": cache_control})
    return answer
