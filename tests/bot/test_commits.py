"""Writers that wait for one another share a commit, and neither failure nor cancellation of one touches another."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import DatabaseError
from bot.store.database import Database

INSERT = "INSERT INTO usage VALUES (?, '2026-11-29', 's', 1)"
ORPHAN = "INSERT INTO pictures (job, idx) VALUES ('nobody', 0)"


class FailedError(Exception):
    """What a body raises."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "easel.db")
    yield database
    await database.close()


def stored(database: Database) -> set[str]:
    """What another process sees."""
    with closing(sqlite3.connect(database.path)) as other:
        return {name for (name,) in other.execute("SELECT person FROM usage")}


async def write(database: Database, name: str, then: str = "ends", written: asyncio.Event | None = None) -> None:
    async with database.transaction(urgent=then == "is urgent") as transaction:
        await transaction.run(INSERT, name)
        if written is not None:
            written.set()
        if then == "fails":
            raise FailedError
        if then == "hangs":
            await asyncio.Event().wait()


async def traced(database: Database) -> list[str]:
    statements: list[str] = []
    await database._writing.set_trace_callback(statements.append)
    return statements


async def test_writers_that_wait_share_a_commit(database: Database) -> None:
    statements = await traced(database)
    await asyncio.gather(*(write(database, str(number)) for number in range(50)))
    assert statements.count("COMMIT") < 5
    assert len(stored(database)) == 50


async def test_alone_a_writer_needs_nothing_but_a_transaction(database: Database) -> None:
    statements = await traced(database)
    await write(database, "ann")
    await write(database, "bob")
    assert [each for each in statements if not each.startswith("INSERT")] == ["BEGIN IMMEDIATE", "COMMIT"] * 2


async def test_what_is_urgent_goes_before_those_who_wait(database: Database) -> None:
    begun, order = asyncio.Event(), []

    async def mark(name: str, *, urgent: bool = False) -> None:
        async with database.transaction(urgent=urgent) as transaction:
            order.append(name)
            await transaction.run(INSERT, name)
        assert name in stored(database)

    first = asyncio.create_task(write(database, "first", "hangs", begun))
    await begun.wait()
    others = [asyncio.create_task(mark(name)) for name in ("second", "cancelled", "third")]
    others.append(asyncio.create_task(mark("urgent", urgent=True)))
    await asyncio.sleep(0)
    others[1].cancel()
    first.cancel()
    await asyncio.gather(first, *others, return_exceptions=True)
    assert order == ["urgent", "second", "third"]
    assert stored(database) == {"urgent", "second", "third"}


async def test_nobody_goes_on_before_what_they_wrote_is_there_for_all(database: Database) -> None:
    async def see(number: int) -> bool:
        await write(database, str(number))
        return str(number) in stored(database)

    assert all(await asyncio.gather(*map(see, range(20))))


@given(plan=st.lists(st.sampled_from(["ends", "is urgent", "fails", "hangs"]), min_size=1, max_size=12))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_exactly_what_ended_well_is_kept(tmp_path: Path, plan: list[str]) -> None:
    async def run() -> None:
        (tmp_path / "easel.db").unlink(missing_ok=True)
        database = await Database.open(tmp_path / "easel.db")
        written = [asyncio.Event() for _ in plan]
        writers = [asyncio.create_task(write(database, str(i), then, written[i])) for i, then in enumerate(plan)]
        for i, then in enumerate(plan):
            if then == "hangs":
                await written[i].wait()
                writers[i].cancel()
        results = await asyncio.gather(*writers, return_exceptions=True)
        kinds = {"ends": type(None), "is urgent": type(None), "fails": FailedError, "hangs": asyncio.CancelledError}
        assert [type(result) for result in results] == [kinds[then] for then in plan]
        assert stored(database) == {str(i) for i, then in enumerate(plan) if kinds[then] is type(None)}
        await database.close()

    asyncio.run(run())


async def test_who_is_cancelled_while_others_commit_takes_nothing_back(database: Database) -> None:
    written = asyncio.Event()
    writers = [asyncio.create_task(write(database, name)) for name in ("ann", "bob")]
    writers.append(asyncio.create_task(write(database, "eve", written=written)))
    await written.wait()
    writers[0].cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await write(database, "next")
    assert stored(database) == {"ann", "bob", "eve", "next"}


async def test_a_commit_that_fails_is_told_to_all_who_shared_it(database: Database) -> None:
    async def orphan() -> None:
        async with database.transaction() as transaction:
            await transaction.run("PRAGMA defer_foreign_keys = ON")
            await transaction.run(ORPHAN)

    results = await asyncio.gather(orphan(), write(database, "ann"), write(database, "bob"), return_exceptions=True)
    assert [type(result) for result in results] == [sqlite3.IntegrityError] * 3
    await write(database, "next")
    assert stored(database) == {"next"}


async def test_what_sqlite_takes_back_by_itself_is_told_to_all_whose_it_was(database: Database) -> None:
    async def disk_fails() -> None:
        async with database.transaction() as transaction:
            await transaction.run("ROLLBACK")  # as SQLite does when the disk is full in mid-transaction
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    results = await asyncio.gather(write(database, "ann"), disk_fails(), write(database, "bob"), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseError, DatabaseError, type(None)]
    assert stored(database) == {"bob"}


async def test_readers_wait_for_no_writer_and_see_no_half(database: Database) -> None:
    await write(database, "ann")
    written = asyncio.Event()
    hanging = asyncio.create_task(write(database, "bob", "hangs", written))
    await written.wait()
    async with database.snapshot() as transaction:
        assert [row["person"] for row in await transaction.run("SELECT person FROM usage")] == ["ann"]
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError):
        async with database.snapshot() as transaction:
            await transaction.run(INSERT, "ann")


async def test_closing_keeps_what_waits_for_its_commit(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        database = await Database.open(tmp_path / "easel.db")
        stack.push_async_callback(database.close)
        written = asyncio.Event()
        writers = [asyncio.create_task(write(database, str(number), written=written)) for number in range(5)]
        await written.wait()
        await database.close()
        results = await asyncio.gather(*writers, return_exceptions=True)
        kept = {str(number) for number, result in enumerate(results) if result is None}
        assert stored(database) == kept
        assert all(result is None or isinstance(result, DatabaseError) for result in results)
        assert kept
