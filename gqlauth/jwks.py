"""The keys that a sibling service verifies with: given to it, or fetched as a JSON Web Key Set (RFC 7517) and kept."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, cast

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gqlauth.clock import Clock
from gqlauth.fetch import check_url, fetch
from gqlauth.reasons import Reason
from gqlauth.tokens import Algorithm, PublicKey, UnknownKey, fits, shared_secret, thumbprint

logger = logging.getLogger("gqlauth")

MAX_SET_BYTES = 100_000
# A token that names an unknown key makes us look for it, but whoever sends such tokens must not make us look all the
# time. The same pause follows a look that failed.
PAUSE_SECONDS = 5
# While the set cannot be fetched, the one that we have goes on for this long: a key that was taken away for a reason
# must not count for ever because somebody keeps us from its issuer.
MAX_AGE_SECONDS = 86_400

# RFC 7518 section 6 and RFC 8037: the members of a public key, by the algorithm that the key is for.
MEMBERS: dict[str, tuple[str, ...]] = {
    "ES256": ("kty", "crv", "x", "y"),
    "EdDSA": ("kty", "crv", "x"),
    "RS256": ("kty", "n", "e"),
}
# RFC 7518 section 3.2.
MIN_SECRET_BYTES = 32


class KeysUnavailable(Exception):
    """The keys could not be fetched, so that nothing is known about the token. Answer with 503, not with 401."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key or a shared secret, and the one algorithm that it is for."""

    key: PublicKey | bytes
    algorithm: Algorithm


Keys = Mapping[str | None, VerifyingKey]


class Source(Protocol):
    """Where a verifier has its keys from."""

    def refresh(self, kid: str | None) -> Future[None] | None:
        """Have the keys fetched if it is time to; return what to wait for before `key` is asked for this one."""

    def key(self, kid: str | None) -> VerifyingKey:
        """Return the key of this name. Raise `UnknownKey`, or `KeysUnavailable` if that cannot be known now."""


class Given:
    """Keys that never change."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def refresh(self, kid: str | None) -> None:
        """There is nowhere to look."""

    def key(self, kid: str | None) -> VerifyingKey:
        """Return the key of this name. Raise `UnknownKey`."""
        if kid not in self._keys:
            raise UnknownKey(Reason.TOKEN_INVALID)
        return self._keys[kid]


class Published:
    """The key set at a URL, kept for `seconds`; safe to use from many threads. A fetch takes `timeout` seconds at most.

    It is fetched anew when it is older, or when a token names a key that it lacks, in both cases not sooner than
    `PAUSE_SECONDS` after the last time. Nobody waits for it whose key is there.
    """

    def __init__(
        self, url: str, algorithms: tuple[Algorithm, ...], *, seconds: float, timeout: float, clock: Clock
    ) -> None:
        check_url(url)
        self._url = url
        self._algorithms = algorithms
        self._seconds = seconds
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._fetching: Future[None] | None = None
        self._keys: Keys = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None

    def refresh(self, kid: str | None) -> Future[None] | None:
        """Have the set fetched if it is time to; return what to wait for if the key cannot be told without it."""
        is_here = kid in self._keys and self._is_younger(self._fetched_at, MAX_AGE_SECONDS)
        if is_here and self._is_younger(self._fetched_at, self._seconds):
            return None
        with self._lock:
            if self._fetching is None and not self._is_younger(self._tried_at, PAUSE_SECONDS):
                done: Future[None] = Future()
                # Not by the one that asks: whoever waits shares it, and waiting on an event loop takes no thread.
                threading.Thread(target=self._fetch, args=(done,), daemon=True).start()
                self._fetching = done
            return None if is_here else self._fetching

    def key(self, kid: str | None) -> VerifyingKey:
        """Return the key of this name. Raise `UnknownKey`, or `KeysUnavailable` if the last look failed."""
        if kid in self._keys and self._is_younger(self._fetched_at, MAX_AGE_SECONDS):
            return self._keys[kid]
        if self._tried_at == self._fetched_at:
            raise UnknownKey(Reason.TOKEN_INVALID)
        raise KeysUnavailable(f"the keys could not be fetched from {self._url}: the log says why")

    def _fetch(self, done: Future[None]) -> None:
        keys: Keys | None = None
        try:
            keys = self._read()
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            logger.warning("the keys could not be fetched from %s: %s", self._url, error)
        finally:
            with self._lock:
                self._fetching, self._tried_at = None, self._clock().timestamp()
                if keys is not None:
                    self._keys, self._fetched_at = keys, self._tried_at
            done.set_result(None)

    def _read(self) -> Keys:
        body = fetch(self._url, seconds=self._timeout, most_bytes=MAX_SET_BYTES)
        return read_set(json.loads(body), self._algorithms)

    def _is_younger(self, time: float | None, seconds: float) -> bool:
        """Tell whether less than `seconds` have passed. A clock that was set back makes nothing younger."""
        return time is not None and 0 <= self._clock().timestamp() - time < seconds


def read_key(key: Mapping[str, Any] | str | bytes, algorithms: tuple[Algorithm, ...]) -> Keys:
    """Return the keys of a key set, a public key in PEM, or a secret where the algorithm is HS256.

    Raise `ValueError` for what is none of these, or not of the algorithms.
    """
    if isinstance(key, Mapping):
        return read_set(key, algorithms)
    raw = key.encode() if isinstance(key, str) else key
    if algorithms == ("HS256",):
        return _read_secret(raw)
    public = load_pem_public_key(raw)
    for algorithm in algorithms:
        if fits(public, algorithm):
            return {thumbprint(cast("PublicKey", public)): VerifyingKey(cast("PublicKey", public), algorithm)}
    raise ValueError(f"the key is not one of {', '.join(algorithms)}")


def read_set(document: object, algorithms: tuple[Algorithm, ...]) -> Keys:
    """Return the keys of a set that sign with one of the algorithms; others are passed over (RFC 7517 section 5).

    Raise `ValueError` if none is left.
    """
    members = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(members, list):
        raise ValueError("this is not a JSON Web Key Set")
    keys: dict[str | None, VerifyingKey] = {}
    for member in members:
        keys.update(_read_member(member, algorithms))
    if not keys:
        raise ValueError(f"the key set has no key of {', '.join(algorithms)}")
    return keys


def _read_member(member: object, algorithms: tuple[Algorithm, ...]) -> Keys:
    """Return the key by its `kid`, or nothing: what it says of itself must agree (RFC 7517 section 4)."""
    if not isinstance(member, dict) or not isinstance(member.get("kid"), str):
        return {}
    operations = member.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return {}
    for algorithm in algorithms:
        if member.get("alg", algorithm) == algorithm:
            public = _read_public(member, algorithm)
            if fits(public, algorithm):
                return {member["kid"]: VerifyingKey(cast("PublicKey", public), algorithm)}
    return {}


def _read_public(member: dict[str, Any], algorithm: Algorithm) -> object:
    """Return the public key of a JWK, or None. Private members are not looked at: nobody should have sent them."""
    names = MEMBERS.get(algorithm, ())
    if not all(isinstance(member.get(name), str) for name in names):
        return None
    try:
        return jwt.PyJWK({name: member[name] for name in names}, algorithm).key
    except (jwt.PyJWTError, ValueError):
        return None


def _read_secret(raw: bytes) -> Keys:
    if len(raw) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret is shorter than {MIN_SECRET_BYTES} bytes (RFC 7518 section 3.2)")
    try:
        verifying = shared_secret(raw).verifying
    except jwt.InvalidKeyError:
        raise ValueError("this is no secret but a public key") from None
    return {kid: VerifyingKey(secret, "HS256") for kid, secret in verifying.items()}
