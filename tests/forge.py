"""Makes tokens: genuine ones, and every kind of forgery, with any header and any payload."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, get_args
from uuid import UUID

import jwt
import pytest

from gqlauth import tokens
from gqlauth.errors import Reason
from gqlauth.settings import Algorithm
from gqlauth.tokens import AccessTokens, InvalidToken, KeyRing
from tests.support import Clock

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
ISSUER, AUDIENCE, SECONDS = "https://auth.example.com", "example", 900
USER_ID, SESSION_ID = UUID(int=1), UUID(int=2)
SECRET = "of-the-tests-alone-0123456789-abcdefgh"
SIGNERS = jwt.PyJWS()


@dataclass(frozen=True)
class Mint:
    """An issuer of tokens, and how to forge its tokens."""

    algorithm: Algorithm
    tokens: AccessTokens
    clock: Clock

    @property
    def ring(self) -> KeyRing:
        assert self.tokens.keys is not None
        return self.tokens.keys

    @property
    def header(self) -> dict[str, Any]:
        kid = {"kid": self.ring.signing_kid} if self.ring.signing_kid else {}
        return {"alg": self.algorithm, "typ": "at+jwt", **kid}

    @property
    def claims(self) -> dict[str, Any]:
        now = int(self.clock().timestamp())
        return {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(USER_ID),
            "sid": str(SESSION_ID),
            "jti": "a-token",
            "iat": now,
            "exp": now + SECONDS,
        }

    def issue(self) -> str:
        return self.tokens.issue(USER_ID, SESSION_ID, until=self.clock().replace(year=2030))[0]

    def sign(self, header: Any, payload: Any) -> str:
        """Sign anything with the mint's own key: only the checks behind the signature can refuse it."""
        return sign(header, payload, self.algorithm, self.ring.signing_key)

    def with_header(self, **changes: Any) -> str:
        return self.sign(_changed(self.header, changes), self.claims)

    def with_claims(self, **changes: Any) -> str:
        return self.sign(self.header, _changed(self.claims, changes))


class Without(Enum):
    """Leave this member out."""

    WITHOUT = "without"


WITHOUT = Without.WITHOUT


def sign(header: Any, payload: Any, algorithm: str, key: Any) -> str:
    message = f"{encode(_json(header))}.{encode(_json(payload))}"
    signer = SIGNERS.get_algorithm_by_name(algorithm)
    return f"{message}.{encode(signer.sign(message.encode(), signer.prepare_key(key)))}"


def hash_with(secret: bytes, header: Any, payload: Any) -> str:
    """Sign by HS256 with anything as the secret, also with what no library takes for one: a public key."""
    message = f"{encode(_json(header))}.{encode(_json(payload))}"
    return f"{message}.{encode(SIGNERS.get_algorithm_by_name('HS256').sign(message.encode(), secret))}"


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def mint(algorithm: Algorithm, ring: KeyRing | None = None) -> Mint:
    clock = Clock()
    issuer = AccessTokens(algorithm=algorithm, issuer=ISSUER, audience=AUDIENCE, seconds=SECONDS, clock=clock)
    issuer.use(ring or _ring(algorithm))
    return Mint(algorithm, issuer, clock)


@cache
def _ring(algorithm: Algorithm) -> KeyRing:
    if algorithm == "HS256":
        return tokens.shared_secret(SECRET)
    return tokens.key_ring(tokens.generate_key(algorithm), [])


def _changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not WITHOUT}


def _json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def reason(issuer: Mint, token: str) -> Reason:
    """Return why the token is refused; nothing about it may be remembered."""
    with pytest.raises(InvalidToken) as refused:
        issuer.tokens.verify(token)
    assert token not in issuer.tokens._verified
    return refused.value.reason


def assert_invalid(issuer: Mint, token: str) -> None:
    """Check that the token is refused as none of ours."""
    assert reason(issuer, token) is Reason.TOKEN_INVALID
