"""Time that passes only when nothing else happens: hours of waiting in milliseconds, in the right order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TURNS = 50
"""Turns of the event loop without which nothing that is ready is left undone."""


class VirtualClock:
    """A clock for code that waits by its `sleep` alone."""

    def __init__(self, now: float = 1_790_078_400.0) -> None:
        self.time = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Seconds since 1970."""
        return self.time

    def monotonic(self) -> float:
        """The same clock."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Come back once the clock has been turned that far."""
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + max(seconds, 0.0), next(self._numbers), awake))
        await awake

    @asynccontextmanager
    async def running(self) -> AsyncIterator[VirtualClock]:
        """Let time pass as long as the body runs."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers:
                self.time, _, awake = heapq.heappop(self._sleepers)
                awake.set_result(None)
