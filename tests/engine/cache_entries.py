"""Entries for the tests of the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.cache import Cache, EntryFacts

SCOPE, OTHER = "discord:1", "slack:2"
ANN, BOB = "discord:ann", "discord:bob"


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


GENERATION, FINISHED = key_of("g1"), key_of("f1")


def facts_of(generation: str, **changes: object) -> EntryFacts:
    facts: dict[str, object] = {
        "scope": SCOPE,
        "owner": ANN,
        "family": key_of("family"),
        "generation_key": key_of(generation),
        "prompt": "a red apple",
        "model": "emoji",
        "seed": 2**64 - 1,
        "width": 128,
        "height": 128,
        "parameters": {"prompt": "a red apple", "steps": 20},
    }
    return EntryFacts.model_validate(facts | changes)


def picture_path(folder: Path, key: str) -> Path:
    return folder / key[:2] / key[2:4] / f"{key}.png"


def side_car_path(folder: Path, key: str) -> Path:
    return picture_path(folder, key).with_suffix(".json")


async def put_both(cache: Cache, name: str = "1", size: int = 10, **changes: object) -> None:
    generation = f"g{name}"
    facts = facts_of(generation, **changes)
    await cache.put(key_of(generation), "unmarked", b"u" * size, facts=facts)
    await cache.put(key_of(f"f{name}"), "finished", b"f" * size, facts=facts)


class Clock:
    """Time that passes by a second at every look."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def files_in(folder: Path) -> set[str]:
    """Names of all pictures and side-cars in the shards."""
    return {path.name for path in folder.glob("??/??/*")}


def forget_index(folder: Path) -> None:
    """Delete the index, as somebody might who clears up."""
    for path in folder.glob("index.sqlite3*"):
        path.unlink()
