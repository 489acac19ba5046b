"""Limits on guessing: how often a secret may be tried, counted for each attempt wherever it comes from.

An attempt is reserved before the secret is looked at. Counting failures afterwards would let parallel guesses pass
together (keycloak CVE-2024-4629).
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gqlauth.clock import Clock
from gqlauth.errors import AuthError, AuthErrorCode, ConfigurationError

T = TypeVar("T")

logger = logging.getLogger("gqlauth")

MAX_KEYS = 50_000
REDIS_TIMEOUT_SECONDS = 0.25
REDIS_RETRY_SECONDS = 5


class RateLimited(AuthError):
    """Too many attempts; `retry_after` seconds from now one more is looked at."""

    code = AuthErrorCode.RATE_LIMITED
    message = "Too many attempts. Try again later."

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts in so many seconds, for each window. The short one stops a burst, the long one slows it down."""

    name: str
    windows: tuple[tuple[int, int], ...]


# Everybody together, on one account, from addresses and devices that have never signed in to it.
ACCOUNT = Limit("account", ((30, 300), (100, 3600)))
# One address or device that has signed in to the account before: its owner, while others are hammering.
KNOWN = Limit("known", ((30, 300), (100, 3600)))
# One address, on accounts that it has never signed in to.
ADDRESS = Limit("address", ((60, 60), (600, 3600)))
# The password of somebody who is signed in, once more.
OWNER = Limit("owner", ((10, 300), (30, 3600)))
SIGNUP = Limit("signup", ((60, 60), (300, 3600)))
REFRESH = Limit("refresh", ((120, 60),))
# How many secrets one request may try, whatever its aliases are called.
ATTEMPTS_PER_REQUEST = 5


class Attempts:
    """Counts what one request tries: a hundred aliases are a hundred attempts (OWASP: batching attacks)."""

    def __init__(self) -> None:
        self._left = ATTEMPTS_PER_REQUEST
        self._lock = threading.Lock()

    def reserve(self) -> None:
        """Count one attempt. Raise `RateLimited` if the request has had all of its own."""
        with self._lock:
            if self._left == 0:
                raise RateLimited(1)
            self._left -= 1


class Windows(Protocol):
    """Where attempts are counted."""

    def reserve(self, key: str, windows: tuple[tuple[int, int], ...]) -> float:
        """Count one attempt and return 0, or return the seconds to wait if a window is full."""

    def forget(self, key: str) -> None:
        """Start anew."""


class Limiter:
    """Counts attempts in sliding windows: in memory for one process, in Redis for several.

    Where Redis does not answer, memory counts instead, and the log says so: nobody is kept out, and every process still
    limits on its own.
    """

    def __init__(self, *, enabled: bool, redis_url: str | None, clock: Clock) -> None:
        self._enabled = enabled
        self._local = MemoryWindows(clock)
        self._shared = RedisWindows(redis_url) if enabled and redis_url else None
        self._shared_away_until = 0.0

    def reserve(self, limit: Limit, *key: str) -> None:
        """Count one attempt. Raise `RateLimited` if a window is full; it is not counted then."""
        if not self._enabled:
            return
        counted_as = _key(limit, key)
        if wait := self._ask(lambda windows: windows.reserve(counted_as, limit.windows)):
            raise RateLimited(max(1, math.ceil(wait)))

    def forget(self, limit: Limit, *key: str) -> None:
        """Start anew: the secret was right."""
        if not self._enabled:
            return
        counted_as = _key(limit, key)
        # Here too, where attempts may have been counted while Redis was away.
        self._local.forget(counted_as)
        self._ask(lambda windows: windows.forget(counted_as))

    def _ask(self, question: Callable[[Windows], T]) -> T:
        if self._shared is not None and time.monotonic() >= self._shared_away_until:
            try:
                return question(self._shared)
            except self._shared.errors as error:
                self._shared_away_until = time.monotonic() + REDIS_RETRY_SECONDS
                logger.warning("redis does not answer; this process limits on its own: %s", error)
        return question(self._local)


class MemoryWindows:
    """Remembers the times of the last attempts for each key; of keys, the most recent ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def reserve(self, key: str, windows: tuple[tuple[int, int], ...]) -> float:
        """Count one attempt and return 0, or return the seconds to wait if a window is full."""
        now = self._clock().timestamp()
        longest = max(amount for amount, _ in windows)
        with self._lock:
            times = self._times.setdefault(key, deque(maxlen=longest))
            for amount, seconds in windows:
                if len(times) >= amount and times[-amount] > now - seconds:
                    return times[-amount] + seconds - now
            times.append(now)
            self._times.move_to_end(key)
            if len(self._times) > MAX_KEYS:
                self._times.popitem(last=False)
        return 0

    def forget(self, key: str) -> None:
        """Start anew."""
        with self._lock:
            self._times.pop(key, None)


# A list of the last attempts' times, newest first, by Redis' own clock. Checked and written in one step.
RESERVE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local longest, slowest = 0, 0
for i = 1, #ARGV, 2 do
    local amount, seconds = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    local oldest = redis.call('LINDEX', KEYS[1], amount - 1)
    if oldest and tonumber(oldest) > now - seconds then
        return tostring(tonumber(oldest) + seconds - now)
    end
    longest, slowest = math.max(longest, amount), math.max(slowest, seconds)
end
redis.call('LPUSH', KEYS[1], string.format('%.6f', now))
redis.call('LTRIM', KEYS[1], 0, longest - 1)
redis.call('EXPIRE', KEYS[1], slowest)
return '0'
"""


class RedisWindows:
    """The same, for all processes together. Raises what is in `errors` where Redis does not answer."""

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigurationError('GQLAUTH_REDIS_URL needs the extra: pip install "gqlauth[redis]"') from None
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
            )
        except ValueError as error:
            raise ConfigurationError(f"GQLAUTH_REDIS_URL: {error}") from None
        self._script = self._redis.register_script(RESERVE)
        self.errors = (redis.RedisError, OSError)

    def reserve(self, key: str, windows: tuple[tuple[int, int], ...]) -> float:
        """Count one attempt and return 0, or return the seconds to wait if a window is full."""
        return float(self._script(keys=[key], args=[number for window in windows for number in window]))

    def forget(self, key: str) -> None:
        """Start anew."""
        self._redis.delete(key)


def network(address: str | None) -> str:
    """Return what is counted as one address: an IPv4 address, or the /64 that an IPv6 customer has all of."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.IPv6Network((int(parsed), 64), strict=False).network_address)


def _key(limit: Limit, parts: tuple[str, ...]) -> str:
    """Return the key to count under. It is a hash: Redis need not know anybody's address."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return f"gqlauth:{limit.name}:{digest}"
