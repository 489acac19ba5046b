"""What makes an e-mail address and a name acceptable, and how an account is found."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from gqlauth.errors import AuthError, AuthErrorCode, InvalidInput
from gqlauth.users.models import MAX_EMAIL_LENGTH, MAX_NAME_LENGTH, User

# Control characters, halves of characters, and the line breaks U+2028 and U+2029.
FORBIDDEN_IN_NAMES = frozenset({"Cc", "Cs", "Zl", "Zp"})


class InvalidEmail(AuthError):
    """This is not an e-mail address that mail could be sent to."""

    code = AuthErrorCode.INVALID_EMAIL
    message = "This is not a valid e-mail address."
    field = "email"


def check_email(email: str, *, allow_test_domain: bool = False) -> str:
    """Return the address's key: normalised and lower-case, the form in which it is unique.

    Raise `InvalidEmail` for anything else than an address. `allow_test_domain` lets the reserved domain .test through.
    """
    if len(email) > MAX_EMAIL_LENGTH:
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


def email_key(email: str) -> str | None:
    """Return an address's key like `check_email`, or None where there can be no account with it."""
    try:
        return check_email(email, allow_test_domain=True)
    except InvalidEmail:
        return None


def find_by_email(db: Session, email: str, *, lock: bool = False) -> User | None:
    """Return the account with this e-mail address, however it is capitalised; `lock` it for whoever changes it."""
    key = email_key(email)
    found = sa.select(User).where(User.email_key == key)
    return None if key is None else db.scalar(found.with_for_update() if lock else found)


def device_token(user: User) -> str:
    """Return what shows that a browser has signed in to this account before. A new password makes it worthless.

    It opens nothing: it only counts the browser's guesses apart from everybody else's.
    """
    tag = hmac.digest(user.password_hash.encode(), b"device" + user.id.bytes, hashlib.sha256)
    return base64.urlsafe_b64encode(tag).rstrip(b"=").decode()


def is_device_of(user: User, token: str | None) -> bool:
    """Tell whether this is the account's device token."""
    return token is not None and hmac.compare_digest(token.encode(), device_token(user).encode())
