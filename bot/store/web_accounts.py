"""Accounts of the web page, the secret that its cookies are signed with, and what guests have had today."""

from __future__ import annotations

import sqlite3

from bot.chat import Role
from bot.store.database import Database, Transaction
from engine.types import Value


class WebAccount(Value):
    """Somebody who may sign in."""

    name: str
    password: str
    """Its Argon2 hash."""
    role: Role
    version: str
    """Changes with the password; a session that names another one has ended."""
    created: float


class WebAccountTable:
    """Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> WebAccount | None:
        """The account of that name."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one("SELECT * FROM web_accounts WHERE name = ?", name)
            return None if row is None else _account(row)

    async def all(self) -> tuple[WebAccount, ...]:
        """Every account, by name."""
        async with self._database.snapshot() as transaction:
            return tuple(map(_account, await transaction.run("SELECT * FROM web_accounts ORDER BY name")))

    async def add(self, account: WebAccount, person: str) -> bool:
        """Store an account, whose person has no granted roles yet; False if the name is taken."""
        async with self._database.transaction() as transaction:
            added = await transaction.run(
                """INSERT INTO web_accounts (name, password, role, version, created) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT DO NOTHING RETURNING name""",
                *(account.name, account.password, account.role, account.version, account.created),
            )
            if added:
                await _drop_roles(transaction, person)
            return bool(added)

    async def has_left(self, name: str, person: str) -> bool:
        """Whether there is no account of that name, but jobs, appeals or reports of somebody who had it are kept."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one(
                """SELECT NOT EXISTS (SELECT 1 FROM web_accounts WHERE name = ?1) AND (
                     EXISTS (SELECT 1 FROM jobs WHERE person = ?2)
                     OR EXISTS (SELECT 1 FROM appeals WHERE person = ?2)
                     OR EXISTS (SELECT 1 FROM reports WHERE person = ?2)) AS has_left""",
                *(name, person),
            )
            return bool(row and row["has_left"])

    async def set_password(self, name: str, password: str, version: str) -> bool:
        """Store another hash, which ends the sessions unless `version` stays; False if there is no such account."""
        async with self._database.transaction() as transaction:
            return bool(
                await transaction.run(
                    "UPDATE web_accounts SET password = ?, version = ? WHERE name = ? RETURNING name",
                    *(password, version, name),
                )
            )

    async def remove(self, name: str, person: str) -> bool:
        """Remove an account, and the roles that were granted to its person; False if there is none."""
        async with self._database.transaction() as transaction:
            removed = await transaction.run("DELETE FROM web_accounts WHERE name = ? RETURNING name", name)
            if removed:
                await _drop_roles(transaction, person)
            return bool(removed)

    async def of_session(self, name: str, session: str) -> WebAccount | None:
        """The account of that name, unless this session of it was signed out."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one(
                """SELECT * FROM web_accounts WHERE name = ?
                   AND NOT EXISTS (SELECT 1 FROM web_sign_outs WHERE session = ?)""",
                *(name, session),
            )
            return None if row is None else _account(row)

    async def sign_out(self, session: str, *, now: float, until: float) -> None:
        """Remember that a session has ended, and forget those that would have expired by now."""
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM web_sign_outs WHERE until < ?", now)
            await transaction.run(
                "INSERT INTO web_sign_outs (session, until) VALUES (?, ?) ON CONFLICT DO NOTHING", session, until
            )

    async def secret(self, name: str, proposed: str) -> str:
        """The secret of that name; the proposed one from now on if there was none."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                "INSERT INTO web_secrets (name, secret) VALUES (?, ?) ON CONFLICT DO NOTHING", name, proposed
            )
            (row,) = await transaction.run("SELECT secret FROM web_secrets WHERE name = ?", name)
            kept: str = row["secret"]
            return kept

    async def charge_guest(self, address: str, day: str, pictures: int, limit: int) -> bool:
        """Count pictures to a guest's address and forget other days; False, counting none, where they exceed `limit`.

        Args:
            address: a keyed hash of it.
            day: today, `YYYY-MM-DD` in UTC.
            pictures: how many are asked for.
            limit: pictures a day from one address.
        """
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM web_guests WHERE day <> ?", day)
            row = await transaction.one("SELECT pictures FROM web_guests WHERE address = ? AND day = ?", address, day)
            if (row["pictures"] if row else 0) + pictures > limit:
                return False
            await transaction.run(
                """INSERT INTO web_guests (address, day, pictures) VALUES (?, ?, ?)
                   ON CONFLICT DO UPDATE SET pictures = pictures + excluded.pictures""",
                *(address, day, pictures),
            )
            return True

    async def refund_guest(self, address: str, day: str, pictures: int) -> None:
        """Give pictures back to a guest's address that were counted to it and not drawn."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                "UPDATE web_guests SET pictures = MAX(0, pictures - ?) WHERE address = ? AND day = ?",
                *(pictures, address, day),
            )


def _account(row: sqlite3.Row) -> WebAccount:
    return WebAccount.model_validate(dict(row))


async def _drop_roles(transaction: Transaction, person: str) -> None:
    await transaction.run("DELETE FROM roles WHERE person = ?", person)
