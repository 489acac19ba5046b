"""What happened, as frozen values, and who is told.

An event is published after the transaction that made it true has been committed. A listener that fails is logged and
harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

logger = logging.getLogger("gqlauth")


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


Listener = Callable[[Event], None]


class Events:
    """Tells listeners what happened, in the order in which they subscribed."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = list(listeners)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def publish(self, *events: Event) -> None:
        """Tell every listener. What they raise is logged, not raised."""
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    logger.exception("a listener failed on %s", type(event).__name__)
