"""What the benchmarks of chats share: the command line, commands at an even rate, and the figures of their answers."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
from rich.console import Console
from rich.table import Table

Figures = dict[str, float | int]
Measure = Callable[..., Coroutine[Any, Any, Figures]]
"""Takes a folder, a rate, seconds, and the switches of the command line by name."""

START_SECONDS = 60.0
ACK_SECONDS = 3.0
"""What Discord and Slack grant."""
WARM_UP = 5
"""Commands before the first that is timed."""
SILENCE_SECONDS = 65.0
"""Without another picture, after which those that are missing count as lost; each takes five in the engine."""
QUIET_SECONDS = 3.0
"""After the last picture, for one that comes twice and for memory to be given back."""
MEBIBYTE = 2**20

T = TypeVar("T")


def main(chat: str, measure: Measure, switches: Mapping[str, str] | None = None) -> None:
    """Read the command line, measure and print; `switches` are further options of it, and what they do."""
    parser = argparse.ArgumentParser(description=f"Time acknowledgements on {chat} under load.")
    parser.add_argument("--rate", type=float, default=100.0, help="commands a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they come")
    for name, about in (switches or {}).items():
        parser.add_argument(f"--{name}", action="store_true", help=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    chosen = {name: getattr(given, name) for name in switches or {}}
    with tempfile.TemporaryDirectory(prefix="easel-load-") as folder:
        figures = asyncio.run(measure(Path(folder), given.rate, given.seconds, **chosen))
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(_table(chat, figures))


@asynccontextmanager
async def bot(module: str, *words: str) -> AsyncIterator[Process]:
    """A bot in a process of its own, killed at the end."""
    process = await create_subprocess_exec(sys.executable, "-m", module, *words)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_up(process: Process, up: Awaitable[object]) -> None:
    """Wait until a bot is connected.

    Raises:
        RuntimeError: it has ended instead, or takes too long.
    """
    ended, connected = asyncio.ensure_future(process.wait()), asyncio.ensure_future(up)
    await asyncio.wait({ended, connected}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not connected.done():
        connected.cancel()
        raise RuntimeError("The bot did not connect.")
    await connected


async def evenly(count: int, rate: float, give: Callable[[int], Awaitable[T]]) -> list[tuple[float, T]]:
    """Give so many commands, each when it is due whatever became of the ones before.

    Returns what was given, and the moment when it was due, by the performance counter. Answers are to be timed from
    that moment: where the bot reads slowly, or this process is late, the command is sent late, and a time taken from
    its sending would hide the delay (coordinated omission).
    """
    tasks: list[asyncio.Task[tuple[float, T]]] = []
    begun = time.perf_counter()
    for number in range(count):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(_noted(due, give(number))))
    return list(await asyncio.gather(*tasks))


async def _noted(due: float, given: Awaitable[T]) -> tuple[float, T]:
    return due, await given


async def drained(seen: Callable[[], int], wanted: int, silence: float = SILENCE_SECONDS) -> None:
    """Wait until so much has arrived, or nothing has for so many seconds."""
    before, since = seen(), time.perf_counter()
    while (now := seen()) < wanted and time.perf_counter() - since < silence:
        if now > before:
            before, since = now, time.perf_counter()
        await asyncio.sleep(0.1)


async def settled() -> None:
    """Give what comes late the time to come."""
    await asyncio.sleep(QUIET_SECONDS)


def memory(process: Process) -> float:
    """Mebibytes that a process has in memory."""
    return round(psutil.Process(process.pid).memory_info().rss / MEBIBYTE, 1)


def figures(
    rate: float, acknowledged: Iterable[float], *, lost: int, duplicated: int, before: float, after: float
) -> Figures:
    """The figures that are printed.

    Args:
        rate: commands a second.
        acknowledged: seconds until each command that was acknowledged in time was.
        lost: of these, how many brought no picture.
        duplicated: pictures that came once more.
        before: mebibytes in memory before.
        after: and after.
    """
    times = sorted(1000 * seconds for seconds in acknowledged)
    return {
        "rate": rate,
        "accepted": len(times),
        "ack_p50_ms": _share(times, 0.5),
        "ack_p99_ms": _share(times, 0.99),
        "ack_max_ms": _share(times, 1.0),
        "lost": lost,
        "duplicated": duplicated,
        "rss_mb_before": before,
        "rss_mb_after": after,
    }


def _share(times: list[float], share: float) -> float:
    """The time within which that share came, by the nearest rank; 0 where nothing came."""
    return round(times[math.ceil(share * len(times)) - 1], 1) if times else 0.0


def _table(chat: str, figures: Figures) -> Table:
    table = Table(title=f"{chat}, {figures['rate']:g} commands a second")
    for name in figures:
        table.add_column(name)
    table.add_row(*(f"{value:g}" for value in figures.values()))
    return table
