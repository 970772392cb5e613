"""The index may be lost, torn or foreign at any time; several processes may share a folder; processes die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.cache import Cache
from engine.cache.database import Database
from engine.cache.files import Files
from engine.cache.schema import SCHEMA_VERSION
from engine.errors import StorageError
from tests.engine.cache_entries import (
    ANN,
    BOB,
    SCOPE,
    Clock,
    facts_of,
    files_in,
    forget_index,
    key_of,
    picture_path,
    side_car_path,
)

ROOT = Path(__file__).parents[2]
HOUR = 3600.0


@asynccontextmanager
async def opened(folder: Path, max_bytes: int = 10_000) -> AsyncIterator[Cache]:
    cache = Cache(folder, max_bytes=max_bytes, clock=Clock())
    await cache.open()
    try:
        yield cache
    finally:
        await cache.close()


async def fill(cache: Cache, *names: str) -> None:
    for name in names:
        await cache.put(key_of(name), "unmarked", name.encode() * 5, facts=facts_of(name, seed=len(name)))


def index_of(folder: Path) -> Path:
    return folder / "index.sqlite3"


def tear(folder: Path) -> None:
    path = index_of(folder)
    path.write_bytes(path.read_bytes()[:5000])


def scribble(folder: Path) -> None:
    path = index_of(folder)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def replace_by_text(folder: Path) -> None:
    index_of(folder).write_text("not a database at all" * 100)


def replace_by_foreign(folder: Path) -> None:
    index_of(folder).unlink()
    with sqlite3.connect(index_of(folder)) as db:
        db.execute("CREATE TABLE entries (id INTEGER)")
    db.close()


def make_older(folder: Path) -> None:
    with sqlite3.connect(index_of(folder)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()


def leave_half_built(folder: Path) -> None:
    with sqlite3.connect(index_of(folder)) as db:
        db.execute("UPDATE state SET complete = 0")
        db.execute("DELETE FROM entries")
    db.close()


@pytest.mark.parametrize(
    "damage", [forget_index, tear, scribble, replace_by_text, replace_by_foreign, make_older, leave_half_built]
)
async def test_a_lost_index_is_rebuilt_from_the_side_cars(tmp_path: Path, damage: object) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a", "b", "c")
        await cache.put(key_of("fa"), "finished", b"finished", facts=facts_of("a", owner=BOB))
        before = {entry.key: entry for entry in await cache.list(None)}
    assert callable(damage)
    damage(tmp_path)
    async with opened(tmp_path) as cache:
        after = {entry.key: entry for entry in await cache.list(None)}
        assert after.keys() == before.keys()
        unused = {"last_used": 0.0, "created": 0.0}
        assert {k: e.model_copy(update=unused) for k, e in after.items()} == {
            k: e.model_copy(update=unused) for k, e in before.items()
        }
        assert (await cache.stats(None)).bytes == 23
        assert await cache.get(key_of("a"), "unmarked", owner=ANN) is not None
        await fill(cache, "d")
        assert (await cache.stats(SCOPE)).entries == 5


async def test_an_index_damaged_while_open_is_rebuilt_under_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a", "b")
        with sqlite3.connect(index_of(tmp_path)) as db:
            db.execute("DROP TABLE counters")
            db.execute("DELETE FROM entries")
        db.close()
        assert await cache.get(key_of("a"), "unmarked", owner=ANN) is not None
        assert len(await cache.list(None)) == 2


async def test_rows_that_were_never_written_count_as_damage(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
        await cache.remember_verdict("h", "v", {"decision": "pass"})
        with sqlite3.connect(index_of(tmp_path)) as db:
            db.execute("UPDATE entries SET parameters = '{'")
        assert [entry.parameters["steps"] for entry in await cache.list(None)] == [20]
        await cache.remember_verdict("h", "v", {"decision": "pass"})
        db.close()
        with sqlite3.connect(index_of(tmp_path)) as db:
            db.execute("UPDATE verdicts SET verdict = '['")
        db.close()
        assert await cache.verdict("h", "v") is None


async def test_an_index_deleted_under_way_is_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
        forget_index(tmp_path)
        await fill(cache, "b")
        assert len(await cache.list(None)) == 2
        assert index_of(tmp_path).exists()


async def test_rebuilding_quarantines_what_can_not_be_trusted(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a", "b")
    side_car_path(tmp_path, key_of("a")).write_text("{}")
    (tmp_path / "aa" / "bb").mkdir(parents=True, exist_ok=True)
    (tmp_path / "aa" / "bb" / "notes.txt").write_text("somebody else's")
    forget_index(tmp_path)
    async with opened(tmp_path) as cache:
        assert [entry.key for entry in await cache.list(None)] == [key_of("b")]
        assert (await cache.stats(None)).quarantined == 1
    assert (tmp_path / "quarantine" / f"{key_of('a')}.json").exists()
    assert (tmp_path / "aa" / "bb" / "notes.txt").exists()


async def test_a_busy_index_costs_figures_never_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.cache.database.BUSY_SECONDS", 0.01)
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
        db = sqlite3.connect(index_of(tmp_path), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        assert await cache.get(key_of("a"), "unmarked", owner=ANN) is not None
        assert await cache.verdict("h", "v") is None
        await cache.served(key_of("a"), ANN)
        with pytest.raises(StorageError, match="busy"):
            await fill(cache, "b")
        db.execute("ROLLBACK")
        db.close()
        await fill(cache, "b")


async def test_a_cancelled_question_leaves_no_transaction_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
        for turns in range(12):
            task = asyncio.create_task(cache.served(key_of("a"), ANN))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (await cache.stats(None)).entries == 1


@pytest.mark.parametrize("table", ["entries", "pending"])
async def test_what_is_no_key_in_the_index_never_becomes_a_path(tmp_path: Path, table: str) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
    (tmp_path.parent / "victim.json").write_text("")
    with sqlite3.connect(index_of(tmp_path)) as db:
        db.execute("INSERT OR REPLACE INTO pending VALUES (?, 0)", (key_of("a"),))
        db.execute(f"UPDATE {table} SET key = '../victim'")  # noqa: S608
    db.close()
    async with opened(tmp_path) as cache:
        await cache.verify()
        assert [entry.key for entry in await cache.list(None)] == [key_of("a")]
        assert await cache.clear(None) == 1
    assert (tmp_path.parent / "victim.json").exists()


async def test_a_hit_on_what_is_being_deleted_leaves_no_row(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
        side_car = Files(tmp_path).side_car(key_of("a"))
        await cache.delete(None, key_of("a"))
        await cache._database.run(lambda db: cache._touch(db, side_car, ANN, 1.0))
        assert await cache.list(None) == ()


# Several processes.


async def test_two_caches_on_one_folder_share_what_they_store(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        await asyncio.gather(fill(one, "a", "b", "c"), fill(other, "c", "d", "e"))
        assert (await one.stats(None)).entries == (await other.stats(None)).entries == 5
        assert await other.get(key_of("a"), "unmarked", owner=BOB) is not None
        await one.delete(None, key_of("a"))
        assert await other.get(key_of("a"), "unmarked", owner=BOB) is None


async def test_two_caches_open_an_empty_folder_at_once(tmp_path: Path) -> None:
    caches = [Cache(tmp_path, max_bytes=1000) for _ in range(4)]
    await asyncio.gather(*(cache.open() for cache in caches))
    await asyncio.gather(*(fill(cache, "a", str(i)) for i, cache in enumerate(caches)))
    assert {(await cache.stats(None)).entries for cache in caches} == {5}
    await asyncio.gather(*(cache.close() for cache in caches))


async def test_an_entry_that_another_process_made_enters_the_index_when_used(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
        with sqlite3.connect(index_of(tmp_path)) as db:
            db.execute("DELETE FROM entries")
        db.close()
        assert await cache.list(None) == ()
        assert await cache.get(key_of("a"), "unmarked", owner=ANN) is not None
        assert [entry.uses for entry in await cache.list(None)] == [1]


WRITER = """
import asyncio, sys
from pathlib import Path
from engine.cache import Cache
from tests.engine.cache_entries import facts_of, key_of

async def main():
    cache = Cache(Path(sys.argv[1]), max_bytes=10**9)
    await cache.open()
    print("ready", flush=True)
    for i in range(100_000):
        await cache.put(key_of(f"k{i}"), "unmarked", f"k{i}".encode() * 5000, facts=facts_of(f"k{i}"))
        print(i, flush=True)

asyncio.run(main())
"""


def kill_a_writer(folder: Path) -> int:
    """The last entry that it confirmed before it was killed in the middle of its work."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    confirmed = next(int(line) for line in writer.stdout if line.strip() == b"5")
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    return confirmed


async def test_a_killed_writer_leaves_whole_entries_and_no_strays(tmp_path: Path) -> None:
    confirmed = kill_a_writer(tmp_path)
    async with opened(tmp_path, max_bytes=10**9) as cache:
        check = await cache.verify()
        assert check.damaged == ()
        keys = {entry.key for entry in await cache.list(None, limit=1000)}
        assert keys >= {key_of(f"k{i}") for i in range(confirmed + 1)}
        assert {name.removesuffix(".json") for name in files_in(tmp_path) if name.endswith(".json")} == keys
        for i in range(confirmed + 1):
            hit = await cache.get(key_of(f"k{i}"), "unmarked", owner=ANN)
            assert hit is not None
            assert hit.data == f"k{i}".encode() * 5000


async def test_what_a_dead_writer_stored_and_did_not_index_is_found_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a", "damaged")
    picture_path(tmp_path, key_of("damaged")).write_bytes(b"torn")
    with sqlite3.connect(index_of(tmp_path)) as db:
        db.execute("DELETE FROM entries")
        announced = [(key_of(name), 1_000_000.0) for name in ("a", "damaged", "never written")]
        db.executemany("INSERT INTO pending VALUES (?, ?)", announced)
    async with opened(tmp_path) as cache:
        assert [entry.key for entry in await cache.list(None)] == [key_of("a")]
        assert (await cache.stats(None)).quarantined == 1
        assert [row[0] for row in db.execute("SELECT key FROM pending")] == [key_of("never written")]
    late = Cache(tmp_path, max_bytes=1000, clock=lambda: 1_000_000 + 2 * HOUR)
    await late.open()
    assert db.execute("SELECT count(*) FROM pending").fetchone() == (0,)
    await late.close()
    db.close()


# Verify.


async def test_verify_mends_whatever_disagrees(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "sound", "damaged", "gone", "unknown")
        picture_path(tmp_path, key_of("damaged")).write_bytes(b"damaged" * 5 + b"x")
        Files(tmp_path).remove([key_of("gone")])
        with sqlite3.connect(index_of(tmp_path)) as db:
            db.execute("DELETE FROM entries WHERE key = ?", (key_of("unknown"),))
        db.close()
        orphan, fresh = (picture_path(tmp_path, key_of(name)) for name in ("orphan", "fresh"))
        for path in (orphan, fresh):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        os.utime(orphan, (0, 0))

        check = await cache.verify()
        assert (check.checked, check.damaged) == (3, (key_of("damaged"),))
        assert {entry.key for entry in await cache.list(None)} == {key_of("sound"), key_of("unknown")}
        assert not orphan.exists()
        assert fresh.exists(), "another process may be about to write its side-car"
        assert (await cache.verify()).damaged == ()


async def test_quarantine_and_unfinished_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.cache.files.QUARANTINED_FILES", 4)
    async with opened(tmp_path) as cache:
        await fill(cache, "a", "b", "c", "d")
        for name in "abcd":
            picture_path(tmp_path, key_of(name)).write_bytes(b"")
        assert len((await cache.verify()).damaged) == 4
    assert len(list((tmp_path / "quarantine").iterdir())) == 4
    stale, live = tmp_path / "tmp" / "stale", tmp_path / "tmp" / "live"
    stale.write_bytes(b"")
    live.write_bytes(b"")
    os.utime(stale, (0, 0))
    async with opened(tmp_path):
        assert not stale.exists()
        assert live.exists()


async def test_a_rebuild_goes_through_many_chunks_in_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(i) for i in range(11)]
    async with opened(tmp_path) as cache:
        await fill(cache, *names)
    forget_index(tmp_path)
    sizes: list[int] = []
    inspect = Cache._inspect

    def spy(cache: Cache, keys: tuple[str, ...], look: object) -> object:
        sizes.append(len(keys))
        return inspect(cache, keys, look)  # type: ignore[arg-type]

    monkeypatch.setattr("engine.cache.store.CHUNK", 4)
    monkeypatch.setattr(Cache, "_inspect", spy)
    async with opened(tmp_path) as cache:
        assert (await cache.stats(None)).entries == 11
    assert sizes == [4, 4, 3, 0]


async def test_side_cars_are_plain_json(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await fill(cache, "a")
    fields = json.loads(side_car_path(tmp_path, key_of("a")).read_bytes())
    assert fields["facts"]["prompt"] == "a red apple"
    assert fields["facts"]["seed"] == 1


async def test_a_database_that_fails_to_open_leaves_no_thread(tmp_path: Path) -> None:
    async def no_fill(_: object) -> None:
        raise OSError(5, "input/output error")

    with pytest.raises(StorageError):
        await Database(tmp_path / "index.sqlite3", no_fill).open()
