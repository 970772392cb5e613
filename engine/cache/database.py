"""The index's SQLite file: opened, checked, replaced when it can't be trusted, used one transaction at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import aiosqlite
import structlog

from engine.cache.faults import is_damaged, storage_error
from engine.cache.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from engine.errors import StorageError

BUSY_SECONDS = 10.0
"""How long another process may hold the write lock."""

T = TypeVar("T")
Work = Callable[[aiosqlite.Connection], Awaitable[T]]


class Database:
    """One connection to a file that is advisory: damaged, foreign or deleted under way, it is made anew.

    Args:
        path: of the SQLite file.
        fill: writes everything that the cache's files know into an empty index.
    """

    def __init__(self, path: Path, fill: Work[None]) -> None:
        self._path = path
        self._fill = fill
        self._connection: aiosqlite.Connection | None = None
        self._inode = 0
        self._opened = False
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger("engine.cache")

    async def open(self) -> None:
        """Open the index, or build it.

        Raises:
            StorageError: the folder can't be written.
        """
        async with self._lock:
            await self._guarded(self._open_or_make())
            self._opened = True

    async def close(self) -> None:
        """Close the connection after what is running."""
        async with self._lock:
            self._opened = False
            await self._disconnect()

    async def run(self, work: Work[T]) -> T:
        """Do some work as one transaction; where the index turns out damaged, on a new one again.

        Raises:
            StorageError: the disk is full or read-only, or another process keeps the index busy.
        """
        async with self._lock:
            return await self._guarded(self._attempt(work))

    async def _guarded(self, attempt: Awaitable[T]) -> T:
        try:
            return await attempt
        except (OSError, sqlite3.Error) as error:
            raise storage_error(error) from error

    async def _attempt(self, work: Work[T]) -> T:
        if not self._opened:
            raise StorageError("The picture cache is closed.")
        if self._connection is None or self._current_inode() != self._inode:
            await self._open_or_make()
        try:
            return await self._transaction(work)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._log.warning("cache index damaged, rebuilding it", cause=repr(error))
        await self._open_or_make(distrusted=self._inode)
        return await self._transaction(work)

    async def _transaction(self, work: Work[T]) -> T:
        connection = self._connected()
        try:
            await connection.execute("BEGIN IMMEDIATE")
            result = await work(connection)
            await connection.execute("COMMIT")
        except BaseException:
            # A caller cancelled during BEGIN or COMMIT leaves either behind a transaction or none.
            with suppress(sqlite3.OperationalError):
                await connection.execute("ROLLBACK")
            raise
        return result

    def _connected(self) -> aiosqlite.Connection:
        assert self._connection is not None  # noqa: S101  (opened by whoever holds the lock)
        return self._connection

    async def _open_or_make(self, distrusted: int = -1) -> None:
        """Open the file, unless it is the distrusted one; make a new one where that fails.

        The lock file lets one process build while the others wait for it.
        """
        await self._disconnect()
        try:
            if distrusted < 0 and await self._open_existing():
                return
            from filelock import AsyncFileLock

            async with AsyncFileLock(f"{self._path}.lock"):
                if self._current_inode() == distrusted or not await self._open_existing():
                    await self._make()
        except BaseException:
            await self._disconnect()  # what was not checked, or half filled, must not be taken for an index
            raise

    async def _open_existing(self) -> bool:
        if not self._current_inode():
            return False
        try:
            await self._connect()
            if await self._is_ours():
                return True
        except sqlite3.Error as error:
            if not is_damaged(error):
                await self._disconnect()
                raise
        await self._disconnect()
        return False

    async def _connect(self) -> None:
        self._connection = await aiosqlite.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        self._inode = self._current_inode()
        await self._connection.execute("PRAGMA synchronous = NORMAL")
        await self._connection.execute("PRAGMA foreign_keys = ON")

    async def _is_ours(self) -> bool:
        connection = self._connected()
        for pragma, expected in (("application_id", APPLICATION_ID), ("user_version", SCHEMA_VERSION)):
            async with connection.execute(f"PRAGMA {pragma}") as cursor:
                if await cursor.fetchone() != (expected,):
                    return False
        async with connection.execute("SELECT complete FROM state") as cursor:
            return await cursor.fetchone() == (1,)

    async def _make(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        await self._connect()
        connection = self._connected()
        await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        await connection.executescript(f"BEGIN;{SCHEMA}COMMIT;")
        await connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        await connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        await self._transaction(self._fill_completely)

    async def _fill_completely(self, connection: aiosqlite.Connection) -> None:
        await self._fill(connection)
        await connection.execute("UPDATE state SET complete = 1")

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _current_inode(self) -> int:
        """The file's identity, by which a replaced index is noticed; 0 where there is none."""
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return 0
