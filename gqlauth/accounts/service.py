"""The rules of accounts: sign up, log in, and what an operator may do."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from gqlauth.accounts.guesses import Guess, guess_of_login, guess_of_owner
from gqlauth.context import Viewer
from gqlauth.database import broken_rule, emit
from gqlauth.errors import AuthError, AuthErrorCode, ConfigurationError, InvalidInput
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
from gqlauth.ratelimit import SIGNUP, RateLimited, network
from gqlauth.runtime import Client, Runtime, Signup
from gqlauth.sessions.service import SignedIn, end_all, forget_addresses, lock_viewer, sign_in
from gqlauth.threads import call_host
from gqlauth.users.models import UserColumns
from gqlauth.users.service import (
    Grants,
    camel_case,
    check_columns,
    check_email,
    check_name,
    find_by_email,
    grants_of,
    read_grants,
    required_columns,
    taken_column,
)

logger = logging.getLogger("gqlauth")

NOT_TAKEN = "The database does not take one of these values."


class EmailTaken(AuthError):
    """There is an account with this e-mail address."""

    code = AuthErrorCode.EMAIL_TAKEN
    message = "There is already an account with this e-mail address."
    field = "email"


class InvalidCredentials(AuthError):
    """Unknown e-mail address, wrong password or disabled account: which of them is not told (ASVS 6.3.8)."""

    code = AuthErrorCode.INVALID_CREDENTIALS
    message = "The e-mail address or the password is wrong."


def check_signup(
    runtime: Runtime, *, email: str, password: str, name: str, client: Client, extra: Mapping[str, Any]
) -> Signup[Any]:
    """Check a sign-up before anything is written. `extra` is what a host asks for beyond the rest, by Python name.

    Raises `InvalidEmail`, `InvalidInput`, `WeakPassword`, `EmailTaken` or `RateLimited`.
    """
    with _refusals_told(runtime, client):
        client.attempts.reserve()
        runtime.limiter.reserve(SIGNUP, network(client.ip_address))
        columns, rest = check_columns(runtime.models.User, extra)
        if rest and runtime.before_signup is None:
            raise TypeError(f"nothing takes {sorted(rest)} of SignupInput: no column, and there is no before_signup")
        return Signup(prepare_user(runtime, email=email, password=password, name=name, **columns), rest, client)


async def ask_host(runtime: Runtime, signup: Signup[Any]) -> None:
    """Let the host look at a sign-up, however long it takes: no thread of ours waits for it.

    Raises what the host's `before_signup` does, and `InvalidEmail` for an address that it has written.
    """
    if runtime.before_signup is None:
        return
    try:
        await call_host(runtime.before_signup, signup)
        # The host may have written the address anew: by which it is found goes with it.
        signup.user.email_key = check_email(signup.user.email, allow_test_domain=not runtime.settings.production)
    except AuthError as refusal:
        # In a thread: a listener may block.
        await call_host(_tell_refusal, runtime, signup.client, refusal)
        raise


def signup(runtime: Runtime, checked: Signup[Any], password: str) -> SignedIn:
    """Make the account that was checked, and sign it in. Raises `EmailTaken` or `InvalidInput`."""
    user, client = checked.user, checked.client
    with _refusals_told(runtime, client):
        user.password_hash = runtime.passwords.hash(password)
        with runtime.database.transaction() as db:
            add_user(runtime, db, user, client)
            return sign_in(runtime, db, user, client)


def check_login(runtime: Runtime, *, email: str, client: Client) -> Guess:
    """Read what `login` needs before it hashes. Raises `RateLimited` for a request that tries too many passwords."""
    guess = guess_of_login(runtime, email=email, client=client)
    with _limits_told(runtime, guess):
        client.attempts.reserve()
    return guess


def login(runtime: Runtime, guess: Guess, password: str) -> SignedIn:
    """Sign an account in. Raises `InvalidCredentials`, after the same time for whatever reason, or `RateLimited`."""
    user, client = guess.user, guess.client
    with _limits_told(runtime, guess):
        # Here and not in `check_login`: what waits to be hashed must not use up the places of a whole office.
        places = guess.reserve(runtime)
    # No connection is held while hashing.
    matches = runtime.passwords.verify(password, user.password_hash if user else None)
    if user is None or not matches:
        raise _refuse_login(runtime, user, client, "INVALID_CREDENTIALS")
    if user.disabled_at is not None:
        # Before any work that the others are spared: a second hash would double the time.
        raise _refuse_login(runtime, user, client, "ACCOUNT_DISABLED")
    runtime.limiter.release(*places)
    stored = user.password_hash
    rehashed = runtime.passwords.hash(password) if runtime.passwords.needs_rehash(stored) else stored
    with runtime.database.transaction() as db:
        current = db.get(runtime.models.User, user.id, with_for_update=True)
        if current is not None and current.password_hash == stored and current.disabled_at is None:
            current.password_hash = rehashed
            return sign_in(runtime, db, current, client)
    if current is None or current.disabled_at is not None:
        raise _refuse_login(runtime, user, client, "ACCOUNT_DISABLED")
    # The password was changed, or its hash renewed, since it was read: only the new one counts.
    return login(runtime, check_login(runtime, email=user.email, client=client), password)


def update_profile(runtime: Runtime, *, viewer: Viewer, changes: Mapping[str, Any], client: Client) -> UserColumns:
    """Change what is given, by Python name, and return the account. Raises `InvalidInput` or `Unauthenticated`."""
    columns, rest = check_columns(runtime.models.User, {key: changes[key] for key in changes if key != "name"})
    if rest:
        raise TypeError(f"there is no column for {sorted(rest)} of UpdateProfileInput")
    if changes.get("name") is not None:
        columns["name"] = check_name(changes["name"])
    with runtime.database.transaction() as db:
        user = lock_viewer(runtime, db, viewer)
        changed = {key: value for key, value in columns.items() if getattr(user, key) != value}
        if changed:
            _write(runtime, db, user, changed)
            emit(db, ProfileUpdated(user_id=user.id, ip_address=client.ip_address))
        return user


def check_owner(runtime: Runtime, *, viewer: Viewer, client: Client) -> Guess:
    """Read what `change_password` and `delete_account` need before they hash. Raises like `check_login`."""
    with _passwords_told(runtime, viewer, client):
        client.attempts.reserve()
    return guess_of_owner(runtime, viewer=viewer, client=client)


def change_password(runtime: Runtime, guess: Guess, *, viewer: Viewer, current: str, new: str) -> SignedIn:
    """Replace the password, end every session and begin a new one here (ASVS 6.2.3, 7.2.4, 7.4.3).

    Not even an access token of before is worth anything afterwards: whoever has one may be why the password changes.
    Raises `InvalidCredentials`, `RateLimited`, `WeakPassword` or `Unauthenticated`.
    """
    verified = _verify_owner(runtime, guess, viewer, current, field="currentPassword")
    runtime.passwords.check(new, words=(verified.email, verified.name), field="newPassword")
    new_hash = runtime.passwords.hash(new)
    client = guess.client
    with runtime.database.transaction() as db:
        user = lock_viewer(runtime, db, viewer)
        _check_unchanged(user, verified, field="currentPassword")
        replace_password(runtime, db, user, new_hash, client)
        emit(db, PasswordChanged(user_id=user.id, session_id=viewer.session_id, ip_address=client.ip_address))
        return sign_in(runtime, db, user, client)


def replace_password(runtime: Runtime, db: Session, user: UserColumns, new_hash: str, client: Client) -> None:
    """Give an account a new password and make everything of before worthless: sessions, and addresses that it knows.

    Whoever had the old password may have signed in from many addresses, to guess the new one from them.
    """
    user.password_hash = new_hash
    end_all(runtime, db, user.id, client=client)
    forget_addresses(runtime, db, user.id)


def delete_account(runtime: Runtime, guess: Guess, *, viewer: Viewer, password: str) -> UUID:
    """Delete the account with all that belongs to it, and return the id that it had.

    The database deletes the sessions along with their user, so that none is left over (GHSA-2vg6-77g8-24mp).
    Raises `InvalidCredentials`, `RateLimited` or `Unauthenticated`.
    """
    verified = _verify_owner(runtime, guess, viewer, password, field="password")
    with runtime.database.transaction() as db:
        user = lock_viewer(runtime, db, viewer)
        _check_unchanged(user, verified, field="password")
        model = runtime.models.User
        db.execute(sa.delete(model).where(model.id == user.id))
        emit(db, AccountDeleted(user_id=user.id, ip_address=guess.client.ip_address))
    return user.id


def prepare_user(runtime: Runtime, *, email: str, password: str, name: str, **columns: Any) -> UserColumns:
    """Check everything that can be checked without writing, and return the account without its password's hash.

    Raises like `signup`.
    """
    model = runtime.models.User
    key = check_email(email, allow_test_domain=not runtime.settings.production)
    name = check_name(name)
    runtime.passwords.check(password, words=(email, name))
    with runtime.database.read() as db:
        # Spares the hash; whether the address is free when it counts is for the database to say.
        if db.scalar(sa.select(model.id).where(model.email_key == key)) is not None:
            raise EmailTaken
    return model(email=email, email_key=key, name=name, created_at=runtime.clock(), **columns)


def add_user(runtime: Runtime, db: Session, user: UserColumns, client: Client) -> None:
    """Write the account. Raises `EmailTaken` if another sign-up was first.

    Raises `ConfigurationError` if nothing has filled a column of the host's that must not be empty.
    """
    try:
        _write(runtime, db, user, {})
    except IntegrityError as error:
        kind = type(user)
        lacking = sorted(name for name in required_columns(kind) if getattr(user, name) is None)
        if not lacking:
            raise
        raise ConfigurationError(
            f"a new {kind.__name__} needs {', '.join(lacking)}: ask for it in a SignupInput of yours in "
            "Schema(types=[...]), set it in before_signup, or give the column a default"
        ) from error
    emit(db, UserSignedUp(user_id=user.id, ip_address=client.ip_address))


def create_user(runtime: Runtime, *, email: str, password: str, name: str) -> UserColumns:
    """Make an account without signing it in, for an operator. Raises like `signup`."""
    user = prepare_user(runtime, email=email, password=password, name=name)
    user.password_hash = runtime.passwords.hash(password)
    with runtime.database.transaction() as db:
        add_user(runtime, db, user, Client())
    return user


def list_users(runtime: Runtime) -> list[tuple[UserColumns, Grants]]:
    """Return all accounts with what they are granted, oldest first."""
    user = runtime.models.User
    every = sa.select(user, grants_of(runtime.models, user.id)).order_by(user.created_at, user.id)
    with runtime.database.read() as db:
        return [(account, read_grants(granted)) for account, granted in db.execute(every)]


def disable_user(runtime: Runtime, email: str) -> bool:
    """Keep an account out and end its sessions at once (ASVS 7.4.2); tell whether there is such an account."""
    with runtime.database.transaction() as db:
        user = find_by_email(runtime, db, email, lock=True)
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
        user = find_by_email(runtime, db, email, lock=True)
        if user is None:
            return False
        if user.disabled_at is not None:
            user.disabled_at = None
            emit(db, UserEnabled(user_id=user.id))
        return True


@contextmanager
def _refusals_told(runtime: Runtime, client: Client) -> Iterator[None]:
    """Let the listeners know of a sign-up that is refused within."""
    try:
        yield
    except AuthError as refusal:
        _tell_refusal(runtime, client, refusal)
        raise


def _tell_refusal(runtime: Runtime, client: Client, refusal: AuthError) -> None:
    runtime.events.publish(SignupRefused(reason=refusal.code, ip_address=client.ip_address))


def _verify_owner(runtime: Runtime, guess: Guess, viewer: Viewer, password: str, *, field: str) -> UserColumns:
    """Return the viewer's account if the password is theirs. Raise `InvalidCredentials` or `RateLimited`."""
    user = guess.user
    with _passwords_told(runtime, viewer, guess.client):
        places = guess.reserve(runtime)
        if user is None or not runtime.passwords.verify(password, user.password_hash):
            raise InvalidCredentials("The password is wrong.", field=field)
    runtime.limiter.release(*places)
    return user


@contextmanager
def _passwords_told(runtime: Runtime, viewer: Viewer, client: Client) -> Iterator[None]:
    """Let the listeners know of a password of somebody signed in that is refused within."""
    try:
        yield
    except AuthError as refusal:
        who = {"user_id": viewer.user_id, "session_id": viewer.session_id}
        runtime.events.publish(PasswordRefused(**who, reason=refusal.code, ip_address=client.ip_address))
        raise


def _write(runtime: Runtime, db: Session, user: UserColumns, changes: Mapping[str, Any]) -> None:
    """Write the account with these changes. What it may hold is the database's word.

    Raises `EmailTaken`, or `InvalidInput` for what is taken otherwise or breaks a rule of the host's table.
    """
    try:
        with db.begin_nested():
            for name, value in changes.items():
                setattr(user, name, value)
            db.add(user)
    except IntegrityError as error:
        taken = taken_column(runtime, db, user, changes)
        if taken is None:
            if (rule := broken_rule(error)) is None:
                raise
            # Who sent it cannot know the rule; and it may be a default of the host's that breaks it.
            logger.warning("an account was refused by the database: %s", rule)
            raise InvalidInput(NOT_TAKEN) from None
        raise EmailTaken if taken == "email_key" else InvalidInput("This is taken.", field=camel_case(taken)) from None
    except (DataError, OverflowError):
        raise InvalidInput(NOT_TAKEN) from None
    except StatementError as error:
        # What a column's type says of a value before the database sees it.
        if not isinstance(error.orig, ValueError | OverflowError):
            raise
        raise InvalidInput(NOT_TAKEN) from None


def _check_unchanged(user: UserColumns, verified: UserColumns, *, field: str) -> None:
    """Raise `InvalidCredentials` unless the password is still the one that was verified without a connection."""
    if user.password_hash != verified.password_hash:
        raise InvalidCredentials("The password has just been changed.", field=field)


@contextmanager
def _limits_told(runtime: Runtime, guess: Guess) -> Iterator[None]:
    """Let the listeners know of a login that is limited within."""
    try:
        yield
    except RateLimited:
        _refuse_login(runtime, guess.user, guess.client, "RATE_LIMITED")
        raise


def _refuse_login(runtime: Runtime, user: UserColumns | None, client: Client, reason: str) -> InvalidCredentials:
    runtime.events.publish(LoginFailed(user_id=user.id if user else None, reason=reason, ip_address=client.ip_address))
    return InvalidCredentials()
