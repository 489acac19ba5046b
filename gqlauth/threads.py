"""Two lanes of threads: one for the database, one for hashing, so that a storm of logins never starves a read."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import isawaitable
from typing import Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from gqlauth.database import POOL_SIZE

P = ParamSpec("P")
T = TypeVar("T")

# The event loop goes first, but whoever else is busy must not starve a login. Measured (`benchmarks --only logins`): at
# 19, p99 of `me` beside 64 logins is 3 ms, and a login takes 65 times as long while every core is busy; at 10, 5 ms and
# 10 times.
LOW_PRIORITY = 10


class Lane:
    """A bounded set of threads; work beyond it waits its turn."""

    def __init__(self, name: str, threads: int, *, low_priority: bool = False) -> None:
        initializer = _lower_priority if low_priority else None
        self._executor = ThreadPoolExecutor(threads, f"gqlauth-{name}", initializer)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function in one of the lane's threads and return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(_call, function, *args, **kwargs))

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        self._executor.shutdown(cancel_futures=True)


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it. No future takes a `StopIteration`: whoever waits for it would wait for ever (PEP 479)."""
    try:
        return function(*args, **kwargs)
    except StopIteration as stop:
        raise RuntimeError("a function in a thread raised StopIteration") from stop


async def call_host(function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call what may be a host's and slow: a plain function in one of Starlette's threads, an async one on the loop."""
    answer = await run_in_threadpool(function, *args, **kwargs)
    if isawaitable(answer):
        await answer


def database_lane() -> Lane:
    """Return the lane for statements, as wide as the pool of connections."""
    return Lane("database", POOL_SIZE)


def hashing_lane() -> Lane:
    """Return the lane for password hashes, as wide as the machine, at low priority."""
    return Lane("hashing", os.cpu_count() or 1, low_priority=True)


def _lower_priority() -> None:
    """Let the event loop go first. Only Linux has a priority for each thread; elsewhere this is left undone."""
    if hasattr(os, "sched_getaffinity"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
