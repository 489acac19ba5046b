"""What happened, as frozen values, and who is told.

An event is published after the transaction that made it true has been committed. A listener that fails is logged and
harms nobody: neither the request nor the other listeners. docs/events.md is about both.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeVar
from uuid import UUID

logger = logging.getLogger("gqlauth")

# How long the end of the application waits for async listeners.
DRAIN_SECONDS = 10.0
# A listener that is cancelled then may still clean up for this long.
CANCEL_SECONDS = 1.0
# What may wait for one async listener, so that one that hangs does not fill the memory.
MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `ip_address` is where the request came from."""

    ip_address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSignedUp(Event):
    """A new account exists."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SignupRefused(Event):
    """A sign-up was refused; `reason` is the error's code."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn(Event):
    """Somebody signed in and a session began."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailed(Event):
    """A login was refused. `user_id` is None for an unknown e-mail address, which is not told: it may be a password."""

    user_id: UUID | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(Event):
    """A refresh token was replaced by the next one."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRefused(Event):
    """A refresh token was refused; `reason` is the error's code. `session_id` is the one that it names, if any."""

    session_id: UUID | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReplayed(Event):
    """A refresh token came again within the grace, from another network or program. It got the same successor again."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReused(Event):
    """A refresh token was used a second time: somebody else may have it. The session was ended."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRevoked(Event):
    """A session was ended before its time; its tokens are refused from now on."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileUpdated(Event):
    """An account's owner changed what is known of them."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged(Event):
    """An account's owner changed the password."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRefused(Event):
    """Somebody who is signed in was refused what wants the password once more; `reason` is the error's code."""

    user_id: UUID
    session_id: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeleted(Event):
    """An account's owner deleted it."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRefused(Event):
    """A guard kept somebody out of a field."""

    field: str
    reason: str
    user_id: UUID | None = None
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDisabled(Event):
    """An operator disabled an account."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEnabled(Event):
    """An operator enabled an account again."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantAdded(Event):
    """An operator gave a user a role or a scope; `kind` says which."""

    user_id: UUID
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRemoved(Event):
    """An operator took a role or a scope from a user; `kind` says which."""

    user_id: UUID
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysRotated(Event):
    """A new key signs; the one before only verifies."""

    kid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Event):
    """An operator revoked a signing key: its tokens are refused. `successor` signs now; None if it did not sign."""

    kid: str
    successor: str | None = None


E = TypeVar("E", bound=Event)
Listener = Callable[[E], object]


class Subscription:
    """One listener and the kind of event that it hears.

    What an `async def` listener has to do is run on the event loop, one event after the other, in the order of
    publication; listeners do not wait for each other.
    """

    def __init__(self, kind: type[Event], listener: Listener[Any]) -> None:
        self.kind = kind
        self.listener = listener
        self.task: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[Event, Awaitable[object]]] = deque()

    def add(self, event: Event, work: Awaitable[object]) -> None:
        """Run this after what waits already. To be called on the event loop."""
        if len(self._waiting) >= MAX_WAITING:
            discard(work)
            logger.error("a listener is behind by %s events and was not told of %s", MAX_WAITING, name(event))
            return
        self._waiting.append((event, work))
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._work())

    def forget(self) -> int:
        """Drop what waits, and return how much that was."""
        dropped = len(self._waiting)
        while self._waiting:
            discard(self._waiting.popleft()[1])
        return dropped

    async def _work(self) -> None:
        try:
            while self._waiting:
                await _finish(*self._waiting.popleft())
        finally:
            self.task = None


class Events:
    """Tells listeners what happened, in the order in which they subscribed."""

    def __init__(self, *listeners: Listener[Event]) -> None:
        self._subscriptions = [Subscription(Event, listener) for listener in listeners]
        self._loop: asyncio.AbstractEventLoop | None = None

    def subscribe(self, listener: Listener[Any], kind: type[Event] = Event) -> None:
        """Call `listener` with every event of this kind from now on. `Auth.on` is the same with types."""
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise TypeError(f"{kind!r} is not a class of events")
        self._subscriptions.append(Subscription(kind, listener))

    def unsubscribe(self, listener: Listener[Any]) -> None:
        """Tell this listener nothing more, whatever it listened to. What waits for it already is not taken back."""
        self._subscriptions = [each for each in self._subscriptions if each.listener != listener]

    def publish(self, *events: Event) -> None:
        """Tell every listener. What they raise is logged, not raised.

        Plain functions have run when this returns. `async def` functions are run by the event loop between `begin` and
        `end`; without one (the command line) they, too, have run to their end.
        """
        for event in events:
            for subscription in self._subscriptions:
                if isinstance(event, subscription.kind):
                    self._tell(subscription, event)

    def begin(self) -> None:
        """Let the running event loop run async listeners from now on."""
        self._loop = asyncio.get_running_loop()

    async def end(self) -> None:
        """Wait for what async listeners have to do, `DRAIN_SECONDS` at most; then cancel it and say so in the log."""
        # What other threads have handed over comes first.
        await asyncio.sleep(0)
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while self._tasks() and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks(), timeout=left)
        self._loop = None
        if late := self._tasks():
            dropped = sum(subscription.forget() for subscription in self._subscriptions)
            logger.error("%s listeners were cancelled after %s s, %s events waited", len(late), DRAIN_SECONDS, dropped)
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=CANCEL_SECONDS)

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {subscription.task for subscription in self._subscriptions if subscription.task is not None}

    def _tell(self, subscription: Subscription, event: Event) -> None:
        try:
            work = subscription.listener(event)
            if work is None or not isawaitable(work):
                return
            if self._loop is None or self._loop.is_closed():
                _run_to_its_end(event, work)
            else:
                self._loop.call_soon_threadsafe(subscription.add, event, work)
        # A plain function is in no task of its own: it is not the request that was cancelled.
        except (Exception, asyncio.CancelledError):
            log_failure(event)


def name(event: Event) -> str:
    """Return what the event is called in the log."""
    return type(event).__name__


def log_failure(event: Event) -> None:
    """Log the exception that is being handled."""
    logger.exception("a listener failed on %s", name(event))


def discard(work: Awaitable[object]) -> None:
    """Let go of what will not be run, without a warning that it was not."""
    if asyncio.iscoroutine(work):
        work.close()


async def _finish(event: Event, work: Awaitable[object]) -> None:
    try:
        await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Not this task but something that the listener waited for was cancelled: its own affair.
        log_failure(event)
    except Exception:
        log_failure(event)


def _run_to_its_end(event: Event, work: Awaitable[object]) -> None:
    """Run it in a thread of its own: the calling one may have an event loop that runs."""
    thread = threading.Thread(target=lambda: asyncio.run(_finish(event, work)), daemon=True)
    thread.start()
    thread.join()
