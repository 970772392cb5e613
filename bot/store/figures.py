"""What moderators see as charts: sums over what was asked, drawn, reused and refused."""

from __future__ import annotations

from bot.store.database import Database, Transaction
from engine.types import Value

TOP = 10
ASKED = "p.job = j.id AND j.created >= ? AND (? IS NULL OR j.platform || ':' || j.workspace = ?)"


class DayFigures(Value):
    """Pictures delivered on one day, by where they came from."""

    day: str
    """`YYYY-MM-DD`, UTC."""
    hits: int
    misses: int


class ReusedPrompt(Value):
    """One picture that was given more than once."""

    prompt: str
    uses: int


class Overview(Value):
    """Figures of one community, or of all, since a moment."""

    days: tuple[DayFigures, ...]
    """Days on which something was delivered, the earliest first."""
    reused: tuple[ReusedPrompt, ...]
    """Most often given first."""
    seconds: dict[str, float]
    """Mean seconds of a drawn picture by stage."""
    refusals: dict[str, int]
    """Refused pictures by layer."""


class FigureTable:
    """Reads only; one snapshot for all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def overview(self, scope: str | None, *, since: float) -> Overview:
        """Sums since a moment (seconds since 1970) in a scope; None is everywhere."""
        async with self._database.snapshot() as transaction:
            where = (since, scope, scope)
            return Overview(
                days=await _days(transaction, where),
                reused=await _reused(transaction, where),
                seconds=await _seconds(transaction, where),
                refusals=await _refusals(transaction, where),
            )


Where = tuple[float, str | None, str | None]


async def _days(transaction: Transaction, where: Where) -> tuple[DayFigures, ...]:
    rows = await transaction.run(
        f"""SELECT date(j.created, 'unixepoch') AS day, sum(p.cached <> 'none') AS hits,
            sum(p.cached = 'none') AS misses FROM jobs j, pictures p WHERE {ASKED} AND p.state = 'rendered'
            AND p.cached IS NOT NULL GROUP BY day ORDER BY day""",  # noqa: S608  (a constant)
        *where,
    )
    return tuple(DayFigures.model_validate(dict(row)) for row in rows)


async def _reused(transaction: Transaction, where: Where) -> tuple[ReusedPrompt, ...]:
    rows = await transaction.run(
        f"""SELECT max(json_extract(j.asked, '$[' || p.idx || '].prompt')) AS prompt, count(*) AS uses
            FROM jobs j, pictures p WHERE {ASKED} AND p.state = 'rendered' AND p.generation_key IS NOT NULL
            GROUP BY p.generation_key HAVING count(*) > 1 ORDER BY uses DESC, prompt LIMIT {TOP}""",  # noqa: S608
        *where,
    )
    return tuple(ReusedPrompt.model_validate(dict(row)) for row in rows)


async def _seconds(transaction: Transaction, where: Where) -> dict[str, float]:
    rows = await transaction.run(
        f"""SELECT s.key AS stage, avg(s.value) AS seconds FROM jobs j, pictures p, json_each(p.seconds) s
            WHERE {ASKED} AND p.cached = 'none' AND s.key <> 'total' GROUP BY stage ORDER BY min(s.id)""",  # noqa: S608
        *where,
    )
    return {row["stage"]: row["seconds"] for row in rows}


async def _refusals(transaction: Transaction, where: Where) -> dict[str, int]:
    rows = await transaction.run(
        f"""SELECT p.layer AS layer, count(*) AS refused FROM jobs j, pictures p
            WHERE {ASKED} AND p.layer IS NOT NULL GROUP BY p.layer ORDER BY refused DESC""",  # noqa: S608
        *where,
    )
    return {row["layer"]: row["refused"] for row in rows}
