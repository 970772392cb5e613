"""The database: made from nothing, migrated, refused when newer, and a clear sentence for everything wrong with it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import DatabaseError
from bot.jobs import JobRow, JobState
from bot.store import Store, database
from bot.store.rows import DeliveryRow, Figures, PictureRow, PictureState, settled
from engine.types import MAX_SEED, Cached, ImageRequest, Layer
from tests.bot.workbench import ANN, HOME, NOON, resolved

TABLES = {"jobs", "pictures", "deliveries", "usage", "bans", "roles", "audit"}


def row(event: str = "event", *, pictures: int = 1, created: float = NOON, runner: str = "r1", seed: int = 7) -> JobRow:
    return JobRow(
        id="",
        event=event,
        place=HOME.model_copy(update={"thread": "thread"}),
        requester=ANN.model_copy(update={"locale": "de"}),
        reply_to="reply",
        command="imagine",
        asked=tuple(ImageRequest(prompt=f"äpfel {n}") for n in range(pictures)),
        requests=tuple(resolved(f"äpfel {n}", seed=seed) for n in range(pictures)),
        seeds_free=True,
        runner=runner,
        created=created,
        updated=created,
    )


def allow(_: Figures) -> None:
    """Any number of jobs."""


def content(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "easel.db"


async def test_a_new_database_has_every_table_and_is_safe_against_power_cuts(path: Path) -> None:
    async with Store.open(path) as store:
        async with store._database.transaction() as transaction:
            tables = {line["name"] for line in await transaction.run("SELECT name FROM sqlite_schema")}
            pragmas = [
                (await transaction.run(f"PRAGMA {name}"))[0][0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
            ]
        assert tables >= TABLES
        assert pragmas == ["wal", 2, 1, len(database._migrations())]
        await store.check()
    async with Store.open(path) as again:
        assert again.path == path


async def test_a_job_comes_back_as_it_was_given(path: Path) -> None:
    async with Store.open(path) as store:
        given = row(pictures=2, seed=MAX_SEED)
        stored, duplicate = await store.jobs.accept(given, new_id=lambda: "aaaa0001", judge=allow)
    async with Store.open(path) as store:
        found = await store.jobs.get("aaaa0001")
    pictures = (PictureRow(index=0), PictureRow(index=1))
    expected = given.model_copy(update={"id": "aaaa0001", "state": JobState.QUEUED, "pictures": pictures})
    assert (found, stored, duplicate) == (expected, expected, False)


async def test_a_picture_comes_back_as_it_ended(path: Path) -> None:
    ends = (
        PictureRow(
            index=0,
            state=PictureState.RENDERED,
            key="k",
            generation_key="g",
            seed=MAX_SEED,
            cached=Cached.UNMARKED,
            seconds={"draw": 1.5},
        ),
        PictureRow(index=1, state=PictureState.REFUSED, layer=Layer.KEYWORDS, categories=("gore", "weapons")),
        PictureRow(index=2, state=PictureState.FAILED, error="The GPU is gone."),
    )
    async with Store.open(path) as store:
        await store.jobs.accept(row(pictures=3), new_id=lambda: "a", judge=allow)
        assert await store.jobs.begin("a", "r1", now=NOON)
        for end in ends:
            assert await store.jobs.picture_ended("a", "r1", end)
        assert not await store.jobs.picture_ended("a", "r2", PictureRow(index=0))
        found = await store.jobs.get("a")
    assert found is not None
    assert found.pictures == ends
    assert (found.state, found.attempts) == (JobState.RUNNING, 1)


async def test_an_id_that_is_taken_is_not_given_twice(path: Path) -> None:
    ids = iter(["a", "a", "a", "b"])
    async with Store.open(path) as store:
        first, _ = await store.jobs.accept(row("one"), new_id=ids.__next__, judge=allow)
        second, _ = await store.jobs.accept(row("two"), new_id=ids.__next__, judge=allow)
    assert (first.id, second.id) == ("a", "b")


async def test_a_refused_job_leaves_nothing_behind(path: Path) -> None:
    def refuse(_: Figures) -> None:
        raise LookupError

    async with Store.open(path) as store:
        with pytest.raises(LookupError):
            await store.jobs.accept(row(), new_id=lambda: "a", judge=refuse)
        assert await store.jobs.get("a") is None
        assert await store.people.used(ANN.key, "2026-09-22") == 0


async def test_a_transaction_that_is_cancelled_leaves_nothing_behind(path: Path) -> None:
    async with Store.open(path) as store:

        async def half() -> None:
            async with store._database.transaction() as transaction:
                await transaction.run("INSERT INTO usage VALUES ('discord:ann', '2026-09-22', 's', 5)")
                inserted.set()
                await asyncio.Event().wait()

        inserted = asyncio.Event()
        task = asyncio.create_task(half())
        await inserted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.people.used(ANN.key, "2026-09-22") == 0


async def test_two_processes_may_make_the_same_database_at_once(path: Path) -> None:
    async def use(number: int) -> str:
        async with Store.open(path) as store:
            job, _ = await store.jobs.accept(row(str(number)), new_id=lambda: f"job{number}", judge=allow)
            return job.id

    ids = await asyncio.gather(*(use(number) for number in range(6)))
    assert sorted(ids) == [f"job{number}" for number in range(6)]


async def test_history_is_the_latest_first_and_by_community(path: Path) -> None:
    async with Store.open(path) as store:
        for number in range(5):
            await store.jobs.accept(row(str(number), created=NOON + number), new_id=[f"j{number}"].pop, judge=allow)
        page = await store.jobs.history(ANN.key, HOME.scope, limit=2, offset=1)
        assert [job.id for job in page] == ["j3", "j2"]
        assert await store.jobs.history(ANN.key, "discord:other", limit=9, offset=0) == ()
        assert len(await store.jobs.history(ANN.key, None, limit=9, offset=0)) == 5


async def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    async with Store.open(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = content(path)
    with pytest.raises(DatabaseError, match="newer version of Easel"):
        async with Store.open(path):
            pass
    assert content(path) == before


async def test_a_migration_is_made_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Store.open(path) as store:
        await store.jobs.accept(row(), new_id=lambda: "a", judge=allow)
    scripts = database._migrations()
    broken, mended = "CREATE TABLE new (x) STRICT;", "CREATE TABLE new (x TEXT) STRICT;"
    monkeypatch.setattr(database, "_migrations", lambda: [*scripts, "CREATE TABLE first (x TEXT);" + broken])
    with pytest.raises(sqlite3.OperationalError):
        async with Store.open(path):
            pass
    monkeypatch.setattr(database, "_migrations", lambda: [*scripts, "CREATE TABLE first (x TEXT);" + mended])
    async with Store.open(path) as store:
        assert await store.jobs.get("a") is not None
        async with store._database.snapshot() as transaction:
            assert (await transaction.run("PRAGMA user_version"))[0][0] == len(scripts) + 1


async def test_after_closing_a_person_is_told_that_the_bot_is_stopping(path: Path) -> None:
    async with Store.open(path) as store:
        pass
    with pytest.raises(DatabaseError, match="is stopping"):
        await store.jobs.get("a")


@pytest.mark.parametrize("damage", ["no database", "torn"])
async def test_a_damaged_database_is_named_with_what_to_do(path: Path, damage: str) -> None:
    async with Store.open(path) as store:
        for number in range(40):
            await store.jobs.accept(row(str(number)), new_id=[f"job{number}"].pop, judge=allow)
    whole = content(path)
    torn = whole[:4096] + b"\x5a" * (len(whole) - 4096)
    overwrite(path, torn if damage == "torn" else b"This is no database. " * 300)
    with pytest.raises(DatabaseError, match="is damaged; put a backup") as caught:
        async with Store.open(path) as store:
            await store.check()
    assert str(path) in caught.value.sentence


async def test_after_an_unclean_end_damage_is_found_at_once(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with Store.open(path) as store:
        for number in range(40):
            await store.jobs.accept(row(str(number)), new_id=[f"job{number}"].pop, judge=allow)
        log = content(path.with_name("easel.db-wal"))
    whole = content(path)
    overwrite(copy, whole[: len(whole) // 2])
    overwrite(copy.with_name("copy.db-wal"), log[:10_000])
    with pytest.raises(DatabaseError, match="is damaged"):
        async with Store.open(copy):
            pass


async def test_a_full_disk_is_named_and_what_was_there_stays(path: Path) -> None:
    async with Store.open(path) as store:
        await store.jobs.accept(row("first"), new_id=lambda: "first", judge=allow)
        async with store._database.transaction() as transaction:
            ((pages,),) = await transaction.run("PRAGMA page_count")
            await transaction.run(f"PRAGMA max_page_count = {pages}")
        huge = row("second").model_copy(update={"reply_to": "x" * 100_000})
        with pytest.raises(DatabaseError, match="disk is full"):
            await store.jobs.accept(huge, new_id=lambda: "second", judge=allow)
        assert await store.jobs.get("second") is None
        assert await store.jobs.get("first") is not None


async def test_a_database_that_another_process_holds_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.database.BUSY_SECONDS", 0.05)
    async with Store.open(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseError, match="Another process"):
                await store.jobs.accept(row(), new_id=lambda: "a", judge=allow)
            other.execute("ROLLBACK")
        await store.jobs.accept(row(), new_id=lambda: "a", judge=allow)


@pytest.fixture
def locked_home() -> Iterator[Path]:
    """A folder that this process may read and not write, root or not."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        yield home
        if root:
            os.seteuid(0)
        home.chmod(stat.S_IRWXU)


async def test_a_read_only_home_is_named(locked_home: Path) -> None:
    for path in (locked_home / "easel.db", locked_home / "below" / "easel.db"):
        with pytest.raises(DatabaseError, match="can't be written; give this user the right") as caught:
            async with Store.open(path):
                pass
        assert str(path) in caught.value.sentence


def test_a_job_settles_by_what_became_of_its_pictures() -> None:
    def pictures(*states: PictureState) -> tuple[PictureRow, ...]:
        return tuple(PictureRow(index=index, state=state) for index, state in enumerate(states))

    def message(part: int, *, delivered: bool) -> DeliveryRow:
        return DeliveryRow(job="a", part=part, nonce="", delivered=delivered, message_id=None, attempts=1)

    rendered, refused, failed, cancelled = (
        PictureState.RENDERED,
        PictureState.REFUSED,
        PictureState.FAILED,
        PictureState.CANCELLED,
    )
    assert settled(pictures(rendered, failed), ()) is JobState.RENDERED
    assert settled(pictures(rendered), (message(1, delivered=False),)) is JobState.SENDING
    assert settled(pictures(rendered), (message(1, delivered=True),)) is JobState.DELIVERED
    assert settled(pictures(*[rendered] * 11), (message(1, delivered=True),)) is JobState.RENDERED
    assert settled(pictures(refused, failed), ()) is JobState.FAILED
    assert settled(pictures(refused, cancelled), ()) is JobState.REFUSED
    assert settled(pictures(cancelled), ()) is JobState.CANCELLED
