"""Access tokens: signing, verifying, and the public keys that others verify with.

A token is a JWT per RFC 9068 (`typ: at+jwt`). The algorithm comes from the configuration and the key, never from the
token; `kid` only chooses among our own keys, and no other header leads anywhere (RFC 8725 sections 3.1 and 3.10).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from gqlauth.clock import Clock
from gqlauth.reasons import Reason

Algorithm = Literal["ES256", "EdDSA", "RS256", "HS256"]

TYPE = "at+jwt"
MAX_TOKEN_BYTES = 4096
CACHED_TOKENS = 10_000
# A token made on a machine whose clock runs a little ahead of ours is not from the future.
CLOCK_SKEW_SECONDS = 5

JWS = jwt.PyJWS(options={"enforce_minimum_key_length": True})
COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


NOTHING: frozenset[str] = frozenset()


class InvalidToken(Exception):
    """The access token does not count; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownKey(InvalidToken):
    """The token names a key that we do not have (yet: another process may have rotated)."""


class Payload(msgspec.Struct):
    """The claims that a token must have (RFC 9068 section 2.2), with their exact types: `true` or `1.0` is no time."""

    iss: str
    aud: str | list[str]
    sub: UUID
    sid: UUID
    jti: str
    iat: int
    exp: int
    nbf: int = 0
    roles: tuple[str, ...] = ()
    scope: str = ""
    email_verified: bool = False


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says. Times are in seconds since 1970. `key_id` names the key that signed it."""

    user_id: UUID
    session_id: UUID
    token_id: str
    issued_at: int
    expires_at: int
    roles: frozenset[str] = NOTHING
    scopes: frozenset[str] = NOTHING
    email_verified: bool = False
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name: `kid` is the RFC 7638 thumbprint."""

    kid: str
    private: PrivateKey


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one moment: the one that signs, and all that still verify, by `kid`.

    With HS256 there is one secret and no `kid`.
    """

    signing_kid: str | None
    signing_key: PrivateKey | bytes
    verifying: dict[str | None, PublicKey | bytes]


class AccessTokens:
    """Issues and verifies the access tokens of one issuer and audience, with one algorithm."""

    def __init__(self, *, algorithm: Algorithm, issuer: str, audience: str, seconds: int, clock: Clock) -> None:
        self.algorithm = algorithm
        self.issuer = issuer
        self.audience = audience
        self.seconds = seconds
        self.clock = clock
        self.keys: KeyRing | None = None
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    def use(self, keys: KeyRing) -> None:
        """Sign and verify with these keys from now on."""
        self.keys = keys
        # Tokens of a key that has been taken away must not live on in the cache.
        self._verified = OrderedDict()

    def issue(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        until: datetime,
        roles: Collection[str] = (),
        scopes: Collection[str] = (),
        email_verified: bool = False,
    ) -> tuple[str, int]:
        """Return a token for one session and its life in seconds; it never outlives `until`.

        `roles` and `scopes` are told as RFC 9068 sections 2.2.3.1 and 2.2.3 have it.
        """
        now = int(self.clock().timestamp())
        seconds = max(0, min(self.seconds, int(until.timestamp()) - now))
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "client_id": self.audience,
            "sid": str(session_id),
            "jti": str(uuid4()),
            "iat": now,
            "exp": now + seconds,
            "roles": sorted(roles),
            "email_verified": email_verified,
        }
        if scopes:
            claims["scope"] = " ".join(sorted(scopes))
        keys = self.ring()
        header = {"typ": TYPE} | ({"kid": keys.signing_kid} if keys.signing_kid else {})
        token = jwt.encode(claims, keys.signing_key, algorithm=self.algorithm, headers=header)
        return token, seconds

    def verify(self, token: str) -> Claims:
        """Return what the token says. Raise `InvalidToken` for any other than a current one of ours."""
        verified = self._verified
        claims = verified.get(token)
        if claims is None:
            claims = self._decode(token)
            # Kept in the cache of before the check: if another thread takes the key away meanwhile, it is gone with it.
            _remember(verified, token, claims)
        if self.clock().timestamp() >= claims.expires_at:
            raise InvalidToken(Reason.TOKEN_EXPIRED)
        return claims

    def ring(self) -> KeyRing:
        """Return the keys of this moment. Raise `RuntimeError` before any are loaded."""
        if self.keys is None:
            raise RuntimeError("no keys are loaded: run inside Auth.lifespan")
        return self.keys

    def _decode(self, token: str) -> Claims:
        kid = key_id(token, (self.algorithm,))
        keys = self.ring()
        if kid not in keys.verifying:
            raise UnknownKey(Reason.TOKEN_INVALID)
        with refusing():
            stated = msgspec.json.decode(signed_payload(token, keys.verifying[kid], self.algorithm), type=Payload)
        check_claims(stated, issuer=self.issuer, audience=self.audience, now=self.clock().timestamp())
        return Claims(
            stated.sub,
            stated.sid,
            stated.jti,
            stated.iat,
            stated.exp,
            frozenset(stated.roles) if stated.roles else NOTHING,
            frozenset(stated.scope.split()) if stated.scope else NOTHING,
            stated.email_verified,
            kid,
        )


@contextmanager
def refusing() -> Iterator[None]:
    """Raise `InvalidToken` for whatever reading a token may fail with."""
    try:
        yield
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(Reason.TOKEN_INVALID) from error


def key_id(token: str, algorithms: tuple[Algorithm, ...]) -> str | None:
    """Return the `kid` of a token that says to be an access token by one of the algorithms. Nothing is verified yet.

    RFC 9068 section 4: `typ` must be at+jwt; RFC 7515 section 4.1.11: no unknown `crit`. Otherwise it raises
    `InvalidToken`.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(Reason.TOKEN_INVALID)
    with refusing():
        header = jwt.get_unverified_header(token)
    kind, kid = header.get("typ"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in (TYPE, "application/at+jwt"):
        raise InvalidToken(Reason.TOKEN_INVALID)
    if header.get("alg") not in algorithms or "crit" in header or "b64" in header:
        raise InvalidToken(Reason.TOKEN_INVALID)
    if not isinstance(kid, str | None):
        raise InvalidToken(Reason.TOKEN_INVALID)
    return kid


def check_claims(stated: Payload, *, issuer: str, audience: str, now: float) -> None:
    """Check that it is by `issuer`, for `audience`, and not from the future (RFC 9068 section 4).

    `now` is in seconds since 1970. `exp` is left to the caller, who looks at it again whenever the token comes back.
    """
    audiences = [stated.aud] if isinstance(stated.aud, str) else stated.aud
    latest = now + CLOCK_SKEW_SECONDS
    if stated.iss != issuer or audience not in audiences or stated.iat > latest or stated.nbf > latest:
        raise InvalidToken(Reason.TOKEN_INVALID)


def signed_payload(token: str, key: PublicKey | bytes, algorithm: Algorithm) -> bytes:
    """Return what this key has signed with this algorithm, and no other. Raise `jwt.PyJWTError` if it has not."""
    if not _is_compact(token):
        raise jwt.DecodeError("not the compact form")
    payload: bytes = JWS.decode(token, key, algorithms=[algorithm])
    return payload


def shared_secret(secret: str | bytes) -> KeyRing:
    """Return the key ring of HS256. Raise `jwt.InvalidKeyError` for what is no secret but a public key."""
    key = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    return KeyRing(signing_kid=None, signing_key=key, verifying={None: key})


def key_ring(signing: SigningKey, retired: Iterable[SigningKey]) -> KeyRing:
    """Return the ring of one key that signs and those that only verify."""
    verifying: dict[str | None, PublicKey | bytes] = {key.kid: key.private.public_key() for key in (signing, *retired)}
    return KeyRing(signing.kid, signing.private, verifying)


def generate_key(algorithm: Algorithm) -> SigningKey:
    """Make a new private key for an asymmetric algorithm."""
    private: PrivateKey
    if algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "RS256":
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        raise ValueError(f"{algorithm} has no key pair")
    return SigningKey(thumbprint(private.public_key()), private)


def serialize_key(private: PrivateKey) -> str:
    """Return the key as PKCS #8 PEM, in the clear."""
    unprotected = serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unprotected).decode()


def load_key(kid: str, algorithm: Algorithm, pem: str, passphrase: str | None = None) -> SigningKey:
    """Read what `serialize_key` wrote. The passphrase is for an encrypted PEM, which earlier versions wrote.

    Raises `ValueError` or `TypeError` if it cannot be read, is not named so, or is not of this algorithm.
    """
    private = serialization.load_pem_private_key(pem.encode(), passphrase.encode() if passphrase else None)
    if not isinstance(private, PrivateKey) or thumbprint(private.public_key()) != kid:
        raise ValueError("the key is not the one that it is named")
    if not fits(private.public_key(), algorithm):
        raise ValueError(f"the key is not one of {algorithm}")
    return SigningKey(kid, private)


def fits(key: object, algorithm: Algorithm) -> bool:
    """Tell whether this public key is of the algorithm: one key, one algorithm (RFC 8725 section 3.1)."""
    if algorithm == "ES256":
        return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if algorithm == "EdDSA":
        return isinstance(key, ed25519.Ed25519PublicKey)
    return algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048


def jwk(key: PublicKey) -> dict[str, str]:
    """Return the public key as a JSON Web Key (RFC 7517), without its name and use."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return ECAlgorithm.to_jwk(key, as_dict=True)
    if isinstance(key, rsa.RSAPublicKey):
        full = RSAAlgorithm.to_jwk(key, as_dict=True)
        return {name: full[name] for name in ("kty", "n", "e")}
    return OKPAlgorithm.to_jwk(key, as_dict=True)


def jwks(keys: KeyRing, algorithm: Algorithm) -> dict[str, list[dict[str, str]]]:
    """Return the JSON Web Key Set to publish. A shared secret is never in it."""
    return {
        "keys": [
            {**jwk(key), "kid": kid or "", "alg": algorithm, "use": "sig"}
            for kid, key in keys.verifying.items()
            if not isinstance(key, bytes)
        ]
    }


def thumbprint(key: PublicKey) -> str:
    """Return the RFC 7638 thumbprint: base64url SHA-256 over the required members in order."""
    members = json.dumps(dict(sorted(jwk(key).items())), separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()


def _remember(verified: OrderedDict[str, Claims], token: str, claims: Claims) -> None:
    """Keep a verified token. Only those: a cache of refusals would be the attacker's to fill."""
    verified[token] = claims
    if len(verified) > CACHED_TOKENS:
        verified.popitem(last=False)


def _is_compact(token: str) -> bool:
    """Tell whether this is the one spelling of a compact JWS: three parts, no padding, no stray bits.

    base64 decoders pass over both, and then one signed token would have many spellings.
    """
    if not COMPACT_FORM.fullmatch(token):
        return False
    return all(_reencoded(part) == part for part in token.split("."))


def _reencoded(part: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return ""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
