"""Passwords: what is accepted, how it is hashed, and the threads that hash.

A hash is bcrypt over the base64 SHA-384 of the UTF-8 password, because bcrypt alone reads 72 bytes and stops at NUL.
It is stored as `bcrypt-sha384$2b$12$…`; a bare `$2b$…` (bcrypt without the SHA-384, from another system) still verifies
and is replaced at the next login.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from functools import cache
from importlib import resources

import bcrypt

from gqlauth.errors import AuthError, AuthErrorCode

SCHEME = "bcrypt-sha384"
MAX_LENGTH = 256
# NFKC can shorten a text to a fifth; beyond this a password is refused before any work is done on it.
MAX_RAW_LENGTH = 5 * MAX_LENGTH
# The end of a well-formed hash of no password: checking against it costs what a real check costs.
NO_PASSWORD = "." * 53
HASH = re.compile(rf"({SCHEME})?\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{{53}}", re.ASCII)
BETWEEN_WORDS = re.compile(r"[\W_]+")
SERVICE_WORDS = ("gqlauth", "graphql")


class WeakPassword(AuthError):
    """The password is too short, too long, too common, or made of what everyone knows of the person."""

    code = AuthErrorCode.WEAK_PASSWORD
    message = "Choose another password."
    field = "password"


class Passwords:
    """Hashes and verifies at one cost. A call takes a quarter of a second at cost 12: never on the event loop."""

    def __init__(self, *, cost: int, min_length: int = 8) -> None:
        self.cost = cost
        self.min_length = min_length
        self._dummy = f"{SCHEME}$2b${cost:02}${NO_PASSWORD}"

    def check(self, password: str, *, words: tuple[str, ...] = (), field: str = "password") -> None:
        """Raise `WeakPassword` unless the policy allows this password.

        `words` are the person's own (e-mail address, name). NIST SP 800-63B-4 section 3.1.1.2; ASVS 6.2.1, 6.2.4,
        6.2.5, 6.2.9, 6.2.11: length and known-bad lists, no composition rules.
        """
        normal = _normalise(password) if len(password) <= MAX_RAW_LENGTH else password
        if _has_surrogate(password):
            raise WeakPassword("This is not Unicode text.", field=field)
        if len(normal) < self.min_length:
            raise WeakPassword(f"Use at least {self.min_length} characters.", field=field)
        if len(normal) > MAX_LENGTH:
            raise WeakPassword(f"Use at most {MAX_LENGTH} characters.", field=field)
        if normal.casefold() in common_passwords():
            raise WeakPassword("This password is one of the most common ones.", field=field)
        if _made_of(normal.casefold(), words):
            raise WeakPassword("Do not build the password from your name or e-mail address.", field=field)

    def hash(self, password: str) -> str:
        """Return the hash to store."""
        digest = bcrypt.hashpw(_prehash(_normalise(password)), bcrypt.gensalt(self.cost))
        return SCHEME + digest.decode()

    def verify(self, password: str, stored: str | None) -> bool:
        """Tell whether the password matches. No hash (no such user), or none that we can read, takes as long.

        The whole password counts, as it was given (ASVS 6.2.8).
        """
        plausible = len(password) <= MAX_RAW_LENGTH and not _has_surrogate(password)
        text = password if plausible else ""
        known = stored is not None and HASH.fullmatch(stored) is not None
        scheme, dollar, rest = (stored if stored and known else self._dummy).partition("$")
        # Another system hashed the text as it was typed, and normalised nothing.
        secret = _prehash(_normalise(text)) if scheme == SCHEME else text.encode()
        if len(secret) > 72:
            # Only a bare bcrypt hash gets here. What made it ignored the bytes past 72; we will not.
            plausible, secret = False, b""
        matches = bcrypt.checkpw(secret, (dollar + rest).encode())
        if not matches:
            self._even_out(rest)
        return matches and plausible and known

    def _even_out(self, rest: str) -> None:
        """Let the refusal of a hash of a lower cost take as long as the dummy's, or its time tells that it exists.

        2^c + 2^c + 2^(c+1) + … + 2^(cost-1) = 2^cost.
        """
        for cost in range(int(rest.split("$")[1]), self.cost):
            bcrypt.checkpw(b"", f"$2b${cost:02}${NO_PASSWORD}".encode())

    def needs_rehash(self, stored: str) -> bool:
        """Tell whether the hash was made by another scheme or at another cost than today's."""
        return not stored.startswith(f"{SCHEME}$2b${self.cost:02}$")


@cache
def common_passwords() -> frozenset[str]:
    """Return the common passwords of eight characters and more, casefolded."""
    text = resources.files("gqlauth").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def _normalise(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _has_surrogate(password: str) -> bool:
    """Tell whether this is half a character, which JSON can spell and UTF-8 cannot."""
    return any("\ud800" <= character <= "\udfff" for character in password)


def _prehash(password: str) -> bytes:
    return base64.b64encode(hashlib.sha384(password.encode()).digest())


def _made_of(password: str, words: tuple[str, ...]) -> bool:
    """Tell whether little is left of the password without the person's words, and no letter."""
    parts = {part for word in words for part in BETWEEN_WORDS.split(_normalise(word).casefold()) if len(part) >= 3}
    rest = password
    for part in sorted({*parts, *SERVICE_WORDS}, key=len, reverse=True):
        rest = rest.replace(part, "")
    return rest != password and not any(character.isalpha() for character in rest)
