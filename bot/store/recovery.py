"""Jobs that outlive the process which looked after them."""

from __future__ import annotations

import sqlite3

from bot.store.codec import load_all
from bot.store.database import Database, Transaction
from bot.store.jobs import close
from bot.store.rows import IN_FLIGHT, JobRow, JobState

_STATES = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT))


class RecoveryTable:
    """Handing jobs from one runner to another; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def runners(self) -> tuple[str, ...]:
        """Every runner with jobs in flight or commands that have not become any, alive or not."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                f"SELECT runner FROM jobs WHERE state IN ({_STATES}) UNION SELECT runner FROM arrivals"  # noqa: S608
            )
            return tuple(row["runner"] for row in rows)

    async def in_flight(self, runner: str) -> frozenset[str]:
        """Ids of a runner's jobs that have not ended, and events of its commands that are neither jobs nor answered."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                f"""SELECT id FROM jobs WHERE runner = ?1 AND state IN ({_STATES})
                    UNION ALL SELECT event FROM arrivals WHERE runner = ?1""",  # noqa: S608
                runner,
            )
            return frozenset(row["id"] for row in rows)

    async def adopt(self, platform: str, gone: str, runner: str, *, now: float) -> tuple[JobRow, ...]:
        """Queue a platform's jobs of a runner that is gone under another one; returns them, the oldest first."""
        async with self._database.transaction() as transaction:
            jobs = await _in_flight(transaction, platform, gone)
            for job in jobs:
                await transaction.run(
                    "UPDATE jobs SET state = 'queued', runner = ?, updated = ? WHERE id = ?", runner, now, job["id"]
                )
            return await load_all(transaction, jobs)

    async def abandon(self, platform: str, gone: str, *, now: float) -> tuple[str, ...]:
        """Cancel a platform's jobs of a runner that is gone and count undrawn pictures back; returns their ids."""
        async with self._database.transaction() as transaction:
            rows = await load_all(transaction, await _in_flight(transaction, platform, gone))
            for row in rows:
                await close(transaction, row, JobState.CANCELLED, now=now, refund=True)
            return tuple(row.id for row in rows)

    async def revive(self, job: str, runner: str, *, now: float) -> bool:
        """Queue a job again whose pictures are drawn but no longer in memory."""
        async with self._database.transaction() as transaction:
            return bool(
                await transaction.run(
                    """UPDATE jobs SET state = 'queued', updated = ?
                       WHERE id = ? AND runner = ? AND state IN ('rendered', 'sending') RETURNING id""",
                    *(now, job, runner),
                )
            )

    async def release(self, runner: str, *, now: float) -> tuple[str, ...]:
        """Queue the jobs that a stopping runner is drawing, and don't count the attempt; returns their ids."""
        async with self._database.transaction() as transaction:
            rows = await transaction.run(
                """UPDATE jobs SET state = 'queued', attempts = max(attempts - 1, 0), updated = ?
                   WHERE runner = ? AND state = 'running' RETURNING id""",
                *(now, runner),
            )
            return tuple(row["id"] for row in rows)


async def _in_flight(transaction: Transaction, platform: str, runner: str) -> list[sqlite3.Row]:
    return await transaction.run(
        f"SELECT id FROM jobs WHERE state IN ({_STATES}) AND runner = ? AND platform = ? ORDER BY created, rowid",  # noqa: S608
        *(runner, platform),
    )
