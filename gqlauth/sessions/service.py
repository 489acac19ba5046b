"""The rules of sessions: the one door that signs people in, what keeps a session alive, and what ends it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session as DatabaseSession

from gqlauth import refresh_tokens
from gqlauth.columns import new_id
from gqlauth.context import Profile, Refused, Viewer
from gqlauth.database import emit
from gqlauth.errors import AuthError, AuthErrorCode, Reason, Unauthenticated
from gqlauth.events import LoggedIn, Refreshed, RefreshRefused, RefreshReplayed, RefreshReused, SessionRevoked
from gqlauth.models import Models
from gqlauth.ratelimit import MADE_UP, REFRESH, network
from gqlauth.runtime import Client, Runtime
from gqlauth.sessions.models import MAX_USER_AGENT_LENGTH, SessionColumns
from gqlauth.tokens import Claims
from gqlauth.users.models import UserColumns
from gqlauth.users.service import device_token, grants_of, read_grants

# How exact `last_used_at` is: each session writes it at most this often.
TOUCH_SECONDS = 60
SWEEP_BATCH = 500


class InvalidRefreshToken(AuthError):
    """The refresh token is unknown, used, expired or revoked: which of them is not told."""

    code = AuthErrorCode.INVALID_TOKEN
    message = "Sign in again."
    field = "refreshToken"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Both tokens of a session, their lives in seconds, and whose they are.

    `device` is what the browser is to keep so that it is known at later logins. A refresh leaves none: otherwise, a
    thief of a session could make devices without number, and guess the password on each of them.
    """

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    user: UserColumns
    device: str | None = None


def sign_in(runtime: Runtime, db: DatabaseSession, user: UserColumns, client: Client) -> SignedIn:
    """Begin a session for this user, whatever they have shown to get here. Every way in ends here (ASVS 7.2.4).

    The account's row has to be locked, or new: two sign-ins at once would not see each other's session, and the account
    would have more of them than `max_sessions` allows.
    """
    now, session_id, key = runtime.clock(), new_id(), refresh_tokens.new_secret()
    token = refresh_tokens.new(session_id, key)
    session = runtime.models.Session(
        id=session_id,
        user_id=user.id,
        refresh_hash=refresh_tokens.digest(token),
        refresh_key=key,
        created_at=now,
        last_used_at=now,
    )
    _use(runtime, session, client)
    db.add(session)
    emit(db, LoggedIn(user_id=user.id, session_id=session_id, ip_address=client.ip_address))
    _make_room(runtime, db, session, client)
    device = device_token(user, client.device)
    return replace(_signed_in(runtime, db, session, user, token), device=device)


def refresh(runtime: Runtime, *, token: str, client: Client) -> SignedIn:
    """Replace a refresh token by the next one and issue an access token (RFC 9700 section 4.14.2; ASVS 10.4.5).

    A token works once. Within the grace its replay gets the very same successor, so that two tabs, a retried request or
    a lost answer sign nobody out; it changes nothing, and is told if it comes from elsewhere. Any other use of an old
    token ends the session: somebody else has it. Raises `InvalidRefreshToken` or `RateLimited`.
    """
    session_id = refresh_tokens.read(token)
    try:
        _reserve_refresh(runtime, session_id, token, client)
        with runtime.database.transaction() as db:
            session = db.get(runtime.models.Session, session_id, with_for_update=True) if session_id else None
            user = db.get(runtime.models.User, session.user_id) if session else None
            if session is None or user is None or not _is_alive(session, user, runtime.clock()):
                raise InvalidRefreshToken
            successor = _replay(runtime, db, session, token, client) or _rotate(runtime, db, session, token, client)
            return _signed_in(runtime, db, session, user, successor)
    except AuthError as refusal:
        runtime.events.publish(RefreshRefused(session_id=session_id, reason=refusal.code, ip_address=client.ip_address))
        raise


def lock_viewer(runtime: Runtime, db: DatabaseSession, viewer: Viewer) -> UserColumns:
    """Return the viewer's account, locked, and its session with it: what changes something decides about them here.

    Raise `Unauthenticated` if the session has ended since the request began (or, stateless, before).
    """
    # The account first, as wherever both are locked: in different orders, two would wait for each other.
    user = db.get(runtime.models.User, viewer.user_id, with_for_update=True)
    session = db.get(runtime.models.Session, viewer.session_id, with_for_update=True)
    if user is None or session is None or not _is_alive(session, user, runtime.clock()):
        raise Unauthenticated(Reason.SESSION_REVOKED)
    return user


def list_sessions(runtime: Runtime, user_id: UUID) -> Sequence[SessionColumns]:
    """Return a user's living sessions, newest first, at most `max_sessions` (ASVS 7.5.2)."""
    session = runtime.models.Session
    of_user = sa.select(session).where(session.user_id == user_id, *_alive(session, runtime.clock()))
    with runtime.database.read() as db:
        newest = of_user.order_by(session.created_at.desc(), session.id.desc())
        return db.scalars(newest.limit(runtime.settings.max_sessions)).all()


def end_session(runtime: Runtime, *, session_id: UUID, client: Client) -> bool:
    """End one session; tell whether it was alive."""
    with runtime.database.transaction() as db:
        return _end(runtime, db, client, runtime.models.Session.id == session_id) == 1


def revoke_session(runtime: Runtime, *, viewer: Viewer, session_id: UUID, client: Client) -> bool:
    """End one of the viewer's sessions; tell whether it was alive. Somebody else's is the same as an unknown one.

    Of two sessions that end each other at once, one survives. Raises `Unauthenticated`.
    """
    with runtime.database.transaction() as db:
        lock_viewer(runtime, db, viewer)
        session = runtime.models.Session
        return _end(runtime, db, client, session.id == session_id, session.user_id == viewer.user_id) == 1


def end_other_sessions(runtime: Runtime, *, viewer: Viewer, client: Client) -> int:
    """End all sessions of the viewer but this one; return how many were alive. Raises `Unauthenticated`."""
    with runtime.database.transaction() as db:
        lock_viewer(runtime, db, viewer)
        return end_all(runtime, db, viewer.user_id, but=viewer.session_id, client=client)


def end_every_session(runtime: Runtime, user_id: UUID) -> int:
    """End all sessions of a user, for an operator; return how many were alive."""
    with runtime.database.transaction() as db:
        return end_all(runtime, db, user_id, client=Client())


def end_by_refresh_token(runtime: Runtime, *, token: str, client: Client) -> bool:
    """End the session that issued this refresh token; tell whether it was alive.

    A token that is used up serves as well: another tab may have refreshed while this one signs out.
    """
    session_id = refresh_tokens.read(token)
    with runtime.database.transaction() as db:
        session = db.get(runtime.models.Session, session_id, with_for_update=True) if session_id else None
        if session is None or not refresh_tokens.is_genuine(token, session.refresh_key):
            return False
        return _end(runtime, db, client, runtime.models.Session.id == session.id) == 1


def end_all(runtime: Runtime, db: DatabaseSession, user_id: UUID, *, but: UUID | None = None, client: Client) -> int:
    """End every session of a user, `but` one if it is named; return how many were alive (ASVS 7.4.2, 7.4.3)."""
    # Two that end many sessions of one user at once would lock each other out; this makes one of them wait.
    user, session = runtime.models.User, runtime.models.Session
    db.execute(sa.select(user.id).where(user.id == user_id).with_for_update())
    others = session.id != but if but else sa.true()
    return _end(runtime, db, client, session.user_id == user_id, others)


def was_here(runtime: Runtime, db: DatabaseSession, user_id: UUID, ip_address: str | None) -> bool:
    """Tell whether this account was signed in from this address lately, and since its last password change."""
    if ip_address is None:
        return False
    session = runtime.models.Session
    here = (session.user_id == user_id, session.ip_address == ip_address)
    return db.scalar(sa.select(session.id).where(*here).limit(1)) is not None


def forget_addresses(runtime: Runtime, db: DatabaseSession, user_id: UUID) -> None:
    """Forget where an account was signed in from, for a new password: `was_here` knows none of it afterwards."""
    session = runtime.models.Session
    db.execute(
        sa.update(session).where(session.user_id == user_id, session.ip_address.is_not(None)).values(ip_address=None),
        execution_options={"synchronize_session": False},
    )


def touch(runtime: Runtime, session_id: UUID) -> None:
    """Note that a session is in use."""
    session, now = runtime.models.Session, runtime.clock()
    stale = session.last_used_at <= now - timedelta(seconds=TOUCH_SECONDS)
    with runtime.database.transaction() as db:
        db.execute(sa.update(session).where(session.id == session_id, stale).values(last_used_at=now))


def sweep(runtime: Runtime) -> int:
    """Delete one batch of expired sessions; return how many.

    An ended session is kept until it would have expired: `was_here` knows the owner's address by it.
    """
    session = runtime.models.Session
    expired = session.expires_at <= runtime.clock()
    batch = sa.select(session.id).where(expired).limit(SWEEP_BATCH).with_for_update(skip_locked=True)
    with runtime.database.transaction() as db:
        return len(db.execute(sa.delete(session).where(session.id.in_(batch)).returning(session.id)).all())


def viewer_key(models: Models) -> sa.SQLColumnExpression[UUID]:
    """Return the column by which `viewer_columns` is asked."""
    return models.Session.id


def viewer_columns(models: Models) -> sa.Select[*tuple[Any, ...]]:
    """Return what `judge` decides about: a session with its user and what the user is granted, in one statement."""
    session, user = models.Session, models.User
    return sa.select(
        session.user_id,
        session.ended_at,
        session.expires_at,
        session.last_used_at,
        user.disabled_at,
        user.email,
        user.name,
        user.email_verified_at,
        user.created_at,
        grants_of(models, session.user_id),
    ).join_from(session, user, session.user_id == user.id)


def look_up(runtime: Runtime, session_ids: Collection[UUID]) -> dict[UUID, tuple[Any, ...]]:
    """Return the rows of `viewer_columns` of these sessions, in one statement; what is not there is left out."""
    key = viewer_key(runtime.models)
    statement = viewer_columns(runtime.models).add_columns(key).where(key.in_(session_ids))
    with runtime.database.read() as db:
        return {row[-1]: tuple(row[:-1]) for row in db.execute(statement)}


def judge(row: tuple[Any, ...] | None, claims: Claims, now: datetime) -> Viewer | Refused:
    """Decide about the row of `viewer_columns` for a genuine token: does its session still count (ASVS 7.4.1)?"""
    if row is None:
        return Refused(Reason.SESSION_REVOKED, claims.user_id, claims.session_id)
    user_id, ended_at, expires_at, last_used_at, disabled_at, email, name, verified_at, created_at, granted = row
    if disabled_at is not None:
        return Refused(Reason.ACCOUNT_DISABLED, claims.user_id, claims.session_id)
    if ended_at is not None or expires_at <= now or user_id != claims.user_id:
        return Refused(Reason.SESSION_REVOKED, claims.user_id, claims.session_id)
    # PostgreSQL's driver gives times in the zone of the connection, and that may be a host's.
    profile = Profile(email, name, verified_at is not None, created_at.astimezone(UTC))
    grants = read_grants(granted)
    return Viewer(
        user_id, claims.session_id, grants.roles, grants.scopes, profile.email_verified, profile, last_used_at
    )


def _reserve_refresh(runtime: Runtime, session_id: UUID | None, token: str, client: Client) -> None:
    """Count one refresh. Raise `InvalidRefreshToken` for a token that was never issued, or `RateLimited`.

    Only a token that was issued is counted for its session, and only one that was not is counted for its network: an
    office shares a network, and nobody in it can use up the refreshes of the others.
    """
    client.attempts.reserve()
    with runtime.database.read() as db:
        session = db.get(runtime.models.Session, session_id) if session_id else None
    if session is None or not refresh_tokens.is_genuine(token, session.refresh_key):
        runtime.limiter.reserve(MADE_UP, network(client.ip_address))
        raise InvalidRefreshToken
    runtime.limiter.reserve(REFRESH, str(session_id), network(client.ip_address))


def _replay(runtime: Runtime, db: DatabaseSession, session: SessionColumns, token: str, client: Client) -> str | None:
    """Return the successor that the previous token has got already, within the grace; None for any other token.

    Nothing that is stored changes. A phone that changes networks after a lost answer replays from elsewhere, and so
    does a thief: the session goes on showing where it was last refreshed, and the replay is told.
    """
    is_previous = refresh_tokens.digest(token) == session.previous_refresh_hash
    if not is_previous or session.refresh_salt is None or not _in_grace(runtime, session):
        return None
    if (network(client.ip_address), _program(client)) != (network(session.ip_address), session.user_agent):
        emit(db, RefreshReplayed(user_id=session.user_id, session_id=session.id, ip_address=client.ip_address))
    return refresh_tokens.successor(token, session.id, session.refresh_key, session.refresh_salt)


def _rotate(runtime: Runtime, db: DatabaseSession, session: SessionColumns, token: str, client: Client) -> str:
    """Return the token's successor, or raise `InvalidRefreshToken`; an old token ends the session."""
    presented = refresh_tokens.digest(token)
    if presented != session.refresh_hash:
        if refresh_tokens.is_genuine(token, session.refresh_key):
            emit(db, RefreshReused(user_id=session.user_id, session_id=session.id, ip_address=client.ip_address))
            _end(runtime, db, client, runtime.models.Session.id == session.id)
        raise InvalidRefreshToken
    session.refresh_salt = refresh_tokens.new_secret()
    successor = refresh_tokens.successor(token, session.id, session.refresh_key, session.refresh_salt)
    session.previous_refresh_hash, session.refresh_hash = presented, refresh_tokens.digest(successor)
    session.refreshed_at = runtime.clock()
    _use(runtime, session, client)
    emit(db, Refreshed(user_id=session.user_id, session_id=session.id, ip_address=client.ip_address))
    return successor


def _in_grace(runtime: Runtime, session: SessionColumns) -> bool:
    grace = timedelta(seconds=runtime.settings.refresh_grace_seconds)
    return session.refreshed_at is not None and runtime.clock() - session.refreshed_at < grace


def _make_room(runtime: Runtime, db: DatabaseSession, new: SessionColumns, client: Client) -> None:
    """End the sessions of the account that are too many beside the new one, those unused for longest first.

    Of sessions that have ended, as many rows are kept and the oldest are deleted: otherwise whoever signs in and out
    again and again would fill the table.
    """
    session, most = runtime.models.Session, runtime.settings.max_sessions
    others = sa.select(session.id).where(session.user_id == new.user_id, session.id != new.id)
    # Almost always this one statement is all.
    if (db.scalar(sa.select(sa.func.count()).select_from(others.limit(most).subquery())) or 0) < most:
        return
    alive = sa.and_(*_alive(session, runtime.clock()))
    latest = others.order_by(session.last_used_at.desc(), session.id.desc())
    _end(runtime, db, client, session.id.in_(latest.where(alive).offset(most - 1)))
    forgotten = latest.where(sa.not_(alive)).offset(most)
    statement = sa.delete(session).where(session.id.in_(forgotten))
    db.execute(statement, execution_options={"synchronize_session": False})


def _use(runtime: Runtime, session: SessionColumns, client: Client) -> None:
    """Note when and from where a session is used; let its life slide up to the limit (ASVS 7.3.1, 7.3.2)."""
    now, settings = runtime.clock(), runtime.settings
    sliding = now + timedelta(seconds=settings.refresh_token_seconds)
    session.expires_at = min(sliding, session.created_at + timedelta(seconds=settings.session_seconds))
    session.last_used_at = now
    session.ip_address = client.ip_address
    session.user_agent = _program(client)


def _program(client: Client) -> str | None:
    """Return what the client calls itself, as it is stored."""
    # It is shown to people, also in terminals; what cannot be printed has no business there.
    printable = "".join(filter(str.isprintable, client.user_agent or ""))
    return printable[:MAX_USER_AGENT_LENGTH] or None


def _is_alive(session: SessionColumns, user: UserColumns, now: datetime) -> bool:
    return session.ended_at is None and session.expires_at > now and user.disabled_at is None


def _alive(session: type[SessionColumns], now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (session.ended_at.is_(None), session.expires_at > now)


def _end(runtime: Runtime, db: DatabaseSession, client: Client, *which: sa.ColumnElement[bool]) -> int:
    """End the living sessions among these and return how many they were."""
    session, now = runtime.models.Session, runtime.clock()
    living = sa.update(session).where(*which, *_alive(session, now)).values(ended_at=now)
    statement = living.returning(session.id, session.user_id)
    ended = db.execute(statement, execution_options={"synchronize_session": False}).all()
    emit(db, *(SessionRevoked(user_id=user, session_id=id, ip_address=client.ip_address) for id, user in ended))
    return len(ended)


def _signed_in(
    runtime: Runtime, db: DatabaseSession, session: SessionColumns, user: UserColumns, token: str
) -> SignedIn:
    grants = read_grants(db.scalar(sa.select(grants_of(runtime.models, sa.literal(user.id)))))
    access_token, seconds = runtime.tokens.issue(
        user.id,
        session.id,
        until=session.expires_at,
        roles=grants.roles,
        scopes=grants.scopes,
        email_verified=user.email_verified_at is not None,
    )
    left = int((session.expires_at - runtime.clock()).total_seconds())
    return SignedIn(access_token, seconds, token, left, user)
