"""What moderators and operators can see and remove, and the verdicts that are remembered."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from aiosqlite import connect
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cache import Cache, SideCar, index
from engine.cache.index import VERDICTS
from engine.cache.schema import SCHEMA
from engine.errors import InputError
from tests.engine.cache_entries import (
    ANN,
    BOB,
    FINISHED,
    GENERATION,
    OTHER,
    SCOPE,
    facts_of,
    files_in,
    key_of,
    put_both,
)


async def test_figures_count_by_tier_and_scope(cache: Cache) -> None:
    await put_both(cache)
    await put_both(cache, "2", scope=OTHER)
    await cache.get(FINISHED, "finished", owner=ANN)
    await cache.get(GENERATION, "unmarked", owner=ANN)
    stats = await cache.stats(SCOPE)
    assert (stats.entries, stats.finished, stats.unmarked, stats.bytes, stats.max_bytes) == (2, 1, 1, 20, 1000)
    assert (stats.hits, stats.misses) == (2, 1)
    everything = await cache.stats(None)
    assert (everything.entries, everything.bytes, everything.hits, everything.misses) == (4, 40, 2, 2)
    nothing = await cache.stats("nobody")
    assert (nothing.entries, nothing.bytes, nothing.hits) == (0, 0, 0)


async def test_entries_are_listed_last_used_first_and_by_page(cache: Cache) -> None:
    for name in "123":
        await put_both(cache, name)
    await cache.get(key_of("g1"), "unmarked", owner=ANN)
    keys = [entry.key for entry in await cache.list(SCOPE)]
    assert keys[:2] == [key_of("g1"), key_of("f3")]
    assert [entry.key for entry in await cache.list(SCOPE, limit=2, offset=1)] == keys[1:3]
    entry = (await cache.list(SCOPE))[0]
    assert (entry.uses, entry.seed, entry.tier, entry.owner) == (1, 2**64 - 1, "unmarked", ANN)
    assert entry.parameters == {"prompt": "a red apple", "steps": 20}


@settings(deadline=None)
@given(needle=st.text(alphabet="aB%_\\'\"é", min_size=1, max_size=4))
async def test_search_takes_every_letter_literally(needle: str) -> None:
    prompts = ["aB", "%", "_", "\\", "a%B", "a_B", "É", "b'a\"", "plain"]
    expected = {prompt for prompt in prompts if needle.casefold() in prompt.casefold()}
    assert await found_by(needle, prompts) == expected


async def found_by(needle: str, prompts: list[str]) -> set[str]:
    entries = [
        SideCar(key=key_of(p), tier="finished", sha256=key_of(p), bytes=1, created=1.0, facts=facts_of("g1", prompt=p))
        for p in prompts
    ]
    async with connect(":memory:") as db:
        await db.executescript(SCHEMA)
        await index.insert(db, entries)
        return {entry.prompt for entry in await index.page(db, SCOPE, 100, 0, needle)}


async def test_an_entry_is_shown_by_the_first_digits_of_its_key(cache: Cache) -> None:
    await put_both(cache)
    for key in (FINISHED, FINISHED[:6], f" {FINISHED[:9].upper()} "):
        shown = await cache.show(SCOPE, key)
        assert shown is not None
        assert shown.key == FINISHED
    for key in ("", "%", "zz", FINISHED + "0", key_of("nothing")):
        assert await cache.show(SCOPE, key) is None


async def test_digits_that_fit_several_entries_are_refused(cache: Cache) -> None:
    for i in range(17):
        await cache.put(key_of(f"f{i}"), "finished", b"f", facts=facts_of("g1"))
    twice = next(d for d in "0123456789abcdef" if sum(key_of(f"f{i}").startswith(d) for i in range(17)) > 1)
    with pytest.raises(InputError, match="More than one"):
        await cache.show(SCOPE, twice)
    with pytest.raises(InputError, match="More than one"):
        await cache.delete(SCOPE, twice)


async def test_no_scope_sees_or_touches_another(cache: Cache) -> None:
    await put_both(cache)
    assert await cache.list(OTHER) == ()
    assert await cache.show(OTHER, FINISHED) is None
    assert await cache.delete(OTHER, FINISHED) == 0
    assert await cache.clear(OTHER) == 0
    assert await cache.purge(OTHER, ANN) == 0
    assert (await cache.stats(None)).entries == 2


async def test_deleting_a_picture_deletes_what_was_made_from_it(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    await cache.put(key_of("other mark"), "finished", b"x", facts=facts_of("g1", owner=BOB))
    await put_both(cache, "2")
    assert await cache.delete(SCOPE, FINISHED) == 1
    assert await cache.get(GENERATION, "unmarked", owner=ANN) is not None
    assert await cache.delete(None, GENERATION) == 2
    assert files_in(tmp_path) == {f"{key_of(name)}.{kind}" for name in ("g2", "f2") for kind in ("png", "json")}


async def test_clearing_a_scope_leaves_the_others(cache: Cache, tmp_path: Path) -> None:
    await put_both(cache)
    await put_both(cache, "2", scope=OTHER)
    (tmp_path / "quarantine" / "damaged.png").write_bytes(b"x")
    assert await cache.clear(SCOPE) == 2
    assert [entry.scope for entry in await cache.list(None)] == [OTHER, OTHER]
    assert list((tmp_path / "quarantine").iterdir()) == []
    assert await cache.clear(None) == 2
    assert (await cache.stats(None)).bytes == 0


async def test_purging_a_person_takes_everything_made_from_their_pictures(cache: Cache) -> None:
    await put_both(cache)
    await cache.put(key_of("for bob"), "finished", b"x", facts=facts_of("g1", owner=BOB))
    await put_both(cache, "2", owner=BOB)
    await cache.served(key_of("g2"), ANN)
    assert await cache.purge(SCOPE, ANN) == 3
    assert {entry.key for entry in await cache.list(None)} == {key_of("g2"), key_of("f2")}
    assert await cache.reusable(key_of("family"), SCOPE, ANN) is not None


async def test_however_many_pictures_a_person_has_what_was_made_from_them_goes(cache: Cache) -> None:
    many = [f"g{number}" for number in range(501)]
    rows = [
        SideCar(key=key_of(name), tier="unmarked", sha256=key_of(name), bytes=0, created=1.0, facts=facts_of(name))
        for name in many
    ]
    await cache._database.run(lambda db: index.insert(db, rows))
    await cache.put(key_of("for bob"), "finished", b"x", facts=facts_of("g0", owner=BOB))
    assert await cache.purge(SCOPE, ANN) == len(many) + 1
    assert await cache.list(None) == ()


async def test_a_finished_file_is_known_by_its_checksum(cache: Cache) -> None:
    await put_both(cache)
    assert await cache.holds(hashlib.sha256(b"f" * 10).hexdigest())
    assert not await cache.holds(hashlib.sha256(b"u" * 10).hexdigest())


# Verdicts.


async def test_a_verdict_holds_for_its_text_and_filter(cache: Cache) -> None:
    await cache.remember_verdict("h1", "v1", {"decision": "pass"})
    await cache.remember_verdict("h1", "v1", {"decision": "refuse"})
    assert await cache.verdict("h1", "v1") == {"decision": "refuse"}
    assert await cache.verdict("h1", "v2") is None
    assert await cache.verdict("h2", "v1") is None


async def test_verdicts_are_bounded(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert VERDICTS >= 10_000
    monkeypatch.setattr("engine.cache.index.VERDICTS", 3)
    for i in range(5):
        await cache.remember_verdict(f"h{i}", "v1", {"n": i})
    assert [await cache.verdict(f"h{i}", "v1") for i in range(5)] == [None, None, {"n": 2}, {"n": 3}, {"n": 4}]
