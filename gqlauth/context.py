"""Who is asking: from the request's bearer token to a `Viewer`, and the `Context` that resolvers get."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa
import strawberry
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from gqlauth import cookies
from gqlauth.addresses import client_address
from gqlauth.clock import Clock
from gqlauth.cookies import Cookies
from gqlauth.database import Lookup
from gqlauth.errors import Reason, Unauthenticated
from gqlauth.runtime import Client, Runtime
from gqlauth.settings import Settings
from gqlauth.threads import FairLane, Flow, Lane
from gqlauth.tokens import AccessTokens, Claims, InvalidToken, UnknownKey
from gqlauth.users.models import UserColumns, UserT

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("gqlauth")

# Where a context that is a dict has ours.
CONTEXT_KEY = "gqlauth"


@dataclass(frozen=True, slots=True)
class Profile:
    """What the check of a session reads of its user."""

    email: str
    name: str
    email_verified: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is asking, whatever the credential. `profile` is None where tokens are trusted without a look (stateless)."""

    user_id: UUID
    session_id: UUID
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    email_verified: bool = False
    profile: Profile | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A credential was sent and does not count. Whose it was is known where the token itself was genuine."""

    reason: Reason
    user_id: UUID | None = None
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The credential could not be looked at: the database did not answer."""

    error: Exception


Identity = Viewer | Refused | Unavailable | None
Judge = Callable[[tuple[Any, ...] | None, Claims, datetime], Viewer | Refused]


class Authenticator:
    """Turns an access token into an identity. It never raises: a bad token must not block a login.

    `lookup` reads the session and its user, and `judge` decides about the row; without a lookup (stateless) a token
    counts until it expires. `reload_keys` is asked when a token names a key that this process has not seen.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        clock: Clock,
        judge: Judge,
        lookup: Lookup | None,
        reload_keys: Callable[[], Any],
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._judge = judge
        self._lookup = lookup
        self._reload_keys = reload_keys

    async def authenticate(self, token: str | None) -> Identity:
        """Return who is asking; None if no token was sent."""
        if token is None:
            return None
        try:
            claims = await self._verify(token)
        except InvalidToken as error:
            return Refused(error.reason)
        if self._lookup is None:
            return Viewer(claims.user_id, claims.session_id, claims.roles, claims.scopes, claims.email_verified)
        try:
            row = await self._lookup.get(claims.session_id)
        except Exception as error:
            logger.exception("a session could not be read")
            return Unavailable(error)
        return self._judge(row, claims, self._clock())

    async def _verify(self, token: str) -> Claims:
        try:
            return self._tokens.verify(token)
        except UnknownKey:
            try:
                await self._reload_keys()
            except Exception:
                # The keys that we have go on working, and a login with an old token attached goes through.
                logger.exception("the keys could not be read")
            return self._tokens.verify(token)


@dataclass(frozen=True, slots=True)
class Lanes:
    """Where services run: work on the database, and work that hashes."""

    database: Lane
    hashing: FairLane

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        self.hashing.close()
        self.database.close()


class SessionEnd:
    """The end of a socket's session, for the subscriptions that wait to tell it."""

    def __init__(self) -> None:
        self._reason: asyncio.Future[Reason] = asyncio.get_running_loop().create_future()
        self._telling: set[asyncio.Task[Any]] = set()

    async def wait(self) -> Reason:
        """Return why the session has ended, once it has. Whoever asks has until the end of its task to tell it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a coroutine runs in one
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        # Shielded: one subscription that is ended must not end the wait of the others.
        return await asyncio.shield(self._reason)

    async def tell(self, reason: Reason, *, seconds: float) -> None:
        """Let those who wait know, and wait until they have told it, but no longer than this."""
        self._reason.set_result(reason)
        if self._telling:
            await asyncio.wait(self._telling, timeout=seconds)


class Context(Generic[UserT]):
    """What a resolver finds in `info.context`. `Context[Customer]` is that of a host with its own class for users.

    A host may subclass it for dataloaders and the like, without a constructor: `Auth(context=MyContext)` makes it. What
    is to live as long as one request goes into a `functools.cached_property`.
    """

    def __init__(
        self,
        *,
        request: HTTPConnection,
        identity: Identity,
        cookies: Cookies | None,
        runtime: Runtime,
        lanes: Lanes,
        response: Response | None = None,
    ) -> None:
        super().__init__()
        self.request = request
        self.identity = identity
        self.cookies = cookies
        self.runtime = runtime
        self._lanes = lanes
        self._response = response
        # With the viewer that it was read for: a WebSocket has another one again and again.
        self._user: tuple[Viewer, UserT] | None = None
        # A WebSocket's: what the client sent with `connection_init`, and the end of the session that it named.
        self.connection_params: dict[str, Any] | None = None
        self.session_end: SessionEnd | None = None

    @property
    def viewer(self) -> Viewer:
        """Who is signed in. Raise `Unauthenticated` where nobody is, so that a field without a guard stays closed."""
        identity = self.identity
        if isinstance(identity, Viewer):
            return identity
        if isinstance(identity, Unavailable):
            # Without the trace of who asked before.
            raise identity.error.with_traceback(None)
        raise Unauthenticated(Reason.TOKEN_MISSING if identity is None else identity.reason)

    async def load_user(self) -> UserT:
        """Return the viewer's account, as the host's own class; read once for each request, on a WebSocket each second.

        Raise `Unauthenticated` where nobody is signed in, or the account is gone since.
        """
        viewer = self.viewer
        if self._user is None or self._user[0] is not viewer:
            user = await self.run(get_user, viewer.user_id)
            if user is None:
                raise Unauthenticated(Reason.ACCOUNT_DISABLED)
            self._user = viewer, cast("UserT", user)
        return self._user[1]

    @cached_property
    def client(self) -> Client:
        """Where the request comes from. One value for the whole request: it counts what the request tries."""
        device = self.cookies.device if self.cookies else None
        return Client(client_address(self.request), self.request.headers.get("user-agent"), device)

    @property
    def response(self) -> Response:
        """The answer's headers and cookies, for whoever has to set one."""
        if self._response is None:
            self._response = Response()
        return self._response

    @response.setter
    def response(self, response: Response | None) -> None:
        """Take over the answer that a framework has prepared."""
        self._response = response

    @property
    def is_watched(self) -> bool:
        """Whether the end of the session ends this, too; of a WebSocket it does once `Auth.connect` was awaited."""
        return self.session_end is not None or not isinstance(self.request, WebSocket)

    @property
    def has_cookie_session(self) -> bool:
        """Whether the tokens of this session are kept in cookies."""
        return self.cookies is not None and self.cookies.access_token is not None

    def set_cookies(self, kept: Cookies, seconds: int) -> None:
        """Let the browser keep the tokens for `seconds`, and the device's value, where there is one, for a year."""
        cookies.write(self.request, self.response, self.runtime.settings, kept, seconds)

    def clear_cookies(self) -> None:
        """Let the browser forget both tokens, if it has brought any; the device stays known."""
        if self.cookies is not None:
            cookies.clear(self.request, self.response, self.runtime.settings)

    @property
    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """What resolvers have added to the answer's headers."""
        if self._response is None:
            return []
        return [(name, value) for name, value in self._response.raw_headers if name != b"content-length"]

    async def run(self, service: Callable[Concatenate[Runtime, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a service function in a thread of the database lane."""
        return await self._lanes.database.run(service, self.runtime, *args, **kwargs)

    async def run_hashing(
        self,
        flows: Sequence[Flow],
        service: Callable[Concatenate[Runtime, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service function that hashes a password, in a thread of the hashing lane.

        `flows` say whose work it is, so that nobody's keeps everybody else waiting. Raises `RateLimited` or
        `ServerBusy` where too much waits already.
        """
        return await self._lanes.hashing.run(flows, service, self.runtime, *args, **kwargs)


def get_user(runtime: Runtime, user_id: UUID) -> UserColumns | None:
    """Return an account that may sign in, or None."""
    user = runtime.models.User
    with runtime.database.read() as db:
        found: UserColumns | None = db.scalar(sa.select(user).where(user.id == user_id, user.disabled_at.is_(None)))
    return found


def context_of(info: strawberry.Info[Any, Any]) -> Context:
    """Return the `Context` of a resolver's info, be it all that the host's context getter returned or a part of it.

    Raises `RuntimeError` where the host's context getter has left it out.
    """
    context = info.context
    if isinstance(context, dict):
        response = context.get("response")
        context = context.get(CONTEXT_KEY)
        if isinstance(context, Context) and context._response is None and isinstance(response, Response):
            # The one that Strawberry's view will send, or a cookie would get lost without a word.
            context.response = response
    if isinstance(context, Context):
        return context
    raise RuntimeError(
        "There is no gqlauth.Context: let the context getter return `await auth.get_context(request)`, "
        f'or a dict with it, as in `{{"{CONTEXT_KEY}": await auth.get_context(request)}}`.'
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brings along: the access token that counts, and the cookies if that is where it comes from."""

    access_token: str | None = None
    cookies: Cookies | None = None


def read_credentials(request: HTTPConnection, settings: Settings) -> Credentials | Refused:
    """Take the credentials out of a request. A bearer token counts alone: cookies beside it never widen it."""
    bearers = []
    has_cookies = False
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            bearers.append(value)
        elif name == b"cookie":
            has_cookies = True
    if bearers:
        token = read_bearer(bearers)
        return Refused(Reason.TOKEN_INVALID) if token is None else Credentials(token)
    if not has_cookies:
        return NO_CREDENTIALS
    try:
        found = cookies.read(request, settings)
    except cookies.OriginNotAllowed:
        return Refused(Reason.ORIGIN_NOT_ALLOWED)
    except cookies.DuplicateCookie:
        return Refused(Reason.TOKEN_INVALID)
    return Credentials(found.access_token, found) if found else NO_CREDENTIALS


NO_CREDENTIALS = Credentials()


def read_bearer(values: list[bytes]) -> str | None:
    """Return the token of the one `Authorization: Bearer` header (RFC 6750 sections 2 and 2.1), or None."""
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    # A letter outside of ASCII becomes one that no token has.
    return token.strip(b" ").decode("ascii", "replace")
