"""Two lanes of threads: one for the database, one for hashing, so that a storm of logins never starves a read.

The lane for hashing is fair: whoever sends many logins waits behind their own, and not everybody else with them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from gqlauth.database import POOL_SIZE
from gqlauth.errors import ServerBusy
from gqlauth.ratelimit import RateLimited

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("gqlauth")

# The event loop goes first, but whoever else is busy must not starve a login. Measured (`benchmarks --only logins`): at
# 19, p99 of `me` beside 64 logins is 3 ms, and a login takes 65 times as long while every core is busy; at 10, 5 ms and
# 10 times.
LOW_PRIORITY = 10
# How many jobs wait for each thread of the fair lane: some 20 seconds of bcrypt at cost 12. Nobody waits for longer.
WAITING_PER_THREAD = 100
# What one job takes, until some have been timed.
GUESSED_JOB_SECONDS = 0.25

# How often the log says at most that the fair lane is full.
FULL_LOG_SECONDS = 60

# Whose job it is, as far as fairness goes: a network, an account.
Flow = tuple[str, ...]


class Lane:
    """A bounded set of threads; work beyond it waits its turn."""

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, f"gqlauth-{name}")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function in one of the lane's threads and return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(_call, function, *args, **kwargs))

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        self._executor.shutdown(cancel_futures=True)


@dataclass(eq=False, slots=True)
class _Job:
    """A call that waits, whose it is, and its place in the order of service."""

    flows: Sequence[Flow]
    call: Callable[[], Any]
    tag: int = 0
    future: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        """Call it, unless whoever waited has gone."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
        finally:
            # The error's traceback would keep the job, and the job the error.
            del self


@dataclass(slots=True)
class _Share:
    """What one flow has in the lane: how many jobs wait, and the tag that its next one gets."""

    waiting: int = 0
    next_tag: int = 0


class FairLane:
    """A bounded set of threads at low priority, and a bounded queue that each flow has the same share of.

    Start-time fair queuing (Goyal, Vin, Cheng 1996): the jobs of a flow are numbered from the number that is served
    now, and the lowest number goes next. So the first job of a newcomer goes before the second of everybody else,
    however many they have sent; and where nobody else waits, one flow has the whole lane. A job of several flows waits
    for its turn in each of them.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, f"gqlauth-{name}", _lower_priority)
        self._threads = threads
        self._capacity = threads * WAITING_PER_THREAD
        self._lock = threading.Lock()
        # In the order of their coming: of equal tags, the first goes first.
        self._waiting: list[_Job] = []
        self._shares: defaultdict[Flow, _Share] = defaultdict(_Share)
        self._served_tag = 0
        self._working = 0
        self._job_seconds = GUESSED_JOB_SECONDS
        self._is_closed = False
        self._told_full_until = 0.0

    async def run(self, flows: Sequence[Flow], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function in one of the lane's threads, when it is the turn of all its flows; return what it returns.

        Where the lane is full, the flow that has most waiting gives way. Raises `RateLimited` for it, and `ServerBusy`
        where nobody has more than the newcomer.
        """
        job = _Job(flows, partial(_call, function, *args, **kwargs))
        self._admit(job)
        try:
            result: T = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            self._withdraw(job)
            raise
        return result

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        with self._lock:
            self._is_closed = True
            dropped, self._waiting = self._waiting, []
        for job in dropped:
            job.future.cancel()
        self._executor.shutdown()

    def _admit(self, job: _Job) -> None:
        """Let a job wait; start a thread for it if one is free."""
        refused = None
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the lane is closed")
            if len(self._waiting) >= self._capacity:
                refused = self._make_room(job)
            self._enqueue(job)
            if self._working < self._threads:
                self._working += 1
                self._executor.submit(self._work)
            wait = self._seconds_to_wait()
        if refused is not None and refused.future.set_running_or_notify_cancel():
            refused.future.set_exception(RateLimited(wait))

    def _make_room(self, newcomer: _Job) -> _Job:
        """Take the newest job of the largest flow out of the queue and return it, if the newcomer's flows hold less.

        Else raise `RateLimited` or `ServerBusy` for the newcomer.
        """
        self._tell_full()
        largest = max(self._shares, key=lambda flow: self._shares[flow].waiting)
        most = self._shares[largest].waiting
        own = 1 + max((self._shares[flow].waiting for flow in newcomer.flows if flow in self._shares), default=0)
        if own > most:
            raise RateLimited(self._seconds_to_wait())
        if own == most:
            raise ServerBusy(self._seconds_to_wait())
        newest = next(job for job in reversed(self._waiting) if largest in job.flows)
        self._drop(newest)
        return newest

    def _tell_full(self) -> None:
        now = time.monotonic()
        if now >= self._told_full_until:
            self._told_full_until = now + FULL_LOG_SECONDS
            logger.warning("too many passwords wait to be hashed: %d; some are refused", len(self._waiting))

    def _enqueue(self, job: _Job) -> None:
        job.tag = self._served_tag
        for flow in job.flows:
            share = self._shares[flow]
            tag = max(share.next_tag, self._served_tag)
            job.tag = max(job.tag, tag)
            # Each flow counts for itself: a network with a long queue must not send an account's owner to its end.
            share.next_tag = tag + 1
            share.waiting += 1
        self._waiting.append(job)

    def _dequeue(self, job: _Job) -> None:
        self._waiting.remove(job)
        for flow in job.flows:
            self._shares[flow].waiting -= 1

    def _drop(self, job: _Job) -> None:
        """Take a job out of the queue that is not served, so that its flows have not had their turn."""
        self._dequeue(job)
        for flow in job.flows:
            self._shares[flow].next_tag -= 1

    def _withdraw(self, job: _Job) -> None:
        """Free the place of a job that nobody waits for anymore."""
        with self._lock:
            if job in self._waiting:
                self._drop(job)

    def _work(self) -> None:
        """Do one job after the other, in one of the threads, until none waits."""
        while (job := self._next()) is not None:
            begin = time.monotonic()
            job.run()
            with self._lock:
                self._job_seconds += (time.monotonic() - begin - self._job_seconds) / 8
            del job

    def _next(self) -> _Job | None:
        with self._lock:
            if not self._waiting:
                self._working -= 1
                # Nobody waits, so nobody has had more than a share.
                self._shares.clear()
                return None
            job = min(self._waiting, key=lambda job: job.tag)
            self._dequeue(job)
            if job.tag > self._served_tag:
                self._served_tag = job.tag
                self._forget_idle()
            return job

    def _forget_idle(self) -> None:
        """Forget the flows that have had no more than their share: a new one would begin at the same number."""
        for flow in [flow for flow, share in self._shares.items() if not share.waiting]:
            if self._shares[flow].next_tag <= self._served_tag:
                del self._shares[flow]

    def _seconds_to_wait(self) -> float:
        """Estimate how long what waits now will take."""
        return len(self._waiting) * self._job_seconds / self._threads


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


def hashing_lane() -> FairLane:
    """Return the lane for password hashes, as wide as the machine, at low priority."""
    return FairLane("hashing", os.cpu_count() or 1)


def _lower_priority() -> None:
    """Let the event loop go first. Only Linux has a priority for each thread; elsewhere this is left undone."""
    if hasattr(os, "sched_getaffinity"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
