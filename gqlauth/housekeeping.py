"""What a server does besides answering: look for new keys, delete expired sessions, note which sessions are used."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from gqlauth.context import Viewer
from gqlauth.keys import service as keys
from gqlauth.runtime import Runtime
from gqlauth.sessions import service as sessions
from gqlauth.threads import Lane

logger = logging.getLogger("gqlauth")

# Until then, tokens of a key that was revoked elsewhere are still accepted here.
KEY_CHECK_SECONDS = 1
# A token that names an unknown key makes us look for it, but an attacker must not make us look all the time.
KEY_RELOAD_SECONDS = 1
SWEEP_SECONDS = 60


class Housekeeping:
    """The chores of one process, in threads of the database lane. A chore that fails is logged and tried again."""

    def __init__(self, runtime: Runtime, lane: Lane) -> None:
        self._runtime = runtime
        self._lane = lane
        self._chores: list[asyncio.Task[None]] = []
        self._touching: dict[UUID, asyncio.Task[None]] = {}
        self._reloading: asyncio.Task[None] | None = None
        self._reloaded_at = 0.0

    def begin(self) -> None:
        """Begin the chores that come again and again."""
        self._chores = [
            asyncio.create_task(_every(KEY_CHECK_SECONDS, self.reload_keys)),
            asyncio.create_task(_every(SWEEP_SECONDS, self.sweep)),
            asyncio.create_task(_every(SWEEP_SECONDS, self.checkpoint)),
        ]

    async def end(self) -> None:
        """Stop, and wait for what is under way."""
        for chore in self._chores:
            chore.cancel()
        reloading = [self._reloading] if self._reloading else []
        await asyncio.gather(*self._chores, *reloading, *self._touching.values(), return_exceptions=True)

    async def reload_keys(self) -> None:
        """Look for new keys, at most once a second: who asks sooner waits, and those who wait share one look.

        A token that another process has just signed with a new key must not be refused for coming early.
        """
        if self._reloading is None:
            self._reloading = asyncio.create_task(self._reload_keys())
        await asyncio.shield(self._reloading)

    async def sweep(self) -> None:
        """Delete expired sessions, in batches, each in a transaction of its own."""
        swept = sessions.SWEEP_BATCH
        while swept == sessions.SWEEP_BATCH:
            swept = await self._lane.run(sessions.sweep, self._runtime)

    async def checkpoint(self) -> None:
        """Take what was deleted out of SQLite's log."""
        await self._lane.run(self._runtime.database.checkpoint)

    def touch(self, viewer: Viewer) -> None:
        """Note that the session is in use, at most once a minute and without keeping the request waiting."""
        last = viewer.last_used_at
        if last is None or (self._runtime.clock() - last).total_seconds() < sessions.TOUCH_SECONDS:
            return
        if viewer.session_id not in self._touching:
            self._touching[viewer.session_id] = asyncio.create_task(self._touch(viewer.session_id))

    async def _reload_keys(self) -> None:
        await asyncio.sleep(self._reloaded_at + KEY_RELOAD_SECONDS - time.monotonic())
        # Who comes while the database is read may know of a newer key: the next look is theirs.
        self._reloading, self._reloaded_at = None, time.monotonic()
        await self._lane.run(keys.load, self._runtime)

    async def _touch(self, session_id: UUID) -> None:
        try:
            await self._lane.run(sessions.touch, self._runtime, session_id)
        except Exception:
            logger.exception("the use of a session could not be noted")
        finally:
            del self._touching[session_id]


async def _every(seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await chore()
        except Exception:
            logger.exception("housekeeping failed; it will be tried again")
