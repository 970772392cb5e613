"""Questions to the index, and what is written to it. All SQL of the cache but its schema."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from aiosqlite import Connection

from engine.cache.faults import DamagedIndexError
from engine.cache.values import Reusable, SideCar, is_key
from engine.types import CacheEntry, CacheStats

Keys = TypeVar("Keys", bound=Iterable[str])

VERDICTS = 50_000
"""Verdicts on prompts that are remembered; the oldest go first."""

VICTIMS = 100
"""Entries that go between two looks at the cache's size."""

_COLUMNS = (
    "key, tier, scope, owner, prompt, model, seed, width, height, bytes, sha256, created, last_used, uses, parameters"
)


async def insert(db: Connection, side_cars: Iterable[SideCar]) -> None:
    """Add entries that the index doesn't have yet."""
    await db.executemany(
        """INSERT INTO entries VALUES (:key, :tier, :scope, :owner, :family, :generation_key, :prompt, :folded, :model,
           :seed, :width, :height, :bytes, :sha256, :created, :created, 0, :parameters) ON CONFLICT DO NOTHING""",
        [_row(side_car) for side_car in side_cars],
    )


async def add(db: Connection, side_car: SideCar, now: float) -> None:
    """Add an entry just stored. A picture that had to be drawn was a miss."""
    await insert(db, [side_car])
    await db.execute("UPDATE entries SET last_used = ? WHERE key = ?", (now, side_car.key))
    await db.execute("DELETE FROM pending WHERE key = ?", (side_car.key,))
    if side_car.tier == "unmarked":
        await count(db, side_car.facts.scope, "misses")


async def touch(db: Connection, side_car: SideCar, owner: str, now: float) -> bool:
    """Note a hit, and that its picture was served; False when the index doesn't know the entry."""
    use = "UPDATE entries SET last_used = ?, uses = uses + 1 WHERE key = ?"
    if (await db.execute(use, (now, side_car.key))).rowcount == 0:
        return False
    await serve(db, side_car.facts.generation_key, owner)
    await count(db, side_car.facts.scope, f"hits_{side_car.tier}")
    return True


async def serve(db: Connection, generation_key: str, owner: str) -> None:
    """Remember that a person got a picture, as long as the picture is kept."""
    await db.execute("INSERT OR IGNORE INTO served SELECT key, ? FROM entries WHERE key = ?", (owner, generation_key))


async def serve_owners(db: Connection) -> None:
    """Whoever had a picture drawn was given it: what a rebuilt index knows of who was served."""
    await db.execute("INSERT OR IGNORE INTO served SELECT key, owner FROM entries WHERE tier = 'unmarked'")


async def count(db: Connection, scope: str, name: str) -> None:
    """Raise one of a scope's counters."""
    await db.execute("INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET value = value + 1", (scope, name))


async def remove(db: Connection, keys: Iterable[str]) -> None:
    """Forget entries."""
    await db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])


async def pend(db: Connection, key: str, now: float) -> None:
    """Announce files that are about to be written, so that a crash in between leaves a trace."""
    await db.execute("INSERT OR REPLACE INTO pending VALUES (?, ?)", (key, now))


async def settle(db: Connection, keys: Iterable[str]) -> None:
    """Forget announcements."""
    await db.executemany("DELETE FROM pending WHERE key = ?", [(key,) for key in keys])


async def pending(db: Connection) -> dict[str, float]:
    """Announced keys and since when; their writer may have died."""
    announced = await _figures(db, "SELECT key, since FROM pending", ())
    _check(announced)
    return announced


async def condemn(db: Connection, key: str, scope: str) -> None:
    """Forget a damaged entry, and count it."""
    await remove(db, [key])
    await count(db, scope, "quarantined")


async def reusable(db: Connection, family: str, scope: str, owner: str) -> Reusable | None:
    """The newest unmarked picture of a family that a person hasn't been served."""
    rows = await db.execute_fetchall(
        """SELECT key, seed FROM entries WHERE family = ? AND tier = 'unmarked' AND scope = ? AND NOT EXISTS
           (SELECT 1 FROM served WHERE served.key = entries.key AND served.owner = ?)
           ORDER BY created DESC LIMIT 1""",
        (family, scope, owner),
    )
    return next((Reusable(key, int(seed)) for key, seed in rows), None)


async def verdict(db: Connection, text_hash: str, filter_version: str) -> dict[str, Any] | None:
    """A remembered verdict."""
    rows = await _texts(
        db, "SELECT verdict FROM verdicts WHERE text_hash = ? AND filter_version = ?", (text_hash, filter_version)
    )
    return _json(rows[0]) if rows else None


async def remember_verdict(db: Connection, text_hash: str, filter_version: str, verdict: dict[str, Any]) -> None:
    """Keep a verdict and drop the oldest beyond the bound."""
    await db.execute(
        "INSERT OR REPLACE INTO verdicts (text_hash, filter_version, verdict) VALUES (?, ?, ?)",
        (text_hash, filter_version, json.dumps(verdict)),
    )
    await db.execute("DELETE FROM verdicts WHERE id <= last_insert_rowid() - ?", (VERDICTS,))


async def oldest_beyond(db: Connection, max_bytes: int, keep: str) -> list[str]:
    """Some of the least recently used entries whose going brings the cache nearer to its size; none when it fits."""
    ((total,),) = await db.execute_fetchall("SELECT bytes FROM state")
    excess = total - max_bytes
    if excess <= 0:
        return []
    rows = await db.execute_fetchall(
        "SELECT key, bytes FROM entries WHERE key != ? ORDER BY last_used LIMIT ?", (keep, VICTIMS)
    )
    victims = []
    for key, size in rows:
        if excess <= 0:
            break
        victims.append(key)
        excess -= size
    return _check(victims)


async def stats(db: Connection, scope: str | None, max_bytes: int) -> CacheStats:
    """Figures of a scope, or of all."""
    condition = "WHERE ?1 IS NULL OR scope = ?1"
    entries = await _figures(db, f"SELECT tier, sum(entries) FROM totals {condition} GROUP BY tier", (scope,))  # noqa: S608
    size = await _figures(db, f"SELECT 'bytes', total(bytes) FROM totals {condition}", (scope,))  # noqa: S608
    counters = await _figures(db, f"SELECT name, sum(value) FROM counters {condition} GROUP BY name", (scope,))  # noqa: S608
    return CacheStats(
        entries=sum(entries.values()),
        finished=entries.get("finished", 0),
        unmarked=entries.get("unmarked", 0),
        bytes=size["bytes"],
        max_bytes=max_bytes,
        hits=counters.get("hits_finished", 0) + counters.get("hits_unmarked", 0),
        misses=counters.get("misses", 0),
        quarantined=counters.get("quarantined", 0),
    )


async def page(db: Connection, scope: str | None, limit: int, offset: int, search: str) -> tuple[CacheEntry, ...]:
    """Entries whose prompt holds a text, last used first."""
    condition, arguments = _within(scope)
    if search:
        condition += " AND folded LIKE ? ESCAPE '\\'"
        arguments += (f"%{_escaped(search.casefold())}%",)
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM entries WHERE {condition} ORDER BY last_used DESC LIMIT ? OFFSET ?",  # noqa: S608
        (*arguments, limit, offset),
    )
    return tuple(_entry(row) for row in rows)


async def matching(db: Connection, scope: str | None, prefix: str) -> tuple[CacheEntry, ...]:
    """At most two entries whose key begins with some hexadecimal digits."""
    condition, arguments = _within(scope)
    rows = await db.execute_fetchall(
        f"SELECT {_COLUMNS} FROM entries WHERE key >= ? AND key < ? AND {condition} LIMIT 2",  # noqa: S608
        (prefix, prefix + "g", *arguments),
    )
    return tuple(_entry(row) for row in rows)


async def made_from(db: Connection, generation_key: str) -> list[str]:
    """Keys of a picture in both tiers."""
    return _check(await _texts(db, "SELECT key FROM entries WHERE generation_key = ?", (generation_key,)))


async def some(db: Connection, scope: str | None, owner: str | None = None, limit: int = 500) -> list[str]:
    """Some keys of a scope; of a person, with everything made from their pictures.

    Finished files come first: which of them were made from a person's pictures is only known as long as those are.
    """
    condition, arguments = _within(scope)
    if owner is not None:
        condition += (
            " AND (owner = ? OR generation_key IN (SELECT key FROM entries WHERE owner = ? AND tier = 'unmarked'))"
            " ORDER BY tier = 'unmarked'"
        )
        arguments += (owner, owner)
    sql = f"SELECT key FROM entries WHERE {condition} LIMIT ?"  # noqa: S608
    return _check(await _texts(db, sql, (*arguments, limit)))


async def forget_owner(db: Connection, scope: str | None, owner: str) -> None:
    """Forget what a person was served."""
    condition, arguments = _within(scope)
    await db.execute(
        f"DELETE FROM served WHERE owner = ? AND key IN (SELECT key FROM entries WHERE {condition})",  # noqa: S608
        (owner, *arguments),
    )


async def after(db: Connection, key: str, limit: int = 500) -> list[str]:
    """The next keys in order, to walk the whole index in pages."""
    return _check(await _texts(db, "SELECT key FROM entries WHERE key > ? ORDER BY key LIMIT ?", (key, limit)))


async def holds(db: Connection, sha256: str) -> bool:
    """Whether a finished file of this checksum is kept."""
    return bool(await _texts(db, "SELECT key FROM entries WHERE sha256 = ? AND tier = 'finished' LIMIT 1", (sha256,)))


def _within(scope: str | None) -> tuple[str, tuple[str, ...]]:
    return ("1", ()) if scope is None else ("scope = ?", (scope,))


def _escaped(text: str) -> str:
    """LIKE's own characters, taken literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _check(keys: Keys) -> Keys:
    """Keys will become paths."""
    if not all(is_key(key) for key in keys):
        raise DamagedIndexError("a key is not what was written")
    return keys


async def _texts(db: Connection, sql: str, arguments: Sequence[str | int]) -> list[str]:
    return [str(value) for (value,) in await db.execute_fetchall(sql, arguments)]


async def _figures(db: Connection, sql: str, arguments: Sequence[str | None]) -> dict[str, Any]:
    return {name: figure for name, figure in await db.execute_fetchall(sql, arguments)}  # noqa: C416  (rows, not pairs)


def _row(side_car: SideCar) -> dict[str, Any]:
    facts = side_car.facts
    return {
        **vars(side_car),
        **vars(facts),
        "seed": str(facts.seed),
        "folded": facts.prompt.casefold(),
        "parameters": json.dumps(facts.parameters),
    }


def _entry(row: sqlite3.Row) -> CacheEntry:
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    try:
        return CacheEntry.model_validate(
            fields | {"seed": int(fields["seed"]), "parameters": json.loads(fields["parameters"])}
        )
    except ValueError as error:
        raise DamagedIndexError("an entry's row is not what was written") from error


def _json(text: str) -> dict[str, Any] | None:
    """A JSON object; anything else was never written here."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DamagedIndexError("a verdict is not what was written") from error
    return value if isinstance(value, dict) else None
