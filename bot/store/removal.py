"""Taking things out again: deleted pictures, people who want to be forgotten, and what has grown old."""

from __future__ import annotations

from collections.abc import Sequence

from bot.store.codec import load
from bot.store.database import Database, Transaction
from bot.store.people import log
from bot.store.pseudonyms import pseudonym
from bot.store.rows import IN_FLIGHT, AuditEntry, Forgotten, JobRow

CHUNK = 200
"""Jobs that one transaction prunes."""
_IN_FLIGHT = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT))
_KEYS = """SELECT 1 FROM pictures AS p JOIN jobs AS j ON j.id = p.job
           WHERE p.generation_key = ? AND p.state = 'rendered' AND p.deleted IS NULL"""


class RemovalTable:
    """Every method is one transaction, but for `prune`, which takes several so that others get their turn."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete_pictures(
        self, job: str, indices: Sequence[int], *, now: float, entry: AuditEntry | None = None
    ) -> JobRow | None:
        """Mark pictures as deleted, close reports of them and write the entry; returns the job as it is then."""
        async with self._database.transaction() as transaction:
            for index in indices:
                await transaction.run(
                    "UPDATE pictures SET deleted = coalesce(deleted, ?), source = NULL WHERE job = ? AND idx = ?",
                    *(now, job, index),
                )
                await transaction.run("UPDATE reports SET state = 'closed' WHERE job = ? AND idx = ?", job, index)
            await _drop_unused_sources(transaction)
            if entry is not None:
                await log(transaction, entry)
            return await load(transaction, job)

    async def needed(self, generation_key: str, *, other_than: str | None, outside: str | None) -> bool:
        """Whether a picture that stands somewhere has this key: of another person, or outside a community."""
        condition, value = (
            ("j.person != ?", other_than)
            if outside is None
            else (
                "j.platform || ':' || j.workspace != ?",
                outside,
            )
        )
        async with self._database.snapshot() as transaction:
            return bool(await transaction.run(f"{_KEYS} AND {condition} LIMIT 1", generation_key, value))

    async def details(self, scope: str, action: str, *, begin: str) -> tuple[str, ...]:
        """The details of such actions in the audit log of a community that begin so."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                "SELECT detail FROM audit WHERE scope = ? AND action = ? AND substr(detail, 1, ?) = ?",
                *(scope, action, len(begin), begin),
            )
            return tuple(row["detail"] for row in rows)

    async def extent(self, person: str) -> Forgotten:
        """What would go if the person were forgotten."""
        async with self._database.snapshot() as transaction:
            return await _extent(transaction, person)

    async def in_flight(self, person: str) -> tuple[str, ...]:
        """Ids of the person's jobs that have not ended."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                f"SELECT id FROM jobs WHERE person = ? AND state IN ({_IN_FLIGHT})",  # noqa: S608
                person,
            )
            return tuple(row["id"] for row in rows)

    async def forget(self, person: str, *, today: str) -> Forgotten:
        """Delete a person's jobs, prompts, appeals and reports, their roles and their counts but today's.

        Bans, the audit log and today's count stay under a name that nobody can read the person off.
        """
        async with self._database.transaction() as transaction:
            extent = await _extent(transaction, person)
            name = await pseudonym(transaction, person)
            for table in ("jobs", "appeals", "reports", "roles"):
                await transaction.run(f"DELETE FROM {table} WHERE person = ?", person)  # noqa: S608
            await _drop_unused_sources(transaction)
            await transaction.run("DELETE FROM usage WHERE person = ? AND day != ?", person, today)
            await transaction.run(
                """INSERT INTO usage (person, day, scope, pictures)
                   SELECT ?, day, scope, pictures FROM usage WHERE person = ?
                   ON CONFLICT DO UPDATE SET pictures = pictures + excluded.pictures""",
                *(name, person),
            )
            await transaction.run("DELETE FROM usage WHERE person = ?", person)
            await transaction.run("UPDATE OR REPLACE bans SET person = ? WHERE person = ?", name, person)
            await transaction.run("UPDATE quarantine SET prompt = '', owner = ? WHERE owner = ?", name, person)
            for table, column in _RECORDS:
                await transaction.run(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", name, person)  # noqa: S608
            return extent

    async def prune(self, *, before: float, before_day: str) -> int:
        """Delete ended jobs that were last touched before a moment, and older counts; returns jobs deleted."""
        pruned = 0
        while True:
            async with self._database.transaction() as transaction:
                gone = await transaction.run(
                    f"""DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE created < ? AND updated < ?
                        AND state NOT IN ({_IN_FLIGHT}) LIMIT ?) RETURNING id""",  # noqa: S608
                    *(before, before, CHUNK),
                )
                pruned += len(gone)
                if len(gone) < CHUNK:
                    await _drop_unused_sources(transaction)
                    await transaction.run("DELETE FROM usage WHERE day < ?", before_day)
                    return pruned


_RECORDS = (
    ("audit", "actor"),
    ("audit", "target"),
    ("bans", "actor"),
    ("roles", "actor"),
    ("appeals", "actor"),
    ("community_settings", "actor"),
    ("quarantine", "actor"),
)
"""Where the records name people."""


async def _extent(transaction: Transaction, person: str) -> Forgotten:
    row = await transaction.one(
        """SELECT
             (SELECT count(*) FROM jobs WHERE person = ?1) AS jobs,
             (SELECT count(*) FROM pictures JOIN jobs ON jobs.id = pictures.job
              WHERE person = ?1 AND pictures.state = 'rendered' AND deleted IS NULL) AS pictures,
             (SELECT count(*) FROM appeals WHERE person = ?1) AS appeals,
             (SELECT count(*) FROM reports WHERE person = ?1) AS reports""",
        person,
    )
    return Forgotten.model_validate(dict(row or {}))


async def _drop_unused_sources(transaction: Transaction) -> None:
    await transaction.run(
        "DELETE FROM sources WHERE NOT EXISTS (SELECT 1 FROM pictures WHERE pictures.source = sources.sha256)"
    )
