"""A test kit for applications with gqlauth: pytest fixtures, there as soon as it is installed. See docs/testing.md.

pytest imports this module at the start of every run, also of those that have nothing to do with gqlauth. So whatever
takes long to import is imported by the fixtures, when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from gqlauth import clock

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gqlauth.auth import Auth
    from gqlauth.events import Event
    from gqlauth.settings import Settings
    from gqlauth.testing.client import AuthClient

E = TypeVar("E", bound="Event")

# The same in every run: a test that fails on one day fails on all.
NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class FrozenClock:
    """A clock that stands still until it is moved. `now` may be set to any time that has a timezone."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time: it is a `gqlauth.clock.Clock`."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass."""
        self.now += timedelta(seconds=seconds)


class Outbox(list["Event"]):
    """What happened, in the order in which it did."""

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of this class or a subclass."""
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def frozen_clock() -> Iterator[FrozenClock]:
    """Time stands still for gqlauth, from noon of 2026-01-01 UTC on: `frozen_clock.advance(seconds)`, or set `.now`.

    It is the clock of every `Auth` and `TokenVerifier` that was given none of its own.
    """
    frozen = FrozenClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "source", frozen)
        yield frozen


@pytest.fixture
def auth_settings(tmp_path: Path) -> Settings:
    """Settings for one test: a new SQLite file, cheap password hashes, nothing else weaker than the default.

    Rate limits are on, as they are for your users; each test begins with none used up, and `login_as` takes none. To
    override for a database or options of your own; `environment` has to be "test".
    """
    from gqlauth.settings import Settings

    return Settings(environment="test", bcrypt_cost=4, database_url=f"sqlite:///{tmp_path}/gqlauth.db")


@pytest.fixture
def auth_app(auth_settings: Settings) -> ASGIApp:
    """The application under test, here gqlauth's own server. Override it with yours, without running its lifespan.

    Either with one that is made for each test, `return create_app(auth_settings)`, or with one that a module of yours
    holds, `return shop.app`. What the latter's `Auth` was set to is replaced for the test: see `auth_client`.
    """
    from gqlauth.app import create_app

    return create_app(auth_settings)


@pytest.fixture
def auth(auth_app: ASGIApp) -> Auth:
    """The `Auth` of the application, found by the routes that it has made.

    Override it if your application does without `auth.routes`, or has several.
    """
    from gqlauth.testing.harness import find_auth

    return find_auth(auth_app)


@pytest.fixture
def auth_path() -> str:
    """Where the application serves GraphQL. Override it if that is not /graphql."""
    return "/graphql"


@pytest.fixture
def auth_client(
    request: pytest.FixtureRequest, auth_settings: Settings, auth_app: ASGIApp, auth: Auth, auth_path: str
) -> Iterator[AuthClient]:
    """A client of the running application with nobody signed in: `execute`, `refused`, `post` and `login_as`.

    An `Auth` that was not made with `environment="test"` runs on `auth_settings` until the test is over: their
    database, cost of hashes and Redis, and whatever else they set to something other than its default. One that was is
    taken as it is. One in production is refused with a `ConfigurationError`.
    """
    if find_spec("httpx2") is None:
        pytest.fail('auth_client needs the extra: pip install "gqlauth[testing]"', pytrace=False)
    from gqlauth.testing.client import serving

    # Before anything looks at the clock, wherever the test names it.
    if "frozen_clock" in request.fixturenames:
        request.getfixturevalue("frozen_clock")
    with serving(auth_app, auth, auth_settings, path=auth_path) as client:
        yield client


@pytest.fixture
def outbox(auth: Auth) -> Iterator[Outbox]:
    """What gqlauth told its listeners during the test: a list of events (docs/events.md); `outbox.of(LoggedIn)`.

    `login_as` is among them, as what it does happens: `outbox.clear()` forgets it.
    """
    from gqlauth.events import Event

    told = Outbox()
    auth.on(Event, told.append)
    yield told
    auth.runtime.events.unsubscribe(told.append)
