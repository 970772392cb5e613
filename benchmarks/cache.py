"""How long a look-up takes in a small and in a large cache: `python -m benchmarks.cache [--json]`.

Both caches are built in a temporary folder by writing files and index rows directly. Then `Cache.get` is asked for
random keys, in turns in one and in the other, so that whatever else the machine does slows both alike. A look-up reads
the picture and its side-car, verifies both, and notes the use in the index.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import aiosqlite
from rich.console import Console
from rich.table import Table

from engine.cache import Cache, EntryFacts, SideCar, index

SMALL, LARGE = 1_000, 100_000
LOOKUPS = 2_000
"""In each cache."""
WARM_UP = 200
PICTURE_BYTES = 2_048
PROMPT = "a lighthouse on a cliff at dusk, oil painting, number "
CHUNK = 1_000


def main() -> None:
    """Build, measure, print, clean up."""
    parser = argparse.ArgumentParser(description="Time look-ups in the picture cache.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory(prefix="easel-cache-") as folder:
        figures = asyncio.run(measure(Path(folder)))
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(_table(figures))


async def measure(folder: Path) -> dict[str, float]:
    """Seconds of look-ups in both caches, as figures in milliseconds."""
    small, large = await build(folder / "small", SMALL), await build(folder / "large", LARGE)
    times: tuple[list[float], list[float]] = ([], [])
    choose = random.Random(0)
    for turn in range(WARM_UP + LOOKUPS):
        for cache, size, taken in ((small, SMALL, times[0]), (large, LARGE, times[1])):
            key = _key(choose.randrange(size))
            started = time.perf_counter()
            found = await cache.get(key, "finished", owner="bench:reader")
            if turn >= WARM_UP:
                taken.append(1000 * (time.perf_counter() - started))
            if found is None:
                raise RuntimeError("an entry that was written is missing")
    await small.close()
    await large.close()
    p50_small, p50_large = (statistics.median(taken) for taken in times)
    return {
        "p50_ms_1k": round(p50_small, 3),
        "p50_ms_100k": round(p50_large, 3),
        "p99_ms_100k": round(statistics.quantiles(times[1], n=100)[98], 3),
        "ratio": round(p50_large / p50_small, 3),
    }


async def build(folder: Path, size: int) -> Cache:
    """A cache with so many finished files."""
    cache = Cache(folder, max_bytes=2**40)
    await cache.open()
    async with aiosqlite.connect(folder / "index.sqlite3") as db:
        for start in range(0, size, CHUNK):
            side_cars = await asyncio.to_thread(_write, folder, range(start, min(start + CHUNK, size)))
            await index.insert(db, side_cars)
            await db.commit()
    return cache


def _write(folder: Path, numbers: Iterable[int]) -> list[SideCar]:
    side_cars = []
    for number in numbers:
        data = random.Random(number).randbytes(PICTURE_BYTES)
        side_car = _side_car(number, data)
        shard = folder / side_car.key[:2] / side_car.key[2:4]
        shard.mkdir(parents=True, exist_ok=True)
        (shard / f"{side_car.key}.png").write_bytes(data)
        (shard / f"{side_car.key}.json").write_text(side_car.model_dump_json())
        side_cars.append(side_car)
    return side_cars


def _side_car(number: int, data: bytes) -> SideCar:
    prompt = f"{PROMPT}{number}"
    facts = EntryFacts(
        scope=f"bench:{number % 10}",
        owner=f"bench:{number % 1000}",
        family=_key(number),
        generation_key=_key(number),
        prompt=prompt,
        model="emoji",
        seed=number,
        width=128,
        height=128,
        parameters={"prompt": prompt, "steps": 20, "guidance": 7.5, "sampler": "dpmpp_2m", "seed": number},
    )
    return SideCar(
        key=_key(number),
        tier="finished",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        created=float(number),
        facts=facts,
    )


def _key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _table(figures: dict[str, float]) -> Table:
    table = Table("entries", "p50 ms", "p99 ms", title="Cache look-up, verified")
    table.add_row(f"{SMALL:,}", f"{figures['p50_ms_1k']:.2f}", "")
    table.add_row(f"{LARGE:,}", f"{figures['p50_ms_100k']:.2f}", f"{figures['p99_ms_100k']:.2f}")
    table.caption = f"{figures['ratio']:.2f} times as long with a hundred times the entries"
    return table


if __name__ == "__main__":
    main()
