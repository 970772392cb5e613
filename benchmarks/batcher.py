"""What people wait when they come at random, in company and one after the other: `scripts/bench batcher --help`.

Requests for the bundled model arrive as a Poisson process, at shares of what one after the other can do; that is
measured first. The same requests at the same times go to a batcher that joins them and to one that doesn't, each from
an idle start. With an offered load of more than 1 the line grows as long as requests arrive, so that their number
matters.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.batcher import Batcher
from engine.models.registry import EMOJI, resolve
from engine.pipelines.factory import make
from engine.settings import EngineSettings
from engine.types import Quality, ResolvedRequest

PROMPTS = ("red apple", "cat", "house", "sun", "tree", "blue car", "smiling face", "birthday cake")
LOADS = (0.5, 0.8, 1.2)
"""Shares of the capacity of one after the other."""
WARM_UP = 4
NO_TIMEOUT = 3600.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time pictures that are asked for at random times.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pictures", type=int, default=60, help="requests at each load")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each load, each with other arrivals")
    parser.add_argument("--most", type=int, default=4, help="pictures in company at most")
    parser.add_argument("--steps", type=int, help="the model's own when left out")
    parser.add_argument("--quality", type=Quality, default=Quality.EXACT, help="exact or balanced")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores when left out")
    parser.add_argument("--compile", choices=["auto", "off"], default="off", help="compile while drawing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="easel-batcher-") as home:
        settings = EngineSettings(
            home=Path(home), threads=options.threads, compile=options.compile, max_batch=options.most, previews=False
        )
        figures = asyncio.run(measure(settings, requests(settings, options), options.rounds))
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(_table(figures))


def requests(settings: EngineSettings, options: argparse.Namespace) -> list[ResolvedRequest]:
    """Different prompts and seeds, the model's own settings."""
    info = resolve(EMOJI, settings).info
    prompts = itertools.islice(itertools.cycle(PROMPTS), options.pictures)
    return [
        ResolvedRequest(
            prompt=prompt,
            seed=seed,
            model=EMOJI,
            steps=options.steps or info.steps,
            guidance=info.guidance,
            sampler=info.sampler,
            width=info.default_side,
            height=info.default_side,
            quality=options.quality,
        )
        for seed, prompt in enumerate(prompts)
    ]


async def measure(settings: EngineSettings, wanted: Sequence[ResolvedRequest], rounds: int) -> dict[str, object]:
    """Seconds of latency and pictures per second, for each load and both ways."""
    source = resolve(EMOJI, settings)

    def batcher(most: int) -> Batcher:
        return Batcher(lambda _: make(source, settings), timeout=NO_TIMEOUT, previews=False, most=most)

    ways = {"company": batcher(settings.max_batch), "one_by_one": batcher(1)}
    for way in ways.values():
        await asyncio.gather(*(_draw(way, request) for request in wanted[:WARM_UP]))
    started = time.perf_counter()
    for request in wanted[: 2 * WARM_UP]:
        await _draw(ways["one_by_one"], request)
    seconds = (time.perf_counter() - started) / len(wanted[: 2 * WARM_UP])
    loads: dict[str, dict[str, dict[str, float]]] = {}
    for load in LOADS:
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for number in range(rounds):
            arrivals = _poisson(load / seconds, len(wanted), seed=number)
            for name, way in ways.items():
                taken[name].append(await _serve(way, wanted, arrivals))
        loads[f"{load:.0%}"] = {name: _medians(runs) for name, runs in taken.items()}
    for way in ways.values():
        await way.close()
    return {"alone_s": round(seconds, 3), "pictures": len(wanted), "most": settings.max_batch, "loads": loads}


def _poisson(rate: float, count: int, *, seed: int) -> list[float]:
    """Arrivals in seconds from the start, at so many per second."""
    chance = random.Random(seed)
    return list(itertools.accumulate(chance.expovariate(rate) for _ in range(count)))


async def _serve(way: Batcher, wanted: Sequence[ResolvedRequest], arrivals: Sequence[float]) -> dict[str, float]:
    started = time.perf_counter()

    async def served(request: ResolvedRequest, arrival: float) -> float:
        await asyncio.sleep(started + arrival - time.perf_counter())
        await _draw(way, request)
        return time.perf_counter() - started - arrival

    latencies = await asyncio.gather(*map(served, wanted, arrivals))
    return {
        "mean_s": statistics.mean(latencies),
        "p95_s": statistics.quantiles(latencies, n=20)[-1],
        "per_second": len(wanted) / (time.perf_counter() - started),
    }


async def _draw(way: Batcher, request: ResolvedRequest) -> None:
    await way.draw([request], lambda *_: None, threading.Event())


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def _table(figures: dict[str, object]) -> Table:
    table = Table(title=f"{figures['pictures']} pictures, alone {figures['alone_s']} s, company of {figures['most']}")
    for heading in ("load", "way", "mean s", "p95 s", "pictures/s"):
        table.add_column(heading, justify="right" if heading not in ("load", "way") else "left")
    loads = figures["loads"]
    if isinstance(loads, dict):
        for load, ways in loads.items():
            for name, run in ways.items():
                table.add_row(load, name.replace("_", " "), *(f"{value:.2f}" for value in run.values()))
    return table


if __name__ == "__main__":
    main()
