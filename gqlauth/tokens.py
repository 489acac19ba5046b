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
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gqlauth.clock import Clock
from gqlauth.errors import Reason
from gqlauth.settings import Algorithm

TYPE = "at+jwt"
MAX_TOKEN_BYTES = 4096
CACHED_TOKENS = 10_000
# A token made on a machine whose clock runs a little ahead of ours is not from the future.
CLOCK_SKEW_SECONDS = 5

COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class InvalidToken(Exception):
    """The access token does not count; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownKey(InvalidToken):
    """The token names a key that we do not have (yet: another process may have rotated)."""


class Payload(msgspec.Struct):
    """The claims that a token must have, with their types; PyJWT compares `iss` and `aud`."""

    sub: UUID
    sid: UUID
    jti: str
    iat: int
    exp: int
    nbf: int = 0


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says. Times are in seconds since 1970."""

    user_id: UUID
    session_id: UUID
    token_id: str
    issued_at: int
    expires_at: int


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

    def issue(self, user_id: UUID, session_id: UUID, *, until: datetime) -> tuple[str, int]:
        """Return a token for one session and its life in seconds; it never outlives `until`."""
        now = int(self.clock().timestamp())
        seconds = max(0, min(self.seconds, int(until.timestamp()) - now))
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "client_id": self.audience,
            "sid": str(session_id),
            "jti": str(uuid4()),
            "iat": now,
            "exp": now + seconds,
        }
        keys = self._ring()
        header = {"typ": TYPE} | ({"kid": keys.signing_kid} if keys.signing_kid else {})
        token = jwt.encode(claims, keys.signing_key, algorithm=self.algorithm, headers=header)
        return token, seconds

    def verify(self, token: str) -> Claims:
        """Return what the token says. Raise `InvalidToken` for any other than a current one of ours."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            self._remember(token, claims)
        if self.clock().timestamp() >= claims.expires_at:
            raise InvalidToken(Reason.TOKEN_EXPIRED)
        return claims

    def _ring(self) -> KeyRing:
        if self.keys is None:
            raise RuntimeError("no keys are loaded: run inside Auth.lifespan")
        return self.keys

    def _remember(self, token: str, claims: Claims) -> None:
        """Keep a verified token. Only those: a cache of refusals would be the attacker's to fill."""
        self._verified[token] = claims
        if len(self._verified) > CACHED_TOKENS:
            self._verified.popitem(last=False)

    def _decode(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN_BYTES or not _is_compact(token):
            raise InvalidToken(Reason.TOKEN_INVALID)
        try:
            key = self._key_for(jwt.get_unverified_header(token))
            payload = jwt.decode(
                token,
                key,
                algorithms=[self.algorithm],
                issuer=self.issuer,
                audience=self.audience,
                # The times are looked at by `_claims`, with our own clock.
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken(Reason.TOKEN_INVALID) from error
        return self._claims(payload)

    def _key_for(self, header: dict[str, Any]) -> PublicKey | bytes:
        """Choose the key. RFC 9068 section 4: `typ` must be at+jwt; RFC 7515 section 4.1.11: no unknown `crit`."""
        kind = header.get("typ")
        if not isinstance(kind, str) or kind.lower() not in (TYPE, "application/at+jwt"):
            raise InvalidToken(Reason.TOKEN_INVALID)
        if header.get("alg") != self.algorithm or "crit" in header or "b64" in header:
            raise InvalidToken(Reason.TOKEN_INVALID)
        keys, kid = self._ring(), header.get("kid")
        if not isinstance(kid, str | None) or kid not in keys.verifying:
            raise UnknownKey(Reason.TOKEN_INVALID)
        return keys.verifying[kid]

    def _claims(self, payload: dict[str, Any]) -> Claims:
        """Check the claims that PyJWT does not, or not as strictly (RFC 9068 section 2.2)."""
        now = self.clock().timestamp() + CLOCK_SKEW_SECONDS
        try:
            stated = msgspec.convert(payload, Payload)
        except msgspec.ValidationError as error:
            raise InvalidToken(Reason.TOKEN_INVALID) from error
        if stated.iat > now or stated.nbf > now:
            raise InvalidToken(Reason.TOKEN_INVALID)
        return Claims(stated.sub, stated.sid, stated.jti, stated.iat, stated.exp)


def shared_secret(secret: str) -> KeyRing:
    """Return the key ring of HS256."""
    key = secret.encode()
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


def serialize_key(private: PrivateKey, passphrase: str | None) -> str:
    """Return the key as PKCS #8 PEM, encrypted where a passphrase is given."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def load_key(kid: str, pem: str, passphrase: str | None) -> SigningKey:
    """Read what `serialize_key` wrote. Raise `ValueError` or `TypeError` if it cannot be read or is not named so."""
    encrypted = "BEGIN ENCRYPTED" in pem
    private = serialization.load_pem_private_key(
        pem.encode(), passphrase.encode() if passphrase is not None and encrypted else None
    )
    if not isinstance(private, PrivateKey) or thumbprint(private.public_key()) != kid:
        raise ValueError("the key is not the one that it is named")
    return SigningKey(kid, private)


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
