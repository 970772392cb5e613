"""How fast commands are acknowledged under load: `python -m benchmarks.discord [--rate R] [--seconds S] [--json]`.

A Discord on loopback sends slash commands at an even rate to a bot in a process of its own, whose engine takes five
seconds a picture. An acknowledgement is timed from the moment when the event is sent to the moment when the callback
arrives, so what this process itself needs counts against the bot. Then every picture is waited for and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import Process, create_subprocess_exec
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.discord_bot import PICTURE_SECONDS
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_person import Person
from tests.fakes.discord_values import Asked

Figures = dict[str, float | int]

START_SECONDS = 60.0
WARM_UP = 5
"""Commands before the first that is timed."""
SILENCE_SECONDS = 60.0
"""Without another picture, after which those that are missing count as lost."""
QUIET_SECONDS = 2.0
"""After the last picture, for one that comes twice and for memory to be given back."""
MEBIBYTE = 2**20
FIRST_PERSON = 1_000_000


class Counting(FakeDiscord):
    """A Discord that keeps no pictures, and counts them by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.judging = False
        self.seen: Counter[str] = Counter()

    def arrived(self, name: str, data: bytes) -> None:  # noqa: ARG002  (what the fake calls)
        """Count it."""
        self.seen[name] += 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time acknowledgements on Discord under load.")
    parser.add_argument("--rate", type=float, default=100.0, help="commands a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they come")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="easel-discord-") as folder:
        figures = asyncio.run(measure(Path(folder), given.rate, given.seconds))
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(_table(figures))


async def measure(home: Path, rate: float, seconds: float) -> Figures:
    """Give the commands, wait for the pictures, count."""
    discord = Counting()
    async with discord.serving(), bot(home, discord) as process:
        await _commands(discord, WARM_UP, rate)
        await _drained(discord, WARM_UP)
        before = _memory(process)
        asked = await _commands(discord, round(rate * seconds), rate)
        accepted = [command for command in asked if await _acknowledged(command)]
        await _drained(discord, WARM_UP + len(accepted))
        await asyncio.sleep(QUIET_SECONDS)
        times = sorted(1000 * ((command.answered or 0.0) - command.sent) for command in accepted)
        return {
            "rate": rate,
            "accepted": len(accepted),
            "ack_p50_ms": round(statistics.median(times), 1),
            "ack_p99_ms": round(times[int(0.99 * (len(times) - 1))], 1),
            "ack_max_ms": round(times[-1], 1),
            "lost": WARM_UP + len(accepted) - len(discord.seen),
            "duplicated": sum(discord.seen.values()) - len(discord.seen),
            "rss_mb_before": before,
            "rss_mb_after": _memory(process),
        }


@asynccontextmanager
async def bot(home: Path, discord: FakeDiscord) -> AsyncIterator[Process]:
    """A bot that is connected."""
    words = ("-m", "benchmarks.discord_bot", str(home), discord.address)
    process = await create_subprocess_exec(sys.executable, *words)
    try:
        async with asyncio.timeout(START_SECONDS):
            await discord.gateway.ready.wait()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _commands(discord: FakeDiscord, count: int, rate: float) -> list[Asked]:
    """Give so many commands at an even rate, each by somebody else."""
    asked: list[Asked] = []
    begun = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        person = Person(discord, FIRST_PERSON + len(discord.asked))
        asked.append(await person.imagine(f"a lighthouse on a cliff at dusk, number {number}"))
    return asked


async def _acknowledged(command: Asked) -> bool:
    """Whether a command was acknowledged within the time that Discord grants."""
    deadline = command.sent + 3.0
    while command.answered is None and time.perf_counter() < deadline:  # noqa: ASYNC110  (a time that the fake writes down)
        await asyncio.sleep(0.05)
    return command.answered is not None and command.answered <= deadline


async def _drained(discord: Counting, pictures: int) -> None:
    """Wait until so many pictures have arrived, or no more can be expected."""
    seen, since = 0, time.perf_counter()
    while len(discord.seen) < pictures and time.perf_counter() - since < PICTURE_SECONDS + SILENCE_SECONDS:
        if len(discord.seen) > seen:
            seen, since = len(discord.seen), time.perf_counter()
        await asyncio.sleep(0.1)


def _memory(process: Process) -> float:
    return round(psutil.Process(process.pid).memory_info().rss / MEBIBYTE, 1)


def _table(figures: Figures) -> Table:
    table = Table(title=f"Discord, {figures['rate']:g} commands a second")
    for name in figures:
        table.add_column(name)
    table.add_row(*(f"{value:g}" for value in figures.values()))
    return table


if __name__ == "__main__":
    main()
