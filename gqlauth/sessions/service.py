"""The rules of sessions: the one door that signs people in, and what keeps a session alive."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session as DatabaseSession

from gqlauth.context import Profile, Refused, Viewer
from gqlauth.database import emit, new_id
from gqlauth.errors import Reason
from gqlauth.events import LoggedIn
from gqlauth.runtime import Client, Runtime
from gqlauth.sessions.models import MAX_USER_AGENT_LENGTH, Session
from gqlauth.tokens import Claims
from gqlauth.users.models import User


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Both tokens of a session, the access token's life in seconds, and whose they are."""

    access_token: str
    expires_in: int
    refresh_token: str
    user: User


def sign_in(runtime: Runtime, db: DatabaseSession, user: User, client: Client) -> SignedIn:
    """Begin a session for this user, whatever they have shown to get here. Every way in ends here."""
    now = runtime.clock()
    session_id = new_id()
    refresh_token = new_refresh_token(session_id)
    session = Session(
        id=session_id,
        user_id=user.id,
        refresh_hash=hash_refresh_token(refresh_token),
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(seconds=runtime.settings.refresh_token_seconds),
        ip_address=client.ip_address,
        user_agent=(client.user_agent or "")[:MAX_USER_AGENT_LENGTH] or None,
    )
    db.add(session)
    emit(db, LoggedIn(user_id=user.id, session_id=session_id, ip_address=client.ip_address))
    access_token, expires_in = runtime.tokens.issue(user.id, session_id, until=session.expires_at)
    return SignedIn(access_token, expires_in, refresh_token, user)


def new_refresh_token(session_id: UUID) -> str:
    """Return `gqr_<session id>_<256 random bits>`: the prefix lets scanners of leaked secrets find it."""
    return f"gqr_{session_id.hex}_{secrets.token_urlsafe(32)}"


def hash_refresh_token(token: str) -> bytes:
    """Return what is stored of a refresh token. It is random enough for a plain SHA-256 (ASVS 11.5.1)."""
    return hashlib.sha256(token.encode()).digest()


def end_all(runtime: Runtime, db: DatabaseSession, user_id: UUID) -> int:
    """End every session of a user and return how many were alive (ASVS 7.4.2)."""
    alive = sa.update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None))
    return db.execute(alive.values(ended_at=runtime.clock())).rowcount  # type: ignore[attr-defined, no-any-return]


VIEWER_KEY = Session.__table__.c.id
VIEWER_COLUMNS = sa.select(
    Session.user_id,
    Session.ended_at,
    Session.expires_at,
    User.disabled_at,
    User.email,
    User.name,
    User.email_verified_at,
    User.created_at,
).join_from(Session, User)


def judge(row: tuple[Any, ...] | None, claims: Claims, now: datetime) -> Viewer | Refused:
    """Decide about the row of `VIEWER_COLUMNS` for a genuine token: does its session still count (ASVS 7.4.1)?"""
    if row is None:
        return Refused(Reason.SESSION_REVOKED, claims.user_id, claims.session_id)
    user_id, ended_at, expires_at, disabled_at, email, name, verified_at, created_at = row
    if disabled_at is not None:
        return Refused(Reason.ACCOUNT_DISABLED, claims.user_id, claims.session_id)
    if ended_at is not None or expires_at <= now or user_id != claims.user_id:
        return Refused(Reason.SESSION_REVOKED, claims.user_id, claims.session_id)
    profile = Profile(email, name, verified_at is not None, created_at)
    return Viewer(user_id, claims.session_id, profile)
