"""Accounts for tests, made by the services that make all others, but without a password."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from gqlauth.accounts.service import add_user
from gqlauth.runtime import Client, Runtime
from gqlauth.sessions import service as sessions
from gqlauth.sessions.service import SignedIn
from gqlauth.users.models import UserColumns
from gqlauth.users.service import Kind, check_email, check_name, find_by_email, grant, required_columns, revoke

# No hash at all: whatever password is tried, it is wrong.
NO_PASSWORD = "!"  # noqa: S105
PEER = ("127.0.0.1", 50_000)
CLIENT = Client(PEER[0], "testclient")


def ensure(
    runtime: Runtime, user: str | UserColumns, *, verified: bool, name: str | None, columns: Mapping[str, Any]
) -> str:
    """Make the account that there is to be, or bring it to that; return its e-mail address. Raises like `login_as`."""
    email = user if isinstance(user, str) else user.email
    wanted = dict(columns) | ({} if name is None else {"name": check_name(name)})
    _check_columns(runtime.models.User, wanted)
    with runtime.database.transaction() as db:
        account = find_by_email(runtime, db, email, lock=True)
        if account is None:
            if not isinstance(user, str):
                raise LookupError(f"{email} is not in the database of the Auth under test")
            account = _new(runtime, email, wanted)
            add_user(runtime, db, account, CLIENT)
        for column, value in wanted.items():
            setattr(account, column, value)
        if verified != (account.email_verified_at is not None):
            account.email_verified_at = runtime.clock() if verified else None
        return account.email


def set_grants(runtime: Runtime, email: str, kind: Kind, names: Iterable[str] | None) -> None:
    """Let the user have exactly these roles or scopes. None: leave them."""
    if names is None:
        return
    if isinstance(names, str):
        raise TypeError(f"{kind}s are a list of names: [{names!r}]")
    model, wanted = runtime.models.Grant, list(names)
    with runtime.database.read() as db:
        user = find_by_email(runtime, db, email)
        of_user = sa.select(model.name).where(model.kind == kind, model.user_id == user.id) if user else None
        granted = db.scalars(of_user).all() if of_user is not None else []
    for each in granted:
        if each not in wanted:
            revoke(runtime, email, kind, each)
    for each in wanted:
        grant(runtime, email, kind, each)


def sign_in(runtime: Runtime, email: str) -> SignedIn:
    """Begin a session, by the one door."""
    with runtime.database.transaction() as db:
        user = find_by_email(runtime, db, email, lock=True)
        assert user is not None  # noqa: S101 -- `ensure` has been there
        return sessions.sign_in(runtime, db, user, CLIENT)


def _new(runtime: Runtime, email: str, columns: Mapping[str, Any]) -> UserColumns:
    model, key = runtime.models.User, check_email(email, allow_test_domain=True)
    own = {"email": email, "email_key": key, "password_hash": NO_PASSWORD, "created_at": runtime.clock()}
    given = {**own, **columns}
    if lacking := required_columns(model) - given.keys():
        raise TypeError(f"there is no {email} yet, and a new {model.__name__} needs {', '.join(sorted(lacking))}")
    return model(**given)


def _check_columns(model: type[UserColumns], columns: Mapping[str, Any]) -> None:
    unknown = columns.keys() - sa.inspect(model).column_attrs.keys()
    if unknown:
        raise TypeError(f"{model.__name__} has no column {', '.join(sorted(unknown))}")
