"""What GPUs cost, and what the cache saved."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.store.database import Database, Transaction
from bot.store.rows import PictureRow
from engine.types import Cached, Cost, Value


class Spending(Value):
    """Dollars in a month."""

    spent: float
    saved: float
    drawn: int
    """Pictures that cost something."""


class CostTable:
    """Sums; single costs are written together with the pictures that they are for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spending(self, scope: str | None, month: str) -> Spending:
        """Spent and saved in a month (`YYYY-MM`, UTC) by a community; None is all together."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one(
                """SELECT coalesce(sum(spent), 0.0) AS spent, coalesce(sum(saved), 0.0) AS saved,
                          count(*) FILTER (WHERE spent > 0) AS drawn FROM costs
                   WHERE month = ?1 AND (?2 IS NULL OR scope = ?2)""",
                *(month, scope),
            )
            return Spending.model_validate(dict(row or {}))

    async def add(self, job: str, index: int, cost: Cost, *, now: float) -> None:
        """Write what a picture cost that has not ended, since another attempt at it will be made."""
        async with self._database.transaction() as transaction:
            await _insert(transaction, job, PictureRow(index=index), cost, month_of(now))


def month_of(moment: float) -> str:
    """`YYYY-MM` of a moment in seconds since 1970, UTC: the month over which a budget is counted."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m")


async def write_cost(transaction: Transaction, job: str, picture: PictureRow, cost: Cost | None, *, now: float) -> None:
    """Write what a picture cost, or what was saved if it came from the cache and had cost something then.

    A picture that is fetched once more from the cache, after a restart, saves nothing.
    """
    if cost is not None:
        await _insert(transaction, job, picture, cost, month_of(now))
    elif picture.cached not in (None, Cached.NONE):
        await transaction.run(
            """INSERT INTO costs (month, scope, job, idx, generation_key, gpu, gpu_seconds, idle_seconds, spent, saved)
               SELECT ?1, j.platform || ':' || j.workspace, ?2, ?3, c.generation_key, c.gpu, 0.0, 0.0, 0.0,
                      c.spent * c.gpu_seconds / max(c.gpu_seconds + c.idle_seconds, 1e-9)
               FROM jobs j, costs c WHERE j.id = ?2 AND c.generation_key = ?4 AND c.spent > 0
               AND NOT EXISTS (SELECT 1 FROM costs WHERE job = ?2 AND idx = ?3) ORDER BY c.id DESC LIMIT 1""",
            *(month_of(now), job, picture.index, picture.generation_key),
        )


async def _insert(transaction: Transaction, job: str, picture: PictureRow, cost: Cost, month: str) -> None:
    await transaction.run(
        """INSERT INTO costs (month, scope, job, idx, generation_key, gpu, gpu_seconds, idle_seconds, spent, saved)
           SELECT ?, platform || ':' || workspace, id, ?, ?, ?, ?, ?, ?, 0.0 FROM jobs WHERE id = ?""",
        *(month, picture.index, picture.generation_key, cost.gpu, cost.gpu_seconds, cost.idle_seconds, cost.dollars),
        job,
    )
