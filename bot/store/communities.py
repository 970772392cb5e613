"""What communities set for themselves."""

from __future__ import annotations

import json
from typing import Any

from bot.store.database import Database
from bot.store.people import log
from bot.store.rows import AuditEntry


class CommunityTable:
    """Settings by scope and name; a change and its line in the audit log are kept together or not at all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settings(self, scope: str) -> dict[str, Any]:
        """All that a community has set."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run("SELECT name, value FROM community_settings WHERE scope = ?", scope)
            return {row["name"]: json.loads(row["value"]) for row in rows}

    async def put(self, name: str, value: Any, entry: AuditEntry) -> None:  # noqa: ANN401  (whatever JSON holds)
        """Set one value in the entry's scope."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                """INSERT INTO community_settings (scope, name, value, actor, updated) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT DO UPDATE SET value = excluded.value, actor = excluded.actor,
                   updated = excluded.updated""",
                *(entry.scope, name, json.dumps(value), entry.actor, entry.created),
            )
            await log(transaction, entry)

    async def drop(self, name: str, entry: AuditEntry) -> bool:
        """Take one value back in the entry's scope; False if it wasn't set."""
        async with self._database.transaction() as transaction:
            dropped = await transaction.run(
                "DELETE FROM community_settings WHERE scope = ? AND name = ? RETURNING name", entry.scope, name
            )
            if dropped:
                await log(transaction, entry)
            return bool(dropped)
