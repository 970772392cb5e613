"""Pictures in and out, their order of eviction, their reuse, and one maker at a time."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from pathlib import Path

import pytest

from engine.cache import Cache, SideCar
from engine.cache.files import Files
from engine.errors import StorageError
from tests.engine.cache_entries import (
    ANN,
    BOB,
    FINISHED,
    GENERATION,
    OTHER,
    SCOPE,
    facts_of,
    files_in,
    forget_index,
    key_of,
    picture_path,
    put_both,
    side_car_path,
)


async def test_what_was_put_comes_back_with_its_parameters(cache: Cache) -> None:
    await put_both(cache)
    hit = await cache.get(FINISHED, "finished", owner=ANN)
    assert hit is not None
    assert hit.data == b"f" * 10
    assert hit.parameters == {"prompt": "a red apple", "steps": 20}
    assert hit.side_car.facts.seed == 2**64 - 1
    assert await cache.get(FINISHED, "unmarked", owner=ANN) is None
    assert await cache.get(key_of("nothing"), "finished", owner=ANN) is None


async def test_entries_are_a_picture_and_json_in_sharded_folders(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    assert picture_path(tmp_path, GENERATION).read_bytes() == b"u" * 10
    assert json.loads(side_car_path(tmp_path, GENERATION).read_text())["facts"]["owner"] == ANN
    assert list((tmp_path / "tmp").iterdir()) == []
    assert files_in(tmp_path) == {f"{key}.{kind}" for key in (GENERATION, FINISHED) for kind in ("png", "json")}


async def test_an_entry_is_written_once(cache: Cache) -> None:
    await put_both(cache)
    await cache.put(FINISHED, "finished", b"other", facts=facts_of("g1", owner=BOB))
    hit = await cache.get(FINISHED, "finished", owner=ANN)
    assert hit is not None
    assert (hit.data, hit.side_car.facts.owner) == (b"f" * 10, ANN)
    assert (await cache.stats(None)).bytes == 20


@pytest.mark.parametrize("key", ["../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", ""])
async def test_only_keys_become_paths(cache: Cache, key: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        await cache.get(key, "finished", owner=ANN)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        await cache.put(key, "finished", b"", facts=facts_of("g1"))


async def test_a_flipped_bit_is_found_quarantined_and_replaced(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    picture_path(tmp_path, FINISHED).write_bytes(b"f" * 9 + b"g")
    assert await cache.get(FINISHED, "finished", owner=ANN) is None
    assert {path.name for path in (tmp_path / "quarantine").iterdir()} == {f"{FINISHED}.png", f"{FINISHED}.json"}
    stats = await cache.stats(SCOPE)
    assert (stats.quarantined, stats.finished, stats.unmarked) == (1, 0, 1)
    await put_both(cache)
    hit = await cache.get(FINISHED, "finished", owner=ANN)
    assert hit is not None
    assert hit.data == b"f" * 10


async def test_putting_over_a_damaged_entry_replaces_it(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    picture_path(tmp_path, FINISHED).write_bytes(b"")
    await put_both(cache)
    assert await cache.get(FINISHED, "finished", owner=ANN) is not None


def hostile(text: bytes) -> list[bytes]:
    fields = json.loads(text)
    other = key_of("other")
    return [
        b"",
        b"{",
        b"null",
        text[: len(text) // 2],
        b"[" * 100_000,
        b" " * 300_000 + text,
        json.dumps(fields | {"key": other}).encode(),
        json.dumps(fields | {"key": "../../../../etc/passwd"}).encode(),
        json.dumps(fields | {"version": 2}).encode(),
        json.dumps(fields | {"bytes": -1}).encode(),
        json.dumps(fields | {"bytes": 2**80}).encode(),
        json.dumps(fields | {"created": float("nan")}).encode(),
        json.dumps(fields | {"extra": 1}).encode(),
        json.dumps(fields | {"tier": "unmarked", "facts": fields["facts"] | {"generation_key": other}}).encode(),
        text.replace(b"a red apple", b"\xff\xfe"),
    ]


@pytest.mark.parametrize("case", range(15))
async def test_a_hostile_side_car_is_quarantined_not_trusted(cache: Cache, tmp_path: Path, case: int) -> None:
    await put_both(cache)
    path = side_car_path(tmp_path, FINISHED)
    path.write_bytes(hostile(path.read_bytes())[case])
    assert await cache.get(FINISHED, "finished", owner=ANN) is None
    assert not path.exists()
    assert (tmp_path / "quarantine" / path.name).exists()


async def test_a_side_car_without_picture_is_no_hit(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    picture_path(tmp_path, FINISHED).unlink()
    assert await cache.get(FINISHED, "finished", owner=ANN) is None
    assert not side_car_path(tmp_path, FINISHED).exists()


async def test_an_unreadable_entry_is_a_miss(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    picture_path(tmp_path, FINISHED).unlink()
    picture_path(tmp_path, FINISHED).mkdir()
    assert await cache.get(FINISHED, "finished", owner=ANN) is None


@pytest.mark.parametrize(
    ("code", "word"), [(errno.ENOSPC, "full"), (errno.EROFS, "right to write"), (errno.EACCES, "right to write")]
)
async def test_a_disk_that_takes_nothing_gets_its_sentence(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, word: str
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match=word):
            await put_both(cache)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert await cache.get(GENERATION, "unmarked", owner=ANN) is None
    await put_both(cache)
    assert await cache.get(GENERATION, "unmarked", owner=ANN) is not None


async def test_a_folder_that_can_not_be_made_gets_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="did not read or write"):
        await Cache(tmp_path / "file" / "cache", max_bytes=1).open()


async def test_a_closed_cache_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="closed"):
        await Cache(tmp_path, max_bytes=1).stats(None)


async def test_a_cancelled_put_is_still_whole(cache: Cache) -> None:
    task = asyncio.create_task(put_both(cache))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cache.close()
    await cache.open()
    assert await cache.get(GENERATION, "unmarked", owner=ANN) is not None
    assert (await cache.stats(None)).entries == 1


# Eviction.


async def test_the_least_recently_used_go_first_over_both_tiers(cache: Cache, tmp_path: Path) -> None:
    for name in "123":
        await put_both(cache, name, size=150)
    assert await cache.get(key_of("g1"), "unmarked", owner=ANN) is not None
    await put_both(cache, "4", size=150)
    left = {entry.key for entry in await cache.list(None)}
    assert left == {key_of(name) for name in ("g1", "g3", "f3", "g4", "f4", "f2")}
    assert (await cache.stats(None)).bytes == 900
    assert files_in(tmp_path) == {f"{key}.{kind}" for key in left for kind in ("png", "json")}


async def test_what_was_just_stored_stays_however_large(cache: Cache) -> None:
    await put_both(cache, "1", size=100)
    await put_both(cache, "2", size=5000)
    assert [entry.key for entry in await cache.list(None)] == [key_of("f2")]


async def test_many_small_entries_go_for_a_large_one(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.cache.index.VICTIMS", 2)
    for name in "12345":
        await put_both(cache, name, size=90)
    await cache.put(key_of("large"), "finished", b"x" * 950, facts=facts_of("large"))
    assert [entry.key for entry in await cache.list(None)] == [key_of("large")]


# Seeds.


async def test_a_picture_is_reused_until_its_person_had_it(cache: Cache) -> None:
    await put_both(cache)
    family = key_of("family")
    found = await cache.reusable(family, SCOPE, BOB)
    assert found == (GENERATION, 2**64 - 1)
    await cache.served(GENERATION, BOB)
    assert await cache.reusable(family, SCOPE, BOB) is None
    assert await cache.reusable(family, SCOPE, ANN) == found
    assert await cache.reusable(family, OTHER, ANN) is None
    assert await cache.reusable(key_of("another"), SCOPE, ANN) is None


async def test_a_hit_counts_as_served(cache: Cache) -> None:
    await put_both(cache)
    await cache.get(FINISHED, "finished", owner=ANN)
    assert await cache.reusable(key_of("family"), SCOPE, ANN) is None


async def test_the_newest_is_reused_first_and_finished_files_alone_never(cache: Cache) -> None:
    await put_both(cache, "1", seed=1)
    await put_both(cache, "2", seed=2)
    assert await cache.reusable(key_of("family"), SCOPE, ANN) == (key_of("g2"), 2)
    await cache.served(key_of("g2"), ANN)
    assert await cache.reusable(key_of("family"), SCOPE, ANN) == (key_of("g1"), 1)


async def test_serving_what_is_not_kept_leaves_nothing(cache: Cache) -> None:
    await cache.served(GENERATION, ANN)
    await put_both(cache)
    assert await cache.reusable(key_of("family"), SCOPE, ANN) is not None


# One at a time.


async def test_a_key_has_one_holder_and_no_lock_remains(cache: Cache) -> None:
    inside, most = 0, 0

    async def hold(keys: list[str]) -> None:
        nonlocal inside, most
        async with cache.flights(keys):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.timeout(5):
        await asyncio.gather(*(hold(keys) for keys in (["a", "b"], ["b", "a"], ["b", "b"], ["b", "c"]) * 5))
    assert most == 1
    assert len(cache._flights) == 0


async def test_a_holder_that_fails_or_is_cancelled_lets_go(cache: Cache) -> None:
    async def hold(gate: asyncio.Event) -> None:
        async with cache.flight("a"):
            await gate.wait()
            raise RuntimeError

    gate = asyncio.Event()
    failing, cancelled, waiting = (asyncio.create_task(hold(gate)) for _ in range(3))
    await asyncio.sleep(0)
    cancelled.cancel()
    gate.set()
    outcomes = await asyncio.gather(failing, cancelled, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeError, asyncio.CancelledError, RuntimeError]
    assert len(cache._flights) == 0


async def test_a_rebuild_that_is_cancelled_leaves_no_half_filled_index(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, read = threading.Event(), threading.Event(), Files.side_car

    def held(files: Files, key: str) -> SideCar:
        begun.set()
        assert go_on.wait(30)
        return read(files, key)

    await put_both(cache)
    forget_index(tmp_path)
    monkeypatch.setattr(Files, "side_car", held)
    asking = asyncio.create_task(cache.stats(None))
    await asyncio.to_thread(begun.wait)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    go_on.set()
    assert (await cache.stats(None)).entries == 2
