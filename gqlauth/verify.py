"""What a sibling service needs to believe our access tokens: the public keys, and the checks of RFC 9068 section 4.

It stands on `tokens.py` alone, so that importing it brings in neither the server nor the database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_args
from uuid import UUID

import msgspec

from gqlauth import jwks
from gqlauth.clock import Clock, utc_now
from gqlauth.reasons import Reason
from gqlauth.tokens import Algorithm, InvalidToken, Payload, check_claims, key_id, refusing, signed_payload

DEFAULT_ALGORITHMS: tuple[Algorithm, ...] = ("ES256",)


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a verified access token says. Times are in seconds since 1970; `claims` is all that it says, as it says it.

    Roles, scopes and `email_verified` are those of the moment at which it was issued.
    """

    user_id: UUID
    session_id: UUID
    token_id: str
    roles: frozenset[str]
    scopes: frozenset[str]
    email_verified: bool
    issued_at: int
    expires_at: int
    claims: Mapping[str, Any] = field(repr=False, hash=False)


class TokenVerifier:
    """Verifies the access tokens of one issuer for one audience. Make one and keep it: it keeps the keys.

    The keys come from `jwks_url`, or are given as `key`: a JSON Web Key Set, a public key in PEM, or with
    `algorithms=["HS256"]` the shared secret. What they sign with is `algorithms`, never what a token says.
    A fetched set is kept for `jwks_seconds`. A fetch that takes longer than `timeout` seconds in all has failed.
    Raises `ValueError` for arguments that could not verify safely. May be used from many threads and event loops.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_url: str | None = None,
        key: Mapping[str, Any] | str | bytes | None = None,
        algorithms: Iterable[Algorithm] = DEFAULT_ALGORITHMS,
        jwks_seconds: float = 300,
        timeout: float = 5,
        clock: Clock = utc_now,
    ) -> None:
        self._algorithms = _checked(algorithms, is_text=isinstance(key, str | bytes))
        if not issuer or not audience:
            raise ValueError("say whose tokens count (issuer), and which service they are for (audience)")
        self._issuer, self._audience, self._clock = issuer, audience, clock
        self._source: jwks.Source
        if jwks_url is not None and key is None:
            self._source = jwks.Published(
                jwks_url, self._algorithms, seconds=jwks_seconds, timeout=timeout, clock=clock
            )
        elif key is not None and jwks_url is None:
            self._source = jwks.Given(jwks.read_key(key, self._algorithms))
        else:
            raise ValueError("give either jwks_url or key")

    def verify(self, token: str) -> VerifiedToken:
        """Return what the token says. Blocks while keys are fetched, which is seldom.

        Raise `InvalidToken` with its reason, `TOKEN_EXPIRED` or `TOKEN_INVALID`, or `KeysUnavailable`.
        """
        kid = key_id(token, self._algorithms)
        if fetching := self._source.refresh(kid):
            fetching.result()
        return self._verify(token, kid)

    async def verify_async(self, token: str) -> VerifiedToken:
        """Do the same without blocking the event loop while keys are fetched."""
        kid = key_id(token, self._algorithms)
        if fetching := self._source.refresh(kid):
            # Shielded: others wait for the same.
            await asyncio.shield(asyncio.wrap_future(fetching))
        return self._verify(token, kid)

    def _verify(self, token: str, kid: str | None) -> VerifiedToken:
        found = self._source.key(kid)
        with refusing():
            signed = signed_payload(token, found.key, found.algorithm)
            stated = msgspec.json.decode(signed, type=Payload)
            claims = json.loads(signed)
        now = self._clock().timestamp()
        check_claims(stated, issuer=self._issuer, audience=self._audience, now=now)
        if now >= stated.exp:
            raise InvalidToken(Reason.TOKEN_EXPIRED)
        return _verified(stated, claims)


def verify_token(
    token: str,
    *,
    issuer: str,
    audience: str,
    jwks_url: str | None = None,
    key: Mapping[str, Any] | str | bytes | None = None,
    algorithms: Iterable[Algorithm] = DEFAULT_ALGORITHMS,
) -> VerifiedToken:
    """Verify one token: `TokenVerifier(…).verify(token)`. The keys of a `jwks_url` are kept between calls all the same.

    Raise `InvalidToken`, `KeysUnavailable`, or `ValueError` for arguments that could not verify safely.
    """
    if jwks_url is not None and key is None:
        return _kept(jwks_url, issuer, audience, tuple(algorithms)).verify(token)
    verifier = TokenVerifier(issuer=issuer, audience=audience, jwks_url=jwks_url, key=key, algorithms=algorithms)
    return verifier.verify(token)


@lru_cache(maxsize=16)
def _kept(jwks_url: str, issuer: str, audience: str, algorithms: tuple[Algorithm, ...]) -> TokenVerifier:
    return TokenVerifier(jwks_url=jwks_url, issuer=issuer, audience=audience, algorithms=algorithms)


def _checked(algorithms: Iterable[Algorithm], *, is_text: bool) -> tuple[Algorithm, ...]:
    """Refuse what would let a public key be taken for a secret (RFC 8725 sections 2.1 and 3.1)."""
    checked = tuple(algorithms)
    if not checked or not set(checked) <= set(get_args(Algorithm)):
        raise ValueError(f"algorithms are some of {', '.join(get_args(Algorithm))}")
    if "HS256" in checked and (len(checked) > 1 or not is_text):
        raise ValueError("HS256 stands alone, and needs the secret as its key")
    return checked


def _verified(stated: Payload, claims: dict[str, Any]) -> VerifiedToken:
    return VerifiedToken(
        user_id=stated.sub,
        session_id=stated.sid,
        token_id=stated.jti,
        roles=frozenset(stated.roles),
        scopes=frozenset(stated.scope.split()),
        email_verified=stated.email_verified,
        issued_at=stated.iat,
        expires_at=stated.exp,
        claims=claims,
    )
