"""Appeals against refusals, and reports of pictures."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from bot.store.database import Database
from bot.store.people import log
from bot.store.rows import Appeal, AppealState, AuditEntry, Report
from engine.types import Layer


class AppealTable:
    """Every method is one transaction; a decision and its line in the audit log are kept together or not at all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, appeal: Appeal, *, new_id: Callable[[], str], judge: Callable[[int], None]
    ) -> tuple[Appeal, bool]:
        """Store an appeal, unless there is one about the same picture.

        Returns the one that is stored, and whether it is new. `judge` raises if the person has too many open ones; the
        id is taken from `new_id` until one is free.
        """
        async with self._database.transaction() as transaction:
            found = await transaction.one("SELECT * FROM appeals WHERE job = ? AND idx = ?", appeal.job, appeal.index)
            if found is not None:
                return _appeal(found), False
            waiting = await transaction.one(
                "SELECT count(*) AS n FROM appeals WHERE person = ? AND state = 'open'", appeal.person
            )
            judge(waiting["n"] if waiting else 0)
            while True:
                rows = await transaction.run(
                    """INSERT INTO appeals
                       (id, created, job, idx, person, scope, prompt, digest, layer, categories, reason)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING RETURNING *""",
                    *(new_id(), appeal.created, appeal.job, appeal.index, appeal.person, appeal.scope),
                    *(appeal.prompt, appeal.digest, appeal.layer, json.dumps(appeal.categories), appeal.reason),
                )
                if rows:
                    return _appeal(rows[0]), True

    async def open(self, scope: str | None, *, limit: int) -> tuple[Appeal, ...]:
        """Appeals that wait for a decision, the oldest first; `scope` None is everywhere."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                """SELECT * FROM appeals WHERE state = 'open' AND (? IS NULL OR scope = ?)
                   ORDER BY created, rowid LIMIT ?""",
                *(scope, scope, limit),
            )
            return tuple(map(_appeal, rows))

    async def get(self, appeal: str, scope: str | None) -> Appeal | None:
        """One appeal of a scope; None is any."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one(
                "SELECT * FROM appeals WHERE id = ? AND (? IS NULL OR scope = ?)", appeal, scope, scope
            )
            return None if row is None else _appeal(row)

    async def decide(self, appeal: str, state: AppealState, entry: AuditEntry) -> Appeal | None:
        """Write a decision, or change an earlier one; None if there is no such appeal in the entry's scope."""
        async with self._database.transaction() as transaction:
            rows = await transaction.run(
                """UPDATE appeals SET state = ?, actor = ?, decided = ?, told = 0 WHERE id = ? AND scope = ?
                   RETURNING *""",
                *(state, entry.actor, entry.created, appeal, entry.scope),
            )
            if not rows:
                return None
            await log(transaction, entry)
            return _appeal(rows[0])

    async def untold(self, person: str, scope: str) -> tuple[Appeal, ...]:
        """Decisions that the person has not been told of, which from now on they have."""
        async with self._database.snapshot() as transaction:
            found = "SELECT 1 FROM appeals WHERE person = ? AND scope = ? AND state != 'open' AND told = 0 LIMIT 1"
            if not await transaction.run(found, person, scope):  # as nearly always, and reading costs no sync
                return ()
        async with self._database.transaction() as transaction:
            rows = await transaction.run(
                """UPDATE appeals SET told = 1 WHERE person = ? AND scope = ? AND state != 'open' AND told = 0
                   RETURNING *""",
                *(person, scope),
            )
            return tuple(map(_appeal, rows))

    async def allowed(self, person: str, scope: str) -> dict[str, frozenset[Layer]]:
        """For each digest that a moderator allowed this person in a scope, the layers that let it pass."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                "SELECT digest, layer FROM appeals WHERE person = ? AND scope = ? AND state = 'allowed'", person, scope
            )
        found: dict[str, frozenset[Layer]] = {}
        for row in rows:
            found[row["digest"]] = found.get(row["digest"], frozenset()) | {Layer(row["layer"])}
        return found

    async def report(self, report: Report, *, new_id: Callable[[], str]) -> bool:
        """Store a report; False if this person has reported the picture before."""
        async with self._database.transaction() as transaction:
            return bool(
                await transaction.run(
                    """INSERT INTO reports (id, created, job, idx, person, scope, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
                       ON CONFLICT (job, idx, person) DO NOTHING RETURNING id""",
                    *(new_id(), report.created, report.job, report.index, report.person, report.scope, report.reason),
                )
            )

    async def reports(self, scope: str | None, *, limit: int) -> tuple[Report, ...]:
        """Reports that nobody has dealt with, the oldest first; `scope` None is everywhere."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                """SELECT id, created, job, idx AS "index", person, scope, reason FROM reports
                   WHERE state = 'open' AND (? IS NULL OR scope = ?) ORDER BY created, rowid LIMIT ?""",
                *(scope, scope, limit),
            )
            return tuple(Report.model_validate(dict(row)) for row in rows)

    async def open_report(self, report: str, scope: str | None) -> Report | None:
        """One report of a scope that nobody has dealt with; None is any."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one(
                """SELECT id, created, job, idx AS "index", person, scope, reason FROM reports
                   WHERE id = ? AND state = 'open' AND (? IS NULL OR scope = ?)""",
                *(report, scope, scope),
            )
            return None if row is None else Report.model_validate(dict(row))

    async def close_report(self, report: str, entry: AuditEntry) -> bool:
        """Put a report of the entry's scope aside; False if there is none."""
        async with self._database.transaction() as transaction:
            closed = await transaction.run(
                "UPDATE reports SET state = 'closed' WHERE id = ? AND scope = ? AND state = 'open' RETURNING id",
                *(report, entry.scope),
            )
            if closed:
                await log(transaction, entry)
            return bool(closed)


def _appeal(row: sqlite3.Row) -> Appeal:
    values = {name: row[name] for name in row.keys() if name in Appeal.model_fields}  # noqa: SIM118  (a row, no dict)
    return Appeal.model_validate(values | {"index": row["idx"], "categories": tuple(json.loads(row["categories"]))})
