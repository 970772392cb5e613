"""The database file: opening, migrating, transactions, and one clear sentence for everything that can be wrong with it.

SQLite's write-ahead log lets the command line read while the bot writes; `synchronous=FULL` means that what was
committed survives a power cut (sqlite.org/pragma.html).
"""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiosqlite
from filelock import FileLock, Timeout

from bot import messages
from bot.errors import DatabaseError
from bot.store.commits import SharedCommits

BUSY_SECONDS = 10.0
"""How long a write waits for another process's write."""


class Transaction:
    """What may be done between begin and commit."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def run(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:  # noqa: ANN401  (whatever SQLite binds)
        """Execute one statement and return its rows."""
        return list(await self._connection.execute_fetchall(sql, parameters))

    async def one(self, sql: str, *parameters: Any) -> sqlite3.Row | None:  # noqa: ANN401
        """Execute one statement and return its first row, if there is one."""
        rows = await self.run(sql, *parameters)
        return rows[0] if rows else None


class Database:
    """Two connections to the file: one for those who write, who take turns, and one for those who read meanwhile."""

    def __init__(self, path: Path, writing: aiosqlite.Connection, reading: aiosqlite.Connection) -> None:
        self.path = path
        self._writing = writing
        self._commits = SharedCommits(writing, self._refuse_closed)
        self._reading = reading
        self._reader = asyncio.Lock()
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the file, make it if there is none, and bring its schema up to date.

        Raises:
            DatabaseError: it is damaged, newer than this program, or can't be written.
        """
        with _translated(path):
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
            # Switching to the write-ahead log and migrating are done by one process at a time.
            lock = FileLock(path.with_name(path.name + ".lock"), timeout=BUSY_SECONDS, thread_local=False)
            await asyncio.to_thread(lock.acquire)
            try:
                return await cls._open(path)
            finally:
                lock.release()

    @classmethod
    async def _open(cls, path: Path) -> Database:
        unclean = await asyncio.to_thread(_has_leftovers, path)
        async with AsyncExitStack() as opened:
            writing = await _connect(path, opened, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
            reading = await _connect(path, opened, "query_only=ON")
            database = cls(path, writing, reading)
            if unclean:
                await database.check()
            await database._migrate()
            opened.pop_all()
        return database

    async def close(self) -> None:
        """Close the file once what is going on is over; safe to call twice."""
        async with self._commits.alone(), self._reader:
            self._closed = True
            await self._reading.close()
            await self._writing.close()

    async def check(self) -> None:
        """Read the whole file and compare its structure.

        Raises:
            DatabaseError: it is damaged.
        """
        async with self.snapshot() as transaction:
            ((row,),) = await transaction.run("PRAGMA quick_check(1)")
        if row != "ok":
            raise DatabaseError(messages.say("database.damaged", path=self.path))

    @asynccontextmanager
    async def transaction(self, *, urgent: bool = False) -> AsyncIterator[Transaction]:
        """Read and write: everything in the body is kept, or nothing if it raises or is cancelled.

        What is urgent goes before others who wait to write.

        Raises:
            DatabaseError: the file is damaged, full, read-only or busy.
        """
        with _translated(self.path):
            async with self._commits.transaction(urgent=urgent):
                yield Transaction(self._writing)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """Read several rows as they were at one moment, while others write.

        Raises:
            DatabaseError: the file is damaged.
        """
        async with self._reader:
            self._refuse_closed()
            with _translated(self.path):
                try:
                    await self._reading.execute_fetchall("BEGIN DEFERRED")
                    yield Transaction(self._reading)
                finally:
                    # Statements run in the order they were given, cancelled or not.
                    await self._reading.rollback()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise DatabaseError(messages.say("database.closed"))

    async def _migrate(self) -> None:
        ((found,),) = await self._writing.execute_fetchall("PRAGMA user_version")
        scripts = _migrations()
        if found > len(scripts):
            raise DatabaseError(messages.say("database.newer", path=self.path, found=found, known=len(scripts)))
        for version, script in enumerate(scripts[found:], start=found + 1):
            # executescript commits before it begins, so the transaction is part of the script.
            whole = f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;"
            try:
                await self._writing.executescript(whole)
            except BaseException:
                await self._writing.rollback()
                raise


async def _connect(path: Path, opened: AsyncExitStack, *pragmas: str) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    opened.push_async_callback(connection.close)
    connection.row_factory = sqlite3.Row
    for pragma in pragmas:
        await connection.execute_fetchall(f"PRAGMA {pragma}")
    return connection


def _has_leftovers(path: Path) -> bool:
    """Whether a process still has the file open or ended without closing it."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _migrations() -> list[str]:
    scripts = sorted((files("bot") / "migrations").iterdir(), key=lambda script: script.name)
    return [script.read_text(encoding="utf-8") for script in scripts if script.name.endswith(".sql")]


_SENTENCES: dict[int, str] = {
    sqlite3.SQLITE_CORRUPT: "database.damaged",
    sqlite3.SQLITE_NOTADB: "database.damaged",
    sqlite3.SQLITE_FULL: "database.full",
    sqlite3.SQLITE_IOERR: "database.unreadable",
    sqlite3.SQLITE_READONLY: "database.unwritable",
    sqlite3.SQLITE_CANTOPEN: "database.unwritable",
    sqlite3.SQLITE_PERM: "database.unwritable",
    sqlite3.SQLITE_BUSY: "database.busy",
    sqlite3.SQLITE_LOCKED: "database.busy",
}


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what the operator can mend into a DatabaseError; mistakes of our own pass through."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code (sqlite.org/rescode.html).
        key = _SENTENCES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if key is None:
            raise
        raise DatabaseError(messages.say(key, path=path)) from error
    except Timeout as error:
        raise DatabaseError(messages.say("database.busy", path=path)) from error
    except OSError as error:
        key = "database.full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "database.unwritable"
        raise DatabaseError(messages.say(key, path=path)) from error
