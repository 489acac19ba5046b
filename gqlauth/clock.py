"""The one clock of a process, so that tests can hold it still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def _system_time() -> datetime:
    return datetime.now(UTC)


# What everything without a clock of its own goes by. The fixture `frozen_clock` puts another in its place.
source: Clock = _system_time


def utc_now() -> datetime:
    """Return the current time, timezone-aware."""
    return source()
