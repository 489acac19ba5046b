"""Makes an application ready for one test: finds its `Auth`, and sees to its settings and tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import msgspec
from sqlalchemy.engine import URL
from starlette.types import ASGIApp

from gqlauth.auth import Auth
from gqlauth.errors import ConfigurationError
from gqlauth.runtime import Runtime, create_runtime
from gqlauth.settings import Settings

# What belongs to one test. The clock is moved elsewhere, and those who listen go on listening.
OF_ONE_TEST = ("settings", "database", "tokens", "passwords", "limiter")


def find_auth(app: ASGIApp) -> Auth[Any]:
    """Return the `Auth` that made routes of this application. Raises `LookupError` unless it is exactly one."""
    found = _auths(app, set())
    if len(found) != 1:
        some = "several gqlauth.Auth have" if found else "no gqlauth.Auth has"
        raise LookupError(f"{some} made routes of {app!r}: override the fixture `auth` to return the one under test")
    return found.pop()


def refuse_production(settings: Settings) -> None:
    """Raise `ConfigurationError` for production: tests write accounts."""
    if settings.production:
        raise ConfigurationError(
            "gqlauth.testing writes accounts, and GQLAUTH_ENVIRONMENT is production: use another for the tests"
        )


def settings_for_test(own: Settings, test: Settings) -> Settings:
    """Return an application's settings with those for a test in place of them, where these are not the default.

    Raises `ConfigurationError` if they do not fit together.
    """
    told: dict[str, Any] = {"redis_url": None}
    if test.url.get_backend_name() == "sqlite":
        told["table_schema"] = None
    for field in msgspec.structs.fields(test):
        value = getattr(test, field.name)
        if value != field.default:
            told[field.name] = value
    return msgspec.structs.replace(own, **told)


@contextmanager
def under_test(auth: Auth[Any], settings: Settings) -> Iterator[None]:
    """Let an `Auth` that was not made for tests run on these settings for a while; make a host's tables.

    Raises `ConfigurationError` in production.
    """
    refuse_production(auth.settings)
    with nullcontext() if auth.settings.environment == "test" else _replaced(auth, settings):
        if auth.runtime.models.host_migrates:
            auth.create_tables()
        yield


@contextmanager
def _replaced(auth: Auth[Any], settings: Settings) -> Iterator[None]:
    runtime, own = auth.runtime, auth.settings
    before = {name: getattr(runtime, name) for name in OF_ONE_TEST}
    fresh = _runtime_for_test(runtime, settings_for_test(own, settings))
    try:
        # In place: whoever holds the runtime, like a listener of the host's, must see the same database.
        _put(runtime, {name: getattr(fresh, name) for name in OF_ONE_TEST})
        auth.settings = fresh.settings
        yield
    finally:
        runtime.database.dispose()
        _put(runtime, before)
        auth.settings = own


def _runtime_for_test(own: Runtime, settings: Settings) -> Runtime:
    """Return a runtime with the same classes and listeners. A host's engine stays: it is the host's to choose."""
    source = own.database.source
    fresh = create_runtime(
        settings,
        own.clock,
        user=own.models.User if own.models.host_migrates else None,
        engine=None if isinstance(source, URL) else source,
        before_signup=own.before_signup,
    )
    fresh.database.events = own.events
    return fresh


def _put(runtime: Runtime, values: dict[str, Any]) -> None:
    for name, value in values.items():
        # It is frozen for everybody else.
        object.__setattr__(runtime, name, value)


def _auths(part: object, seen: set[int]) -> set[Auth[Any]]:
    """Walk down routes, mounts and middleware to the endpoints that are methods of an `Auth`."""
    if part is None or id(part) in seen:
        return set()
    seen.add(id(part))
    owner = getattr(getattr(part, "endpoint", None), "__self__", None)
    found = {owner} if isinstance(owner, Auth) else set()
    for inner in (*(getattr(part, "routes", None) or ()), getattr(part, "app", None)):
        found |= _auths(inner, seen)
    return found
