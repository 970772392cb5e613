"""Pictures that moderators withhold."""

from __future__ import annotations

from bot.store.database import Database
from bot.store.people import log
from bot.store.rows import EVERYWHERE, AuditEntry, Known, Quarantined


class QuarantineTable:
    """Every method is one transaction; an action and its line in the audit log are kept together or not at all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, picture: Quarantined, entry: AuditEntry) -> None:
        """Withhold a picture in a scope, with every picture that is known to be the same under another mark."""
        async with self._database.transaction() as transaction:
            known = await transaction.run(
                "SELECT DISTINCT generation_key FROM pictures WHERE key = ? AND generation_key IS NOT NULL", picture.key
            )
            for key in {picture.key, *(row["generation_key"] for row in known)}:
                await transaction.run(
                    """INSERT INTO quarantine (key, scope, owner, prompt, actor, created) VALUES (?, ?, ?, ?, ?, ?)
                       ON CONFLICT DO NOTHING""",
                    *(key, picture.scope, picture.owner, picture.prompt, picture.actor, picture.created),
                )
            await log(transaction, entry)

    async def find(self, prefix: str, scope: str | None) -> tuple[Known, ...]:
        """Two of the pictures drawn in a scope whose key begins so, by whoever asked first; None is everywhere.

        Those are found as well whose files are gone, or belong to all communities.
        """
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                """WITH found AS (
                     SELECT CASE WHEN substr(p.key, 1, ?1) = ?2 THEN p.key ELSE p.generation_key END AS key,
                            j.person AS owner, json_extract(j.asked, '$[' || p.idx || '].prompt') AS prompt,
                            j.created AS created
                     FROM pictures AS p JOIN jobs AS j ON j.id = p.job
                     WHERE ?2 IN (substr(p.key, 1, ?1), substr(p.generation_key, 1, ?1))
                       AND (?3 IS NULL OR j.platform || ':' || j.workspace = ?3))
                   SELECT key, owner, prompt, min(created) FROM found GROUP BY key LIMIT 2""",
                *(len(prefix), prefix, scope),
            )
            return tuple(Known(key=row["key"], owner=row["owner"], prompt=row["prompt"]) for row in rows)

    async def release(self, prefix: str, scope: str | None, entry: AuditEntry) -> int:
        """Let pictures of a scope go whose key begins so, and those that went in with them; returns how many."""
        async with self._database.transaction() as transaction:
            released = await transaction.run(
                """DELETE FROM quarantine WHERE (? IS NULL OR scope = ?) AND created IN
                   (SELECT created FROM quarantine WHERE substr(key, 1, ?) = ? AND (? IS NULL OR scope = ?))
                   RETURNING key""",
                *(scope, scope, len(prefix), prefix, scope, scope),
            )
            if released:
                await log(transaction, entry)
            return len(released)

    async def list(self, scope: str | None, *, limit: int) -> tuple[Quarantined, ...]:
        """What is withheld in a scope, the latest first; None is everywhere."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                """SELECT * FROM quarantine WHERE ? IS NULL OR scope IN (?, ?)
                   ORDER BY created DESC, key LIMIT ?""",
                *(scope, scope, EVERYWHERE, limit),
            )
            return tuple(Quarantined.model_validate(dict(row)) for row in rows)

    async def holds(self, scope: str, *keys: str) -> bool:
        """Whether one of these keys is withheld in a scope."""
        async with self._database.snapshot() as transaction:
            slots = ", ".join("?" * len(keys))
            return bool(
                await transaction.run(
                    f"SELECT 1 FROM quarantine WHERE key IN ({slots}) AND scope IN (?, ?) LIMIT 1",  # noqa: S608
                    *(*keys, scope, EVERYWHERE),
                )
            )
