"""Limits on guessing: how often a secret may be tried, counted for each attempt wherever it comes from.

An attempt is reserved before the secret is looked at. Counting failures afterwards would let parallel guesses pass
together (keycloak CVE-2024-4629). A secret that turns out to be right gives its own place back, and no other: a success
must not clear what an attacker has used up (django-allauth 65.8.1).

Clients can invent most of what is counted, such as email addresses. So something that they cannot invent, their
network, is always counted first, and a limit that has no room for more keys counts the newcomers together.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gqlauth.clock import Clock
from gqlauth.errors import AuthError, AuthErrorCode, ConfigurationError

T = TypeVar("T")

logger = logging.getLogger("gqlauth")

# Of each limit. A key takes some 300 bytes.
MAX_KEYS = 50_000
# Where the keys that there is no room for are counted together.
SHARED_KEYS = 1_024
# How many expired keys one attempt removes at most. It adds only one, so they never pile up.
EVICTIONS = 2
REDIS_TIMEOUT_SECONDS = 0.25
REDIS_RETRY_SECONDS = 5


class RateLimited(AuthError):
    """Too many attempts; `retry_after` seconds from now one more is looked at."""

    code = AuthErrorCode.RATE_LIMITED
    message = "Too many attempts. Try again later."

    def __init__(self, retry_after: float) -> None:
        super().__init__()
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts in so many seconds, for each window. The short one stops a burst, the long one slows it down."""

    name: str
    windows: tuple[tuple[int, int], ...]

    @property
    def most(self) -> int:
        """How many attempts have to be remembered."""
        return max(amount for amount, _ in self.windows)

    @property
    def seconds(self) -> int:
        """How long they have to be remembered."""
        return max(seconds for _, seconds in self.windows)


# Everybody together, on one account, from addresses and devices that have never signed in to it.
ACCOUNT = Limit("account", ((30, 300), (100, 3600)))
# One address or device that has signed in to the account before: its owner, while others are hammering. Fewer than all
# of them together, so that nobody who shares the owner's address can use up what the owner's device has.
KNOWN = Limit("known", ((30, 300), (60, 3600)))
# All of these together: whoever had the password before may know many of them.
ALL_KNOWN = Limit("all known", ((100, 3600),))
# One address, on accounts that it has never signed in to.
ADDRESS = Limit("address", ((60, 60), (600, 3600)))
# The password once more, in one session and from one address. Counted for each account, or for each session alone, a
# stolen access token would lock the owner out.
OWNER = Limit("owner", ((10, 300), (30, 3600)))
# The same from all addresses together.
OWNER_SESSION = Limit("owner session", ((100, 3600),))
SIGNUP = Limit("signup", ((60, 60), (300, 3600)))
# Refresh tokens that were really issued.
REFRESH = Limit("refresh", ((120, 60),))
# Those that were not: of one address.
MADE_UP = Limit("made up", ((60, 60), (600, 3600)))
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


@dataclass(frozen=True, slots=True)
class Place:
    """One attempt that was counted: where, under which key and with which time."""

    windows: Windows
    limit: Limit
    key: str
    at: float


class Windows(Protocol):
    """Where attempts are counted."""

    def reserve(self, limit: Limit, key: str) -> Place:
        """Count one attempt. Raise `RateLimited` if a window is full."""

    def release(self, place: Place) -> None:
        """Count this attempt no more."""


class Limiter:
    """Counts attempts in sliding windows: in memory for one process, in Redis for several.

    `deployment` tells servers apart that share one Redis. Where Redis does not answer, memory counts instead, and the
    log says so: nobody is kept out, and every process still limits on its own.
    """

    def __init__(self, *, enabled: bool, redis_url: str | None, deployment: str, clock: Clock) -> None:
        self._local: Windows = MemoryWindows(clock) if enabled else NoWindows()
        self._shared = RedisWindows(redis_url, deployment) if enabled and redis_url else None
        self._shared_away_until = 0.0

    def reserve(self, limit: Limit, *key: str) -> Place:
        """Count one attempt and return its place. Raise `RateLimited` if a window is full; it is not counted then.

        Reserve what clients can invent, such as an email address, only after their network.
        """
        digest = _digest(*key)
        return self._ask(lambda windows: windows.reserve(limit, digest), otherwise=self._local)

    def release(self, *places: Place) -> None:
        """Give places back, because the secret was right. What others have counted stays (django-allauth 65.8.1)."""
        for place in places:
            self._release(place)

    def eviction_policy(self) -> str | None:
        """Return what Redis does when its memory is full, or None where none counts.

        Raises `ConfigurationError` if it does not answer.
        """
        return self._shared.eviction_policy() if self._shared else None

    def _release(self, place: Place) -> None:
        if place.windows is self._shared:
            self._ask(lambda windows: windows.release(place), otherwise=NoWindows())
        else:
            place.windows.release(place)

    def _ask(self, question: Callable[[Windows], T], *, otherwise: Windows) -> T:
        if self._shared is not None and time.monotonic() >= self._shared_away_until:
            try:
                return question(self._shared)
            except self._shared.errors as error:
                self._shared_away_until = time.monotonic() + REDIS_RETRY_SECONDS
                logger.warning("redis does not answer; this process limits on its own: %s", error)
        return question(otherwise)


class NoWindows:
    """Counts nothing."""

    def reserve(self, limit: Limit, key: str) -> Place:
        """Count nothing."""
        return Place(self, limit, key, 0)

    def release(self, place: Place) -> None:
        """Count nothing."""


class MemoryWindows:
    """Counts in this process. Each limit has a store of its own, so that a flood of one never costs another a key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stores: dict[Limit, Store] = {}
        self._lock = threading.Lock()

    def reserve(self, limit: Limit, key: str) -> Place:
        """Count one attempt. Raise `RateLimited` if a window is full."""
        now = self._clock().timestamp()
        with self._lock:
            store = self._stores.setdefault(limit, Store(limit))
            return Place(self, limit, store.reserve(key, now), now)

    def release(self, place: Place) -> None:
        """Count this attempt no more."""
        with self._lock:
            self._stores[place.limit].release(place.key, place.at)


class Store:
    """The times of the last attempts for each key of one limit.

    A full store never drops a key that still counts: that would give whoever floods it new guesses. Keys that it has no
    room for share a few others, which are as strict, so that a flood keeps strangers out and lets no guess in.
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        # In the order of their last attempt, which is the order in which they expire.
        self._times: OrderedDict[str, array[float]] = OrderedDict()
        self._shared: OrderedDict[str, array[float]] = OrderedDict()

    def reserve(self, key: str, now: float) -> str:
        """Count one attempt and return the key that it is counted under. Raise `RateLimited` if a window is full."""
        self._evict(self._times, now)
        self._evict(self._shared, now)
        counted_as, keys = self._place(key, now)
        times = keys.setdefault(counted_as, array("d"))
        for amount, seconds in self._limit.windows:
            if len(times) >= amount and times[-amount] > now - seconds:
                raise RateLimited(times[-amount] + seconds - now)
        times.append(now)
        del times[: -self._limit.most]
        keys.move_to_end(counted_as)
        return counted_as

    def release(self, key: str, at: float) -> None:
        """Count this attempt no more."""
        keys = self._shared if key in self._shared else self._times
        times = keys.get(key)
        if times is not None and at in times:
            times.remove(at)
            if not times:
                del keys[key]

    def _place(self, key: str, now: float) -> tuple[str, OrderedDict[str, array[float]]]:
        """Return the key to count under: an own one where there is room, and none was shared while there was not."""
        # Python's hash is secret for each process: nobody can choose the keys that share one with somebody else's.
        shared = f"shared {hash(key) % SHARED_KEYS}"
        is_shared = shared in self._shared and not self._has_expired(self._shared[shared], now)
        if key in self._times or (len(self._times) < MAX_KEYS and not is_shared):
            return key, self._times
        return shared, self._shared

    def _evict(self, keys: OrderedDict[str, array[float]], now: float) -> None:
        for _ in range(EVICTIONS):
            first = next(iter(keys.values()), None)
            if first is None or not self._has_expired(first, now):
                return
            keys.popitem(last=False)

    def _has_expired(self, times: array[float], now: float) -> bool:
        return times[-1] <= now - self._limit.seconds


# A list of the last attempts' times, newest first, by Redis' own clock. Checked and written in one step. Answers with
# the seconds to wait, or with 0 and the attempt's time.
RESERVE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local longest, slowest = 0, 0
for i = 1, #ARGV, 2 do
    local amount, seconds = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    local oldest = redis.call('LINDEX', KEYS[1], amount - 1)
    if oldest and tonumber(oldest) > now - seconds then
        return {tostring(tonumber(oldest) + seconds - now), '0'}
    end
    longest, slowest = math.max(longest, amount), math.max(slowest, seconds)
end
local at = string.format('%.6f', now)
redis.call('LPUSH', KEYS[1], at)
redis.call('LTRIM', KEYS[1], 0, longest - 1)
redis.call('EXPIRE', KEYS[1], slowest)
return {'0', at}
"""


class RedisWindows:
    """Counts for all processes together. Raises what is in `errors` where Redis does not answer.

    Keys expire by themselves. Redis must not drop others when its memory is full (`maxmemory-policy noeviction`): then
    it refuses to count, and memory counts instead. `gqlauth doctor` looks at that.
    """

    def __init__(self, url: str, deployment: str) -> None:
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
        self._prefix = f"gqlauth:{_digest(deployment)[:16]}"
        self._script = self._redis.register_script(RESERVE)
        self.errors = (redis.RedisError, OSError)

    def reserve(self, limit: Limit, key: str) -> Place:
        """Count one attempt. Raise `RateLimited` if a window is full."""
        counted_as = f"{self._prefix}:{limit.name}:{key}"
        arguments = [number for window in limit.windows for number in window]
        wait, at = map(float, self._script(keys=[counted_as], args=arguments))
        if wait:
            raise RateLimited(wait)
        return Place(self, limit, counted_as, at)

    def release(self, place: Place) -> None:
        """Count this attempt no more."""
        self._redis.lrem(place.key, 1, f"{place.at:.6f}")

    def eviction_policy(self) -> str:
        """Return Redis' `maxmemory-policy`. Raises `ConfigurationError` if Redis does not answer."""
        try:
            # Hosted ones refuse CONFIG GET.
            return str(self._redis.info("memory")["maxmemory_policy"])
        except self.errors as error:
            raise ConfigurationError(f"it does not answer: {error}") from None


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


def _digest(*parts: str) -> str:
    """Return the key to count under. It is a hash: Redis need not know anybody's address."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]
