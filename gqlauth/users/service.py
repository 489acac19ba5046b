"""What makes an e-mail address and a name acceptable, and how an account is found."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast
from uuid import UUID

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from gqlauth.database import emit
from gqlauth.errors import AuthError, AuthErrorCode, InvalidInput
from gqlauth.events import GrantAdded, GrantRemoved
from gqlauth.models import Models
from gqlauth.runtime import Runtime
from gqlauth.users.models import MAX_EMAIL_LENGTH, MAX_GRANT_LENGTH, MAX_NAME_LENGTH, UserColumns

# Control characters, halves of characters, and the line breaks U+2028 and U+2029.
FORBIDDEN_IN_NAMES = frozenset({"Cc", "Cs", "Zl", "Zp"})


Kind = Literal["role", "scope"]
# scope-token of RFC 6749 section 3.3.
GRANT_NAME = re.compile(rf"[\x21\x23-\x5b\x5d-\x7e]{{1,{MAX_GRANT_LENGTH}}}")
# All of them together must fit into a token.
MAX_GRANTS = 32
DEVICE_BYTES = 16


class InvalidEmail(AuthError):
    """This is not an e-mail address that mail could be sent to."""

    code = AuthErrorCode.INVALID_EMAIL
    message = "This is not a valid e-mail address."
    field = "email"


def check_email(email: str, *, allow_test_domain: bool = False) -> str:
    """Return the address's key: normalised and lower-case, the form in which it is unique.

    Raise `InvalidEmail` for anything else than an address. `allow_test_domain` lets the reserved domain .test through.
    """
    if len(email) > MAX_EMAIL_LENGTH or any(unicodedata.category(each) in FORBIDDEN_IN_NAMES for each in email):
        raise InvalidEmail
    try:
        valid = validate_email(email, check_deliverability=False, test_environment=allow_test_domain)
    except EmailNotValidError:
        raise InvalidEmail from None
    key = valid.normalized.lower()
    # Two spellings that look or compare alike must never be two mailboxes (GHSA-7rqj-j65f-68wh, homoglyph @).
    if unicodedata.normalize("NFKC", email) != email or len(key) > MAX_EMAIL_LENGTH:
        raise InvalidEmail
    return key


def check_name(name: str) -> str:
    """Return the name without blanks around it. Raise `InvalidInput` if it is too long or holds control characters."""
    name = name.strip()
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidInput(f"Use at most {MAX_NAME_LENGTH} characters.", field="name")
    if any(unicodedata.category(character) in FORBIDDEN_IN_NAMES for character in name):
        raise InvalidInput("Control characters are not allowed.", field="name")
    return name


def check_columns(model: type[UserColumns], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a host's input into columns that the host has added to its class for users, and the rest.

    gqlauth's own columns are never among the first: nobody verifies an address or sets a hash by signing up. A null for
    a column that takes none is as if it had been left out. Raises `InvalidInput` for what the column cannot hold.
    """
    added = {name: column for name, column in _columns(model).items() if name not in vars(UserColumns)}
    columns = {name: value for name, value in values.items() if name in added}
    for name, value in columns.items():
        if isinstance(value, str):
            _check_text(value, getattr(added[name].type, "length", None), camel_case(name))
    return (
        {name: value for name, value in columns.items() if value is not None or added[name].nullable},
        {name: value for name, value in values.items() if name not in added},
    )


def taken_column(runtime: Runtime, db: Session, user: UserColumns, changes: Mapping[str, Any]) -> str | None:
    """Return the attribute whose value another account has where the database holds it to be unique; None if none."""
    model = runtime.models.User
    columns = _columns(model)
    names = {column: name for name, column in columns.items()}
    for unique in _unique(cast("sa.Table", model.__table__)):
        values = {names[column]: changes.get(names[column], getattr(user, names[column])) for column in unique}
        if None not in values.values():
            same = (columns[name] == value for name, value in values.items())
            if db.scalar(sa.select(model.id).where(*same, model.id != user.id)) is not None:
                return next((name for name in values if name in changes), next(iter(values)))
    return None


def required_columns(model: type[UserColumns]) -> set[str]:
    """Return the columns that every account has to be given, by the names that they have in Python."""
    return {
        name
        for name, column in _columns(model).items()
        if not (column.nullable or column.default or column.server_default or column.autoincrement is True)
    }


def camel_case(name: str) -> str:
    """Return a Python name as GraphQL spells it."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _columns(model: type[UserColumns]) -> dict[str, sa.Column[Any]]:
    """Return the columns of the table by the names that they have in Python. What is calculated of them is none."""
    mapped = {attribute.key: attribute.columns[0] for attribute in sa.inspect(model).column_attrs}
    return {name: column for name, column in mapped.items() if isinstance(column, sa.Column)}


def _unique(table: sa.Table) -> list[list[sa.Column[Any]]]:
    """Return the columns that are unique, alone or together: by a constraint or an index."""
    found = [list(part.columns) for part in table.constraints if isinstance(part, sa.UniqueConstraint)]
    found += [list(index.columns) for index in table.indexes if index.unique]
    names = table.columns.keys()
    return sorted(found, key=lambda columns: [names.index(column.key) for column in columns])


def _check_text(text: str, limit: int | None, field: str) -> None:
    if limit is not None and len(text) > limit:
        raise InvalidInput(f"Use at most {limit} characters.", field=field)
    # PostgreSQL has no room for it in a text.
    if "\0" in text:
        raise InvalidInput("Control characters are not allowed.", field=field)


def email_key(email: str) -> str | None:
    """Return an address's key like `check_email`, or None where there can be no account with it."""
    try:
        return check_email(email, allow_test_domain=True)
    except InvalidEmail:
        return None


def find_by_email(runtime: Runtime, db: Session, email: str, *, lock: bool = False) -> UserColumns | None:
    """Return the account with this e-mail address, however it is capitalised; `lock` it for whoever changes it."""
    user, key = runtime.models.User, email_key(email)
    found = sa.select(user).where(user.email_key == key)
    if key is None:
        return None
    account: UserColumns | None = db.scalar(found.with_for_update() if lock else found)
    return account


def grant(runtime: Runtime, email: str, kind: Kind, name: str) -> bool:
    """Give a user a role or a scope; tell whether there is such an account. It counts from the next request on.

    The access tokens that are out tell of it when they are refreshed. Raises `InvalidInput` for what is no name of a
    role or scope, or if the user has too many.
    """
    if not GRANT_NAME.fullmatch(name):
        raise InvalidInput(
            f"A {kind} is 1 to {MAX_GRANT_LENGTH} printable ASCII characters without blanks, quotes or backslashes."
        )
    with runtime.database.transaction() as db:
        user = find_by_email(runtime, db, email, lock=True)
        if user is None:
            return False
        model = runtime.models.Grant
        granted = db.scalars(sa.select(model).where(model.user_id == user.id)).all()
        if not any((each.kind, each.name) == (kind, name) for each in granted):
            if len(granted) >= MAX_GRANTS:
                raise InvalidInput(f"Nobody can have more than {MAX_GRANTS} roles and scopes: each token tells them.")
            db.add(model(user_id=user.id, kind=kind, name=name))
            emit(db, GrantAdded(user_id=user.id, kind=kind, name=name))
        return True


def revoke(runtime: Runtime, email: str, kind: Kind, name: str) -> bool:
    """Take a role or a scope from a user, from the next request on; tell whether they had it."""
    with runtime.database.transaction() as db:
        user = find_by_email(runtime, db, email, lock=True)
        found = db.get(runtime.models.Grant, (user.id, kind, name)) if user else None
        if user is None or found is None:
            return False
        db.delete(found)
        emit(db, GrantRemoved(user_id=user.id, kind=kind, name=name))
        return True


@dataclass(frozen=True, slots=True)
class Grants:
    """What one user is granted."""

    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


def grants_of(models: Models, user_id: sa.SQLColumnExpression[UUID]) -> sa.ScalarSelect[str]:
    """Return the expression for all that a user is granted, as `read_grants` reads it. It is part of a statement."""
    grant = models.Grant
    # Written out, not bound: the statement is also run without SQLAlchemy.
    each = sa.func.aggregate_strings(grant.kind + sa.literal_column("':'") + grant.name, " ")
    return sa.select(each).where(grant.user_id == user_id).scalar_subquery()


@lru_cache(maxsize=1024)
def read_grants(text: str | None) -> Grants:
    """Read what `grants_of` has selected."""
    pairs = [each.partition(":") for each in (text or "").split()]
    named = {kind: frozenset(name for each, _, name in pairs if each == kind) for kind in ("role", "scope")}
    return Grants(named["role"], named["scope"])


def device_token(user: UserColumns, kept: str | None = None) -> str:
    """Return what shows that a browser has signed in to this account before: `<random>.<tag>`, in base64url.

    Each device has a value of its own, so that its guesses are counted apart from those of the account's other devices.
    A browser that brings a value that still counts keeps it. The tag is keyed by the password's hash: a new password
    makes every value worthless. A value opens nothing.
    """
    if kept is not None and is_device_of(user, kept):
        return kept
    random = secrets.token_urlsafe(DEVICE_BYTES)
    return f"{random}.{_device_tag(user, random)}"


def is_device_of(user: UserColumns, token: str | None) -> bool:
    """Tell whether a sign-in to this account, since its password is what it is, has left this value with a device."""
    random, _, tag = (token or "").partition(".")
    return hmac.compare_digest(tag.encode(), _device_tag(user, random).encode())


def _device_tag(user: UserColumns, random: str) -> str:
    said = b"device" + user.id.bytes + random.encode()
    tag = hmac.digest(user.password_hash.encode(), said, hashlib.sha256)
    return base64.urlsafe_b64encode(tag).rstrip(b"=").decode()
