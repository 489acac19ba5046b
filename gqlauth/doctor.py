"""What `gqlauth doctor` looks at, and what it says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from gqlauth import migrations
from gqlauth.errors import ConfigurationError
from gqlauth.keys import service as keys
from gqlauth.runtime import Runtime, create_runtime
from gqlauth.settings import Settings, show_url


class Level(StrEnum):
    """How bad a finding is."""

    FINE = "ok"
    WARNING = "warn"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in words."""

    level: Level
    text: str


def examine(runtime: Runtime | None = None) -> list[Finding]:
    """Look at settings, Redis, database, migrations and keys, in this order; stop where the next would make no sense.

    `runtime` is a host's; else it is the one that the `GQLAUTH_*` variables describe.
    """
    try:
        runtime = runtime or create_runtime(Settings.from_environ())
    except ConfigurationError as error:
        return [Finding(Level.WRONG, f"settings: {error}")]
    settings = runtime.settings
    findings = [Finding(Level.FINE, f"settings: {settings.environment}"), *_settings(settings), *_redis(runtime)]
    try:
        findings += [*_database(runtime)]
    except DBAPIError as error:
        findings.append(Finding(Level.WRONG, f"database: {str(error.orig).strip().splitlines()[0]}"))
    finally:
        runtime.database.dispose()
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    for name in Settings.unknown(os.environ):
        yield Finding(Level.WARNING, f"settings: nothing reads {name}; is it misspelt?")
    if settings.production:
        if settings.public_url == Settings().public_url:
            yield Finding(Level.WARNING, "settings: GQLAUTH_PUBLIC_URL is still the one of development")
        if settings.serves_graphiql or settings.allows_introspection:
            yield Finding(Level.WARNING, "settings: GraphiQL or introspection is open in production")
    if settings.stateless:
        yield Finding(Level.WARNING, "settings: stateless, so a revoked session lives until its token expires")


def _redis(runtime: Runtime) -> Iterator[Finding]:
    try:
        policy = runtime.limiter.eviction_policy()
    except ConfigurationError as error:
        yield Finding(Level.WRONG, f"redis: {error}")
        return
    if policy == "noeviction":
        yield Finding(Level.FINE, "redis: it answers, and keeps what it counts")
    elif policy is not None:
        text = f"redis: maxmemory-policy is {policy}, so a flood makes it forget attempts; set it to noeviction"
        yield Finding(Level.WARNING, text)


def _database(runtime: Runtime) -> Iterator[Finding]:
    url = runtime.database.engine.url
    if runtime.database.is_sqlite and not Path(url.database or "").exists():
        yield Finding(Level.WARNING, "database: there is none yet; the first start makes it")
        return
    state = migrations.state(runtime.database)
    yield Finding(Level.FINE, f"database: {show_url(url)} answers")
    if runtime.database.is_sqlite and Path(url.database or "").stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(Level.WARNING, f"database: others can read the file; run: chmod 600 {url.database}")
    if state is not None:
        yield Finding(Level.WRONG, f"migrations: {state}")
        return
    yield Finding(Level.FINE, f"migrations: {'all run' if runtime.models.host_migrates else f'at {migrations.HEAD}'}")
    yield _keys(runtime)


def _keys(runtime: Runtime) -> Finding:
    if runtime.settings.algorithm != "HS256" and not keys.every(runtime):
        return Finding(Level.WARNING, "keys: there is none yet; the first start makes one")
    try:
        keys.load(runtime)
    except ConfigurationError as error:
        return Finding(Level.WRONG, f"keys: {error}")
    return Finding(Level.FINE, f"keys: one signs with {runtime.settings.algorithm}")
