"""What every service stands on: one value, made once for each process."""

from __future__ import annotations

from dataclasses import dataclass, field

from gqlauth.clock import Clock, utc_now
from gqlauth.database import Database
from gqlauth.events import Events
from gqlauth.logs import log_event
from gqlauth.passwords import Passwords
from gqlauth.ratelimit import Attempts, Limiter
from gqlauth.settings import Settings
from gqlauth.tokens import AccessTokens


@dataclass(frozen=True, slots=True)
class Runtime:
    """Settings, clock, database, tokens, passwords, limits and events. The first argument of every service."""

    settings: Settings
    clock: Clock
    events: Events
    database: Database
    tokens: AccessTokens
    passwords: Passwords
    limiter: Limiter


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as far as it can be known, and how many secrets it may still try.

    `device` is what an earlier sign-in left with the browser.
    """

    ip_address: str | None = None
    user_agent: str | None = None
    device: str | None = None
    attempts: Attempts = field(default_factory=Attempts)


def create_runtime(settings: Settings, clock: Clock = utc_now) -> Runtime:
    """Compose a runtime. Nothing is connected or read yet."""
    events = Events(log_event)
    return Runtime(
        settings=settings,
        clock=clock,
        events=events,
        database=Database(settings.url, events),
        tokens=AccessTokens(
            algorithm=settings.algorithm,
            issuer=settings.token_issuer,
            audience=settings.audience,
            seconds=settings.access_token_seconds,
            clock=clock,
        ),
        passwords=Passwords(cost=settings.bcrypt_cost, min_length=settings.password_min_length),
        limiter=Limiter(enabled=settings.rate_limits, redis_url=settings.redis_url, clock=clock),
    )
