"""What every service stands on: one value, made once for each process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from sqlalchemy.engine import Engine

from gqlauth.clock import Clock, utc_now
from gqlauth.database import Database
from gqlauth.events import Events
from gqlauth.logs import log_event
from gqlauth.models import Models, create_models
from gqlauth.passwords import Passwords
from gqlauth.ratelimit import Attempts, Limiter
from gqlauth.settings import Settings
from gqlauth.tokens import AccessTokens
from gqlauth.users.models import UserColumns, UserT

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as far as it can be known, and how many secrets it may still try.

    `device` is what an earlier sign-in left with the browser.
    """

    ip_address: str | None = None
    user_agent: str | None = None
    device: str | None = None
    attempts: Attempts = field(default_factory=Attempts)


@dataclass(frozen=True, slots=True)
class Signup(Generic[UserT]):
    """A sign-up that is about to be written, for a host to look at: it may refuse it, or complete `user`.

    `extra` holds, under their Python names, the fields of the host's `SignupInput` that are no columns of `user`.
    """

    user: UserT
    extra: Mapping[str, Any]
    client: Client


@dataclass(frozen=True, slots=True)
class Runtime:
    """Settings, clock, database, tokens, passwords, limits and events. The first argument of every service.

    `before_signup` is a host's, and may refuse a sign-up with an `AuthError`.
    """

    settings: Settings
    clock: Clock
    events: Events
    database: Database
    tokens: AccessTokens
    passwords: Passwords
    limiter: Limiter
    before_signup: Callable[[Signup[Any]], object] | None = None

    @property
    def models(self) -> Models:
        """The mapped classes."""
        return self.database.models


def create_runtime(
    settings: Settings,
    clock: Clock = utc_now,
    *,
    user: type[UserColumns] | None = None,
    engine: Engine | AsyncEngine | None = None,
    before_signup: Callable[[Signup[Any]], object] | None = None,
) -> Runtime:
    """Compose a runtime. Nothing is connected or read yet.

    `user` and `engine` are a host's class for users and its engine. Raises `ConfigurationError` if they do not fit.
    """
    events = Events(log_event)
    # mypy takes a class's __hash__ for that of its instances.
    models = create_models(user, settings.table_prefix, settings.table_schema)  # type: ignore[arg-type]
    database = Database(settings.url if engine is None else engine, events, models)
    settings.check_encryption(database.engine.dialect.name)
    return Runtime(
        settings=settings,
        clock=clock,
        events=events,
        database=database,
        tokens=AccessTokens(
            algorithm=settings.algorithm,
            issuer=settings.token_issuer,
            audience=settings.audience,
            seconds=settings.access_token_seconds,
            clock=clock,
        ),
        passwords=Passwords(cost=settings.bcrypt_cost, min_length=settings.password_min_length),
        limiter=Limiter(
            enabled=settings.rate_limits,
            redis_url=settings.redis_url,
            deployment=f"{settings.token_issuer} {settings.audience}",
            clock=clock,
        ),
        before_signup=before_signup,
    )
