"""The rules of accounts: sign up, log in, and what an operator may do."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gqlauth.context import Viewer
from gqlauth.database import emit
from gqlauth.errors import AuthError, AuthErrorCode
from gqlauth.events import (
    AccountDeleted,
    LoginFailed,
    PasswordChanged,
    PasswordRefused,
    ProfileUpdated,
    SignupRefused,
    UserDisabled,
    UserEnabled,
    UserSignedUp,
)
from gqlauth.ratelimit import ACCOUNT, ADDRESS, KNOWN, OWNER, SIGNUP, RateLimited, network
from gqlauth.runtime import Client, Runtime
from gqlauth.sessions.service import SignedIn, end_all, lock_viewer, sign_in, was_here
from gqlauth.users.models import MAX_EMAIL_LENGTH, User
from gqlauth.users.service import check_email, check_name, email_key, find_by_email, is_device_of


class EmailTaken(AuthError):
    """There is an account with this e-mail address."""

    code = AuthErrorCode.EMAIL_TAKEN
    message = "There is already an account with this e-mail address."
    field = "email"


class InvalidCredentials(AuthError):
    """Unknown e-mail address, wrong password or disabled account: which of them is not told (ASVS 6.3.8)."""

    code = AuthErrorCode.INVALID_CREDENTIALS
    message = "The e-mail address or the password is wrong."


def signup(runtime: Runtime, *, email: str, password: str, name: str, client: Client) -> SignedIn:
    """Make an account and sign it in.

    Raises `InvalidEmail`, `InvalidInput`, `WeakPassword`, `EmailTaken` or `RateLimited`.
    """
    try:
        client.attempts.reserve()
        runtime.limiter.reserve(SIGNUP, network(client.ip_address))
        prepared = prepare_user(runtime, email=email, password=password, name=name)
        with runtime.database.transaction() as db:
            user = add_user(db, prepared, client)
            return sign_in(runtime, db, user, client)
    except AuthError as refusal:
        runtime.events.publish(SignupRefused(reason=refusal.code, ip_address=client.ip_address))
        raise


def login(runtime: Runtime, *, email: str, password: str, client: Client) -> SignedIn:
    """Sign an account in. Raises `InvalidCredentials`, after the same time for whatever reason, or `RateLimited`."""
    with runtime.database.read() as db:
        user = find_by_email(db, email)
        known = _known_by(db, user, client)
    try:
        _reserve_guess(runtime, email, known, client)
    except RateLimited:
        _refuse_login(runtime, user, client, "RATE_LIMITED")
        raise
    # No connection is held while hashing.
    matches = runtime.passwords.verify(password, user.password_hash if user else None)
    if user is None or not matches:
        raise _refuse_login(runtime, user, client, "INVALID_CREDENTIALS")
    if user.disabled_at is not None:
        # Before any work that the others are spared: a second hash would double the time.
        raise _refuse_login(runtime, user, client, "ACCOUNT_DISABLED")
    if known:
        runtime.limiter.forget(KNOWN, *known)
    stored = user.password_hash
    rehashed = runtime.passwords.hash(password) if runtime.passwords.needs_rehash(stored) else stored
    with runtime.database.transaction() as db:
        current = db.get(User, user.id, with_for_update=True)
        if current is not None and current.password_hash == stored and current.disabled_at is None:
            current.password_hash = rehashed
            return sign_in(runtime, db, current, client)
    if current is None or current.disabled_at is not None:
        raise _refuse_login(runtime, user, client, "ACCOUNT_DISABLED")
    # The password was changed, or its hash renewed, since it was read: only the new one counts.
    return login(runtime, email=email, password=password, client=client)


def update_profile(runtime: Runtime, *, viewer: Viewer, name: str | None, client: Client) -> User:
    """Change what is given and return the account. Raises `InvalidInput` or `Unauthenticated`."""
    checked = None if name is None else check_name(name)
    with runtime.database.transaction() as db:
        user = lock_viewer(runtime, db, viewer)
        if checked is not None and checked != user.name:
            user.name = checked
            emit(db, ProfileUpdated(user_id=user.id, ip_address=client.ip_address))
        return user


def change_password(runtime: Runtime, *, viewer: Viewer, current: str, new: str, client: Client) -> SignedIn:
    """Replace the password, end every session and begin a new one here (ASVS 6.2.3, 7.2.4, 7.4.3).

    Not even an access token of before is worth anything afterwards: whoever has one may be why the password changes.
    Raises `InvalidCredentials`, `WeakPassword` or `Unauthenticated`.
    """
    verified = _verify_owner(runtime, viewer, current, client, field="currentPassword")
    runtime.passwords.check(new, words=(verified.email, verified.name), field="newPassword")
    new_hash = runtime.passwords.hash(new)
    with runtime.database.transaction() as db:
        user = lock_viewer(runtime, db, viewer)
        _check_unchanged(user, verified, field="currentPassword")
        user.password_hash = new_hash
        end_all(runtime, db, user.id, client=client)
        emit(db, PasswordChanged(user_id=user.id, session_id=viewer.session_id, ip_address=client.ip_address))
        return sign_in(runtime, db, user, client)


def delete_account(runtime: Runtime, *, viewer: Viewer, password: str, client: Client) -> UUID:
    """Delete the account with all that belongs to it, and return the id that it had.

    The database deletes the sessions along with their user, so that none is left over (GHSA-2vg6-77g8-24mp).
    Raises `InvalidCredentials` or `Unauthenticated`.
    """
    verified = _verify_owner(runtime, viewer, password, client, field="password")
    with runtime.database.transaction() as db:
        user = lock_viewer(runtime, db, viewer)
        _check_unchanged(user, verified, field="password")
        db.execute(sa.delete(User).where(User.id == user.id))
        emit(db, AccountDeleted(user_id=user.id, ip_address=client.ip_address))
    return user.id


def prepare_user(runtime: Runtime, *, email: str, password: str, name: str) -> User:
    """Check everything that can be checked without writing, and hash the password. Raises like `signup`."""
    key = check_email(email, allow_test_domain=not runtime.settings.production)
    name = check_name(name)
    runtime.passwords.check(password, words=(email, name))
    with runtime.database.read() as db:
        # Spares the hash; whether the address is free when it counts is for the database to say.
        if db.scalar(sa.select(User.id).where(User.email_key == key)) is not None:
            raise EmailTaken
    return User(
        email=email,
        email_key=key,
        name=name,
        password_hash=runtime.passwords.hash(password),
        created_at=runtime.clock(),
    )


def add_user(db: Session, user: User, client: Client) -> User:
    """Write the account. Raises `EmailTaken` if another sign-up was first."""
    try:
        with db.begin_nested():
            db.add(user)
    except IntegrityError:
        raise EmailTaken from None
    emit(db, UserSignedUp(user_id=user.id, ip_address=client.ip_address))
    return user


def create_user(runtime: Runtime, *, email: str, password: str, name: str) -> User:
    """Make an account without signing it in, for an operator. Raises like `signup`."""
    prepared = prepare_user(runtime, email=email, password=password, name=name)
    with runtime.database.transaction() as db:
        return add_user(db, prepared, Client())


def list_users(runtime: Runtime) -> Sequence[User]:
    """Return all accounts, oldest first."""
    with runtime.database.read() as db:
        return db.scalars(sa.select(User).order_by(User.created_at, User.id)).all()


def get_user(runtime: Runtime, user_id: UUID) -> User | None:
    """Return an account that may sign in, or None."""
    with runtime.database.read() as db:
        return db.scalar(sa.select(User).where(User.id == user_id, User.disabled_at.is_(None)))


def disable_user(runtime: Runtime, email: str) -> bool:
    """Keep an account out and end its sessions at once (ASVS 7.4.2); tell whether there is such an account."""
    with runtime.database.transaction() as db:
        user = find_by_email(db, email, lock=True)
        if user is None:
            return False
        if user.disabled_at is None:
            user.disabled_at = runtime.clock()
            end_all(runtime, db, user.id, client=Client())
            emit(db, UserDisabled(user_id=user.id))
        return True


def enable_user(runtime: Runtime, email: str) -> bool:
    """Let an account sign in again; tell whether there is such an account."""
    with runtime.database.transaction() as db:
        user = find_by_email(db, email, lock=True)
        if user is None:
            return False
        if user.disabled_at is not None:
            user.disabled_at = None
            emit(db, UserEnabled(user_id=user.id))
        return True


def _verify_owner(runtime: Runtime, viewer: Viewer, password: str, client: Client, *, field: str) -> User:
    """Return the viewer's account if the password is theirs. Raise `InvalidCredentials` or `RateLimited`."""
    try:
        client.attempts.reserve()
        runtime.limiter.reserve(OWNER, str(viewer.user_id))
        user = get_user(runtime, viewer.user_id)
        if user is None or not runtime.passwords.verify(password, user.password_hash):
            raise InvalidCredentials("The password is wrong.", field=field)
    except AuthError as refusal:
        who = {"user_id": viewer.user_id, "session_id": viewer.session_id}
        runtime.events.publish(PasswordRefused(**who, reason=refusal.code, ip_address=client.ip_address))
        raise
    runtime.limiter.forget(OWNER, str(viewer.user_id))
    return user


def _check_unchanged(user: User, verified: User, *, field: str) -> None:
    """Raise `InvalidCredentials` unless the password is still the one that was verified without a connection."""
    if user.password_hash != verified.password_hash:
        raise InvalidCredentials("The password has just been changed.", field=field)


def _known_by(db: Session, user: User | None, client: Client) -> tuple[str, ...]:
    """Return by what the client is known to the account: a device or an address that signed in before; or nothing."""
    # Asked for unknown accounts too, so that they take as long.
    here = was_here(db, user.id if user else UUID(int=0), client.ip_address)
    if user is not None and is_device_of(user, client.device):
        return (str(user.id), "device", client.device or "")
    return (str(user.id), "address", client.ip_address or "") if user is not None and here else ()


def _reserve_guess(runtime: Runtime, email: str, known: tuple[str, ...], client: Client) -> None:
    """Count one guess, before it is looked at. Raise `RateLimited`.

    Who is known to the account is counted apart, so that its owner gets in while others are hammering (ASVS 6.1.1).
    """
    client.attempts.reserve()
    if known:
        runtime.limiter.reserve(KNOWN, *known)
        return
    runtime.limiter.reserve(ADDRESS, network(client.ip_address))
    runtime.limiter.reserve(ACCOUNT, email_key(email) or email[:MAX_EMAIL_LENGTH])


def _refuse_login(runtime: Runtime, user: User | None, client: Client, reason: str) -> InvalidCredentials:
    runtime.events.publish(LoginFailed(user_id=user.id if user else None, reason=reason, ip_address=client.ip_address))
    return InvalidCredentials()
