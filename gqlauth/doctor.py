"""What `gqlauth doctor` looks at, and what it says."""

from __future__ import annotations

import os
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
    findings = [
        Finding(Level.FINE, f"settings: {settings.environment}"),
        *(Finding(Level.WARNING, f"settings: {weakness}") for weakness in settings.weaknesses(os.environ)),
        *_redis(runtime),
    ]
    try:
        findings += [*_database(runtime)]
    except DBAPIError as error:
        findings.append(Finding(Level.WRONG, f"database: {str(error.orig).strip().splitlines()[0]}"))
    finally:
        runtime.database.dispose()
    return findings


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
    for file in runtime.database.readable_by_others():
        yield Finding(Level.WARNING, f"database: others can read the file; run: chmod 600 {file}")
    if state is not None:
        yield Finding(Level.WRONG, f"migrations: {state}")
        return
    yield Finding(Level.FINE, f"migrations: {'all run' if runtime.models.host_migrates else f'at {migrations.HEAD}'}")
    yield from _keys(runtime)


def _keys(runtime: Runtime) -> Iterator[Finding]:
    settings = runtime.settings
    if settings.algorithm != "HS256" and not keys.every(runtime):
        yield Finding(Level.WARNING, "keys: there is none yet; the first start makes one")
        return
    try:
        keys.load(runtime)
    except ConfigurationError as error:
        yield Finding(Level.WRONG, f"keys: {error}")
        return
    yield Finding(Level.FINE, f"keys: one signs with {settings.algorithm}")
    yield from _encryption(runtime)


def _encryption(runtime: Runtime) -> Iterator[Finding]:
    """Look at how private keys lie in the database, those of other algorithms included."""
    clear, stale = keys.count_clear(runtime), keys.count_stale(runtime)
    production = runtime.settings.production
    if clear and not runtime.settings.encryption_keys and production:
        yield Finding(
            Level.WARNING, f"keys: {clear} in clear text in the database; set GQLAUTH_KEY_ENCRYPTION_KEY, then start"
        )
    elif clear and stale:
        level = Level.WRONG if production else Level.WARNING
        yield Finding(level, f"keys: {clear} still in clear text; start the server, or run: gqlauth keys encrypt")
    if stale > clear:
        yield Finding(
            Level.WARNING,
            f"keys: {stale - clear} not encrypted in today's form under the first key of GQLAUTH_KEY_ENCRYPTION_KEY; "
            "start the server, or run: gqlauth keys encrypt",
        )
