"""Commands between their acknowledgement and the job or the answer that comes of them."""

from __future__ import annotations

from collections.abc import Iterable

from bot.store.database import Database
from engine.types import Value

MAX_ATTEMPTS = 2
"""Processes that take over the same command; one that two of them did not outlive is let go."""


class Arrival(Value):
    """A command, in its adapter's own writing."""

    event: str
    asked: str


class ArrivalTable:
    """Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, arrivals: Iterable[tuple[str, Arrival]], runner: str, *, now: float) -> None:
        """Write down what a runner is about to acknowledge, by platform; the same event again changes nothing."""
        async with self._database.transaction(urgent=True) as transaction:
            for platform, arrival in arrivals:
                await transaction.run(
                    """INSERT INTO arrivals (platform, event, asked, runner, received) VALUES (?, ?, ?, ?, ?)
                       ON CONFLICT DO NOTHING""",
                    *(platform, arrival.event, arrival.asked, runner, now),
                )

    async def settle(self, platform: str, event: str) -> None:
        """Let go of what has been answered; `JobTable.accept` does the same for what has become a job."""
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM arrivals WHERE platform = ? AND event = ?", platform, event)

    async def prune(self, *, before: float) -> None:
        """Let go of what is so old that nobody waits for it any more."""
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM arrivals WHERE received < ?", before)

    async def release(self, runner: str) -> None:
        """Don't count the attempt of a runner that stops."""
        async with self._database.transaction() as transaction:
            await transaction.run("UPDATE arrivals SET attempts = max(attempts - 1, 0) WHERE runner = ?", runner)

    async def adopt(self, platform: str, gone: str, runner: str) -> tuple[Arrival, ...]:
        """What a runner that is gone left, the oldest first, as another one's from now on."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                "DELETE FROM arrivals WHERE platform = ? AND runner = ? AND attempts >= ?", platform, gone, MAX_ATTEMPTS
            )
            rows = await transaction.run(
                "SELECT event, asked FROM arrivals WHERE platform = ? AND runner = ? ORDER BY received", platform, gone
            )
            await transaction.run(
                "UPDATE arrivals SET runner = ?, attempts = attempts + 1 WHERE platform = ? AND runner = ?",
                *(runner, platform, gone),
            )
            return tuple(Arrival(event=row["event"], asked=row["asked"]) for row in rows)
