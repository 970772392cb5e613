"""Transactions that share a commit, so that a slow disk is asked once for all who wait for it.

A commit costs a flush to the disk, and a job takes several. So whoever has written queues once more, behind those who
wait to write; the first whose turn comes commits for all who wrote before. Alone, that is at once; the more there are,
the more share a flush. Nobody goes on before the commit of what they wrote.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiosqlite


class Group:
    """Transactions that will be committed together."""

    def __init__(self) -> None:
        self.commit: asyncio.Task[None] | None = None
        """Made by the first that has written."""
        self.error: sqlite3.Error | None = None
        """Why all that they wrote is lost."""

    def check(self) -> None:
        """Raise that error, if there is one."""
        if self.error is not None:
            raise self.error


class Turns:
    """A lock: urgent ones get it first, others in the order of their coming."""

    def __init__(self) -> None:
        self._taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Hold it."""
        if self._taken:
            await self._wait(self._urgent if urgent else self._others)
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, lane: deque[asyncio.Future[None]]) -> None:
        called = asyncio.get_running_loop().create_future()
        lane.append(called)
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Call the next one, who holds it from now on."""
        for lane in (self._urgent, self._others):
            while lane:
                called = lane.popleft()
                if not called.done():
                    called.set_result(None)
                    return
        self._taken = False


class SharedCommits:
    """The turns of those who write by one connection."""

    def __init__(self, connection: aiosqlite.Connection, check: Callable[[], None]) -> None:
        """`check` is called in every turn before the connection is used, and raises if it may not be."""
        self._connection = connection
        self._check = check
        self._turns = Turns()
        self._open: Group | None = None

    @asynccontextmanager
    async def transaction(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """What the body writes is on disk when this ends, or nothing of it if the body raises or is cancelled.

        What is urgent waits for nobody but the one whose turn it is, and commits at once.

        Raises:
            sqlite3.Error: it can't be written.
        """
        async with self._turns.turn(urgent=urgent):
            self._check()
            group, others = await self._join()
            try:
                yield
            except BaseException as error:
                await self._undo(group, error, others=others)
                raise
            if others:
                await self._run("RELEASE mine")
            if urgent:
                await self._end(group)
                group.check()
                return
            commit = self._commit_of(group)
        await asyncio.shield(commit)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The turn of somebody who uses the connection otherwise; what was written is committed first."""
        async with self._turns.turn():
            if self._open is not None:
                await self._end(self._open)
            yield

    async def _join(self) -> tuple[Group, bool]:
        """The group that takes the next body, and whether others are in it, whose work must outlive its failure."""
        if self._open is not None:
            await self._run("SAVEPOINT mine")
            return self._open, True
        try:
            await self._run("BEGIN IMMEDIATE")
        except BaseException:
            await self._connection.rollback()  # statements run in the order they were given, cancelled or not
            raise
        self._open = Group()
        return self._open, False

    async def _undo(self, group: Group, error: BaseException, *, others: bool) -> None:
        """Take back what a body wrote, and nothing else unless SQLite did, as it may where the disk fails."""
        if others:
            try:
                await self._run("ROLLBACK TO mine")
                await self._run("RELEASE mine")
            except sqlite3.Error as lost:
                group.error = error if isinstance(error, sqlite3.Error) else lost
            else:
                return
        self._open = None
        await self._connection.rollback()

    def _commit_of(self, group: Group) -> asyncio.Task[None]:
        """The task that will commit the group, whoever is cancelled meanwhile."""
        if group.commit is None:
            group.commit = asyncio.create_task(self._commit(group))
            group.commit.add_done_callback(_note)
        return group.commit

    async def _commit(self, group: Group) -> None:
        async with self._turns.turn():  # also where somebody else commits the group: only then has it been done
            if self._open is group:
                await self._end(group)
        group.check()

    async def _end(self, group: Group) -> None:
        self._open = None
        try:
            await self._run("COMMIT")
        except sqlite3.Error as error:
            group.error = error
            await self._connection.rollback()

    async def _run(self, sql: str) -> None:
        await self._connection.execute_fetchall(sql)


def _note(commit: asyncio.Task[None]) -> None:
    """Whoever waits for a commit gets its error; asyncio need not complain where nobody is left."""
    if not commit.cancelled():
        commit.exception()
