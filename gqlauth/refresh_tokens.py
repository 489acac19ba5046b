"""Refresh tokens: how they look, how the next one is made, and what is stored of them.

`gqr_<session id>_<32 random bytes and a 16-byte tag, base64url>`. The prefix lets scanners of leaked secrets find it.
The tag, keyed for each session, tells a token that we once issued (its reuse ends the session) from one that somebody
made up around a session id, which is no secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from uuid import UUID

FORM = re.compile(r"gqr_([0-9a-f]{32})_([A-Za-z0-9_-]{64})", re.ASCII)
RANDOM_BYTES = 32
TAG_BYTES = 16
BODY_LENGTH = (RANDOM_BYTES + TAG_BYTES) * 4 // 3


def new_secret() -> bytes:
    """Return 256 random bits, for a session's key or a rotation's salt."""
    return secrets.token_bytes(32)


def new(session_id: UUID, key: bytes) -> str:
    """Return a session's first token, of 256 random bits (ASVS 7.2.3)."""
    return _write(session_id, key, secrets.token_bytes(RANDOM_BYTES))


def successor(token: str, session_id: UUID, key: bytes, salt: bytes) -> str:
    """Return the token that follows, the same each time it is asked for.

    Nobody can make it without the token itself: only its hash is stored. Nor without the salt, which is new at each
    rotation and never leaves the database.
    """
    return _write(session_id, key, hmac.digest(salt, token.encode(), hashlib.sha256))


def read(token: str) -> UUID | None:
    """Return the id of the session that the token names, or None if it does not look like a refresh token."""
    match = FORM.fullmatch(token)
    return UUID(match[1]) if match else None


def is_genuine(token: str, key: bytes) -> bool:
    """Tell whether a token that `read` took was issued under this session's key."""
    raw = base64.urlsafe_b64decode(token[-BODY_LENGTH:])
    return hmac.compare_digest(raw[RANDOM_BYTES:], _tag(key, raw[:RANDOM_BYTES]))


def digest(token: str) -> bytes:
    """Return what is stored of a token. It is random enough for a plain SHA-256 (ASVS 11.5.1)."""
    return hashlib.sha256(token.encode()).digest()


def _write(session_id: UUID, key: bytes, random: bytes) -> str:
    body = base64.urlsafe_b64encode(random + _tag(key, random)).decode()
    return f"gqr_{session_id.hex}_{body}"


def _tag(key: bytes, random: bytes) -> bytes:
    return hmac.digest(key, random, hashlib.sha256)[:TAG_BYTES]
