"""Usage, bans, roles and the audit log."""

from __future__ import annotations

import sqlite3

from bot.chat import Role
from bot.store.database import Database, Transaction
from bot.store.pseudonyms import pseudonym
from bot.store.rows import EVERYWHERE, AuditEntry, Ban


class PeopleTable:
    """Every method is one transaction; an action and its line in the audit log are kept together or not at all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def used(self, person: str, day: str, scope: str | None = None) -> int:
        """Pictures that a person asked for on a day (`YYYY-MM-DD`, UTC); `scope` None is all communities."""
        async with self._database.snapshot() as transaction:
            (row,) = await transaction.run(
                """SELECT coalesce(sum(pictures), 0) AS pictures FROM usage
                   WHERE person IN (?, ?) AND day = ? AND (? IS NULL OR scope = ?)""",
                *(person, await pseudonym(transaction, person), day, scope, scope),
            )
            used: int = row["pictures"]
            return used

    async def ban_of(self, person: str, scope: str, *, now: float) -> Ban | None:
        """The ban that keeps a person from asking in a scope, one for every community first."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one(
                """SELECT * FROM bans WHERE person IN (?, ?) AND scope IN (?, ?) AND (until IS NULL OR until > ?)
                   ORDER BY scope = ? DESC LIMIT 1""",
                *(person, await pseudonym(transaction, person), scope, EVERYWHERE, now, EVERYWHERE),
            )
            return None if row is None else _ban(row)

    async def bans(self, scope: str, *, now: float) -> tuple[Ban, ...]:
        """Bans that hold in a scope, the latest first."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                """SELECT * FROM bans WHERE scope IN (?, ?) AND (until IS NULL OR until > ?)
                   ORDER BY created DESC, person""",
                *(scope, EVERYWHERE, now),
            )
            return tuple(map(_ban, rows))

    async def ban(self, ban: Ban, entry: AuditEntry) -> None:
        """Ban a person from a scope, or change their ban there."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                """INSERT INTO bans (person, scope, reason, until, actor, created) VALUES (?, ?, ?, ?, ?, ?)
                   ON CONFLICT DO UPDATE SET reason = excluded.reason, until = excluded.until,
                   actor = excluded.actor, created = excluded.created""",
                *(ban.person, ban.scope, ban.reason, ban.until, ban.actor, ban.created),
            )
            await log(transaction, entry)

    async def unban(self, person: str, scope: str, entry: AuditEntry) -> bool:
        """Lift a ban; False if there was none."""
        async with self._database.transaction() as transaction:
            lifted = await transaction.run(
                "DELETE FROM bans WHERE person IN (?, ?) AND scope = ? RETURNING person",
                *(person, await pseudonym(transaction, person), scope),
            )
            if lifted:
                await log(transaction, entry)
            return bool(lifted)

    async def role(self, person: str, scope: str) -> Role:
        """The role that was granted to a person in a scope."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one("SELECT role FROM roles WHERE person = ? AND scope = ?", person, scope)
            return Role.MEMBER if row is None else Role(row["role"])

    async def grant(self, person: str, role: Role, entry: AuditEntry) -> None:
        """Give a person a role in the entry's scope."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                """INSERT INTO roles (person, scope, role, actor, created) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT DO UPDATE SET role = excluded.role, actor = excluded.actor,
                   created = excluded.created""",
                *(person, entry.scope, role, entry.actor, entry.created),
            )
            await log(transaction, entry)

    async def revoke(self, person: str, entry: AuditEntry) -> bool:
        """Take a person's role in the entry's scope away; False if there was none."""
        async with self._database.transaction() as transaction:
            taken = await transaction.run(
                "DELETE FROM roles WHERE person = ? AND scope = ? RETURNING person", person, entry.scope
            )
            if taken:
                await log(transaction, entry)
            return bool(taken)

    async def log(self, entry: AuditEntry) -> None:
        """Write down something that a moderator did."""
        async with self._database.transaction() as transaction:
            await log(transaction, entry)

    async def audit(self, scope: str | None, *, limit: int, offset: int) -> tuple[AuditEntry, ...]:
        """What moderators did in a scope, the latest first; `scope` None is everywhere."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run(
                """SELECT created, actor, action, target, scope, detail FROM audit
                   WHERE ? IS NULL OR scope = ? ORDER BY id DESC LIMIT ? OFFSET ?""",
                *(scope, scope, limit, offset),
            )
            return tuple(AuditEntry.model_validate(dict(row)) for row in rows)


def _ban(row: sqlite3.Row) -> Ban:
    return Ban.model_validate(dict(row))


async def log(transaction: Transaction, entry: AuditEntry) -> None:
    """Write a line of the audit log."""
    await transaction.run(
        "INSERT INTO audit (created, actor, action, target, scope, detail) VALUES (?, ?, ?, ?, ?, ?)",
        *(entry.created, entry.actor, entry.action, entry.target, entry.scope, entry.detail),
    )
