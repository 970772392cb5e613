"""What becomes of the jobs and commands of a process that is gone."""

from __future__ import annotations

import asyncio

from bot.clock import Clock
from bot.jobs.runner import Runner
from bot.store import Store
from bot.store.arrivals import Arrival
from bot.store.rows import JobRow


class Heir:
    """Takes over, or ends, what gone runners left in flight."""

    def __init__(self, store: Store, runner: Runner, clock: Clock) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock

    async def adopt(self, platform: str) -> tuple[JobRow, ...]:
        """Make a platform's jobs of gone runners this one's; returns them, queued again."""
        rows: list[JobRow] = []
        for gone in await self._gone():
            rows += await self._store.recovery.adopt(platform, gone, self._runner.id, now=self._clock.now())
        return tuple(rows)

    async def inherit(self, platform: str) -> tuple[Arrival, ...]:
        """Make a platform's commands this runner's that gone ones had acknowledged and not settled; returns them."""
        asked: list[Arrival] = []
        for gone in await self._gone():
            asked += await self._store.arrivals.adopt(platform, gone, self._runner.id)
        return tuple(asked)

    async def abandon(self, platform: str) -> tuple[str, ...]:
        """Cancel a platform's jobs of gone runners and count them back; returns their ids."""
        ids: list[str] = []
        for gone in await self._gone():
            ids += await self._store.recovery.abandon(platform, gone, now=self._clock.now())
        return tuple(ids)

    async def _gone(self) -> list[str]:
        others = await self._store.recovery.runners()
        return [other for other in others if await asyncio.to_thread(self._runner.is_gone, other)]
