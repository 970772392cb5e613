"""Commands that a platform was told have arrived, until they are jobs or have been answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import NamedTuple

import structlog

from bot.clock import Clock
from bot.errors import BotError
from bot.jobs.heir import Heir
from bot.jobs.runner import Runner
from bot.store import Store
from bot.store.arrivals import Arrival

KEEP_SECONDS = 0.25
"""How long an acknowledgement waits for the disk; the rest of its second is the way there and back."""
LATE_SECONDS = 1.0
KEPT_SECONDS = 3_600.0
"""How long a command is worth answering; it may take away a ban, or tell what has long changed."""

log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    """A command that is to be written down."""

    platform: str
    arrival: Arrival
    written: asyncio.Future[None]


class Arrivals:
    """Keeps a command safe from before its acknowledgement on.

    A platform doesn't send again what was acknowledged, so a process that dies before the job is stored would take the
    command along, and nobody would ever answer it.
    """

    def __init__(self, store: Store, runner: Runner, heir: Heir, clock: Clock) -> None:
        self._store = store
        self._runner = runner
        self._heir = heir
        self._clock = clock
        self._late: set[asyncio.Task[None]] = set()
        self._waiting: list[_Waiting] = []
        self._keeping: asyncio.Task[None] | None = None

    async def keep(self, platform: str, event: str, asked: str) -> None:
        """Write a command down as its adapter will read it again; to be called before it is acknowledged.

        Does without where the disk fails or is too slow: the person is better off with an acknowledgement.
        """
        waiting = _Waiting(platform, Arrival(event=event, asked=asked), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._keeping is None or self._keeping.done():
            self._keeping = self._writing(self._keep())
        await asyncio.wait({waiting.written}, timeout=KEEP_SECONDS)
        if waiting in self._waiting:  # what others may settle meanwhile must not be written after that
            self._waiting.remove(waiting)

    async def _keep(self) -> None:
        """Those that arrive while others are written down are written down together."""
        while self._waiting:
            taken, self._waiting = self._waiting, []
            arrivals = [(waiting.platform, waiting.arrival) for waiting in taken]
            try:
                await self._store.arrivals.keep(arrivals, self._runner.id, now=self._clock.now())
            except BotError as error:
                log.warning("arrivals not written", arrivals=len(taken), reason=error.sentence)
            for waiting in taken:
                if not waiting.written.done():
                    waiting.written.set_result(None)

    async def settle(self, platform: str, event: str) -> None:
        """Let go of a command that has been answered; one that has become a job is let go of with that.

        It is let go of even if the caller is cancelled, or it would be answered once more.
        """
        await asyncio.shield(self._writing(self._settle(platform, event)))

    async def _settle(self, platform: str, event: str) -> None:
        try:
            await self._store.arrivals.settle(platform, event)
        except BotError as error:
            log.warning("arrival not settled", platform=platform, reason=error.sentence)

    async def start(self) -> None:
        """Forget what nobody waits for any more, whether or not its platform is still set up.

        Raises:
            DatabaseError: it can't be written.
        """
        await self._store.arrivals.prune(before=self._clock.now() - KEPT_SECONDS)

    async def left(self, platform: str) -> tuple[Arrival, ...]:
        """What processes that are gone had kept and not settled, the oldest first; from now on it is this one's.

        Raises:
            DatabaseError: it can't be read.
        """
        return await self._heir.inherit(platform)

    async def stop(self) -> None:
        """Wait a moment for what is being written, and leave the rest to the next process."""
        if self._late:
            await asyncio.wait(self._late, timeout=LATE_SECONDS)
        await self._store.arrivals.release(self._runner.id)

    def _writing(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task
