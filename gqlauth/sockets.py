"""The open WebSockets of one process: how many there may be, and that each ends with the session that it is of.

A session that this process ends is told by its event. One that ends elsewhere, in another process or on the command
line, is found by asking the database: one statement for all sockets, again and again while there are any.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from uuid import UUID

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gqlauth.addresses import client_address
from gqlauth.context import Context, Refused, SessionEnd, Viewer
from gqlauth.errors import Reason
from gqlauth.events import AccountDeleted, Event, SessionRevoked, UserDisabled
from gqlauth.ratelimit import network
from gqlauth.runtime import Runtime
from gqlauth.sessions import service as sessions
from gqlauth.threads import Lane
from gqlauth.tokens import Claims

logger = logging.getLogger("gqlauth")

# In one process, of each kind. No kind takes the places of another.
MOST_WAITING = 500
MOST_ANONYMOUS = 1_000
MOST_SIGNED_IN = 3_500
MOST_PER_ACCOUNT = 50
# Where more than this part of the places is taken, a network gets one only while it holds less than its share.
SHORT_FROM = 1 / 2
SHARE = 1 / 10

# The rest of the second is for the answer.
CHECK_SECONDS = 0.75
# How long sockets outlive a database that does not answer.
OUTAGE_SECONDS = 30
# How long a subscription may take to tell its client that the session has ended.
TELL_SECONDS = 0.5

UNAUTHORIZED, FORBIDDEN = 4401, 4403
SERVICE_RESTART, TRY_AGAIN_LATER = 1012, 1013
DATABASE_UNAVAILABLE, TOO_MANY_SOCKETS = "DATABASE_UNAVAILABLE", "TOO_MANY_SOCKETS"
GRANTS_CHANGED = "GRANTS_CHANGED"


class Places:
    """The places for sockets of one kind, and how many each network has of them.

    While there are plenty, anybody gets one: an office may be behind a single address. When they run short, one network
    cannot take the rest. What it holds by then, it keeps.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._total = 0

    def take(self, holder: str, most: int) -> bool:
        """Take one of `most` places for a network; False if there is none for it."""
        is_short = self._total >= most * SHORT_FROM
        if self._total >= most or (is_short and self._taken[holder] >= most * SHARE):
            return False
        self._taken[holder] += 1
        self._total += 1
        return True

    def leave(self, holder: str) -> None:
        """Give a place back."""
        self._total -= 1
        self._taken[holder] -= 1
        if not self._taken[holder]:
            del self._taken[holder]


class Socket:
    """One open WebSocket: its context, and the claims of the token that it was opened with, if any."""

    def __init__(self, context: Context, claims: Claims | None) -> None:
        self.context = context
        self.network = network(context.client.ip_address)
        self.claims = claims
        self.end = context.session_end = SessionEnd()
        self.ending = False

    @property
    def owner(self) -> UUID | None:
        """Whose it is; None for nobody's."""
        return self.claims.user_id if self.claims else None


class Sockets:
    """The sockets of this process. All but `hear` is called on the event loop alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Each with the network that it comes from.
        self._waiting: dict[WebSocket, str] = {}
        self._sockets: dict[WebSocket, Socket] = {}
        self._waiting_places, self._anonymous_places, self._signed_in_places = Places(), Places(), Places()
        self._owned: Counter[UUID] = Counter()
        self._closing: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: asyncio.Task[None] | None = None
        self._answered_at = 0.0
        runtime.events.subscribe(self.hear)

    def begin(self, lane: Lane) -> None:
        """Begin to watch, on this event loop, and with the threads of this lane."""
        self._lane, self._loop = lane, asyncio.get_running_loop()
        self._answered_at = time.monotonic()
        self._watching = asyncio.create_task(self._watch())

    async def end(self) -> None:
        """Close what is still open, and stop."""
        self._loop = None
        self._watching.cancel()
        for socket in self._sockets.values():
            if not socket.ending:
                self._close_later(socket, SERVICE_RESTART, "")
        asking = [self._asking] if self._asking else []
        await asyncio.gather(self._watching, *asking, *self._closing, return_exceptions=True)
        for websocket in list(self._sockets):
            self.remove(websocket)

    def wait_for(self, websocket: WebSocket) -> bool:
        """Count a socket that has not yet said who it is; False if there is no place for it."""
        holder = network(client_address(websocket))
        if not self._waiting_places.take(holder, MOST_WAITING):
            return False
        self._waiting[websocket] = holder
        return True

    def add(self, context: Context, claims: Claims | None) -> bool:
        """Watch a socket from now on; False if its account has too many already, or there is no place for it."""
        websocket = context.request
        if not isinstance(websocket, WebSocket):
            raise TypeError("the context is not that of a WebSocket")
        socket = Socket(context, claims)
        if not self._has_place(socket):
            return False
        self._stop_waiting(websocket)
        self._sockets[websocket] = socket
        return True

    def _has_place(self, socket: Socket) -> bool:
        """Take a place for a socket, if there is one."""
        if socket.owner is None:
            return self._anonymous_places.take(socket.network, MOST_ANONYMOUS)
        if self._owned[socket.owner] >= MOST_PER_ACCOUNT:
            return False
        if not self._signed_in_places.take(socket.network, MOST_SIGNED_IN):
            return False
        self._owned[socket.owner] += 1
        return True

    def _stop_waiting(self, websocket: WebSocket) -> None:
        if (holder := self._waiting.pop(websocket, None)) is not None:
            self._waiting_places.leave(holder)

    def remove(self, websocket: WebSocket) -> None:
        """Forget a socket that is closed."""
        self._stop_waiting(websocket)
        socket = self._sockets.pop(websocket, None)
        if socket is None:
            return
        if socket.owner is None:
            self._anonymous_places.leave(socket.network)
            return
        self._signed_in_places.leave(socket.network)
        self._owned[socket.owner] -= 1
        if not self._owned[socket.owner]:
            del self._owned[socket.owner]

    def hear(self, event: Event) -> None:
        """Take note of what has happened; called from any thread."""
        loop = self._loop
        if loop is not None and isinstance(event, SessionRevoked | UserDisabled | AccountDeleted):
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._heard, event)

    def _heard(self, event: SessionRevoked | UserDisabled | AccountDeleted) -> None:
        reason = Reason.ACCOUNT_DISABLED if isinstance(event, UserDisabled) else Reason.SESSION_REVOKED
        session_id = event.session_id if isinstance(event, SessionRevoked) else None
        for socket, claims in self._signed_in():
            if claims.user_id == event.user_id and session_id in (None, claims.session_id):
                self._finish(socket, claims, reason)

    def _signed_in(self) -> list[tuple[Socket, Claims]]:
        return [(each, each.claims) for each in self._sockets.values() if each.claims is not None and not each.ending]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                self._check()
            except Exception:
                logger.exception("the open WebSockets could not be checked; it will be tried again")

    def _check(self) -> None:
        """Forget who has left, close those whose token no longer counts, and ask about the sessions of all others."""
        for websocket in [websocket for websocket in self._sockets if is_closed(websocket)]:
            self.remove(websocket)
        now = self._runtime.clock().timestamp()
        for socket, claims in self._signed_in():
            if claims.expires_at <= now:
                self._finish(socket, claims, Reason.TOKEN_EXPIRED)
            elif claims.key_id not in self._runtime.tokens.ring().verifying:
                # The key was revoked. Who opened this socket may be the one who stole it.
                self._finish(socket, claims, Reason.TOKEN_INVALID)
        signed_in = self._signed_in()
        if not signed_in or self._runtime.settings.stateless:
            self._answered_at = time.monotonic()
            return
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(signed_in))
        if time.monotonic() - self._answered_at > OUTAGE_SECONDS:
            for socket, _ in signed_in:
                self._close_later(socket, TRY_AGAIN_LATER, DATABASE_UNAVAILABLE)

    async def _ask(self, signed_in: list[tuple[Socket, Claims]]) -> None:
        try:
            session_ids = {claims.session_id for _, claims in signed_in}
            rows = await self._lane.run(sessions.look_up, self._runtime, session_ids)
        except Exception:
            logger.exception("the sessions of the open WebSockets could not be read; it will be tried again")
            return
        finally:
            self._asking = None
        self._answered_at, now = time.monotonic(), self._runtime.clock()
        for socket, claims in signed_in:
            identity = sessions.judge(rows.get(claims.session_id), claims, now)
            if socket.ending:
                continue
            if isinstance(identity, Viewer):
                self._renew(socket, identity)
            else:
                self._finish(socket, claims, identity.reason)

    def _renew(self, socket: Socket, viewer: Viewer) -> None:
        """Let the socket know its viewer of now. One whose roles or the like have changed has to come back.

        The guard of a subscription was asked when it began: what it let in would go on without the role, or with one
        that keeps out (`~HasRole("banned")`).
        """
        before, socket.context.identity = socket.context.identity, viewer
        if isinstance(before, Viewer) and _asked_by_guards(before) != _asked_by_guards(viewer):
            self._close_later(socket, SERVICE_RESTART, GRANTS_CHANGED)

    def _finish(self, socket: Socket, claims: Claims, reason: Reason) -> None:
        """The session has ended, or its token has: no guard lets anything through from now on."""
        socket.context.identity = Refused(reason, claims.user_id, claims.session_id)
        # A token that has expired, or whose key was revoked, ends no session: its client refreshes, and comes back.
        told = reason if reason not in (Reason.TOKEN_EXPIRED, Reason.TOKEN_INVALID) else None
        self._close_later(socket, UNAUTHORIZED, reason, told)

    def _close_later(self, socket: Socket, code: int, text: str, told: Reason | None = None) -> None:
        socket.ending = True
        task = asyncio.create_task(_close(socket, code, text, told))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _asked_by_guards(viewer: Viewer) -> tuple[frozenset[str], frozenset[str], bool]:
    return viewer.roles, viewer.scopes, viewer.email_verified


async def _close(socket: Socket, code: int, text: str, told: Reason | None) -> None:
    if told is not None:
        await socket.end.tell(told, seconds=TELL_SECONDS)
    await close(socket.context, code, text)


async def close(context: Context, code: int, text: str) -> None:
    """Close the context's socket, if it is still open. `text` is for the client; 123 bytes at most (RFC 6455 5.5)."""
    websocket = context.request
    if isinstance(websocket, WebSocket) and not is_closed(websocket):
        with suppress(RuntimeError, WebSocketDisconnect, OSError):
            await websocket.close(code, text)


def is_closed(websocket: WebSocket) -> bool:
    """Tell whether either side has closed it."""
    return WebSocketState.DISCONNECTED in (websocket.client_state, websocket.application_state)
