"""How fast commands are acknowledged under load.

`python -m benchmarks.slack [--rate R] [--seconds S] [--http] [--json]`

A Slack on loopback sends slash commands at an even rate to a bot in a process of its own, whose engine takes five
seconds a picture: down its socket or, with `--http`, as signed requests. An acknowledgement is timed from the moment
when the envelope is sent to the moment when its acknowledgement arrives, so what this process itself needs counts
against the bot. Then every picture is waited for and counted.
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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.discord_bot import PICTURE_SECONDS
from bot.adapters.slack.manifest import EVENTS_PATH
from tests.contract.slack import free_port, listening
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_api import CHANNEL, TEAM, Payload, member

Figures = dict[str, float | int]

START_SECONDS = 60.0
WARM_UP = 5
"""Commands before the first that is timed."""
DRAIN_SECONDS = 120.0
"""Longest wait for pictures after the last command."""
QUIET_SECONDS = 2.0
"""After the last picture, for one that comes twice and for memory to be given back."""
ACK_SECONDS = 3.0
"""What Slack grants."""
MEBIBYTE = 2**20


@dataclass
class Counting(FakeSlack):
    """A Slack that keeps no pictures and judges nothing; it counts files by their names."""

    seen: Counter[str] = field(default_factory=Counter)

    def check(self, given: Payload) -> None:
        """Leave that to the tests."""

    def stand(self, given: Payload, ts: str | None = None) -> str:  # noqa: ARG002
        """Keep no message."""
        return ts or self._stamp()

    def called(self, method: str, given: Payload, team: str) -> Payload:
        """Answer, and forget what was asked."""
        answer = super().called(method, given, team)
        self.calls.clear()
        return answer

    def _users_info(self, given: Payload) -> Payload:
        return {"user": member(given["user"])}

    def _chat_update(self, given: Payload) -> Payload:
        return {"ts": given["ts"]}

    def _chat_delete(self, given: Payload) -> Payload:  # noqa: ARG002
        return {}

    def _files_completeUploadExternal(self, given: Payload) -> Payload:  # noqa: N802
        answer = super()._files_completeUploadExternal(given)
        self.seen.update(self.files[item["id"]].name for item in given["files"] if given.get("channel_id"))
        return answer

    async def _upload(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="OK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time acknowledgements on Slack under load.")
    parser.add_argument("--rate", type=float, default=100.0, help="commands a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they come")
    parser.add_argument("--http", action="store_true", help="send requests instead of envelopes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="easel-slack-") as folder:
        figures = asyncio.run(measure(Path(folder), given.rate, given.seconds, by_http=given.http))
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(_table(figures))


async def measure(home: Path, rate: float, seconds: float, *, by_http: bool = False) -> Figures:
    """Give the commands, wait for the pictures, count."""
    slack = Counting()
    async with slack.serving() as api, bot(home, slack, api, free_port() if by_http else 0) as process:
        await _commands(slack, WARM_UP, rate)
        await _drained(slack, WARM_UP)
        before = _memory(process)
        asked = await _commands(slack, round(rate * seconds), rate)
        await _answered(slack, asked)
        times = sorted(1000 * slack.acked[envelope] for envelope in asked if _in_time(slack, envelope))
        await _drained(slack, WARM_UP + len(times))
        await asyncio.sleep(QUIET_SECONDS)
        return {
            "rate": rate,
            "accepted": len(times),
            "ack_p50_ms": round(statistics.median(times), 1),
            "ack_p99_ms": round(times[int(0.99 * (len(times) - 1))], 1),
            "ack_max_ms": round(times[-1], 1),
            "lost": WARM_UP + len(times) - len(slack.seen),
            "duplicated": sum(slack.seen.values()) - len(slack.seen),
            "rss_mb_before": before,
            "rss_mb_after": _memory(process),
        }


@asynccontextmanager
async def bot(home: Path, slack: FakeSlack, api: str, port: int) -> AsyncIterator[Process]:
    """A bot that is connected, or that listens at a port."""
    process = await create_subprocess_exec(sys.executable, "-m", "benchmarks.slack_bot", str(home), api, str(port))
    slack.patience = START_SECONDS
    try:
        if port:
            await listening(port, START_SECONDS)
            slack.events_url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
        else:
            await slack.until(lambda: slack.connections > 0)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _commands(slack: FakeSlack, count: int, rate: float) -> list[str]:
    """Give so many commands at an even rate, each by somebody else; their envelopes."""
    asked: list[asyncio.Task[str]] = []
    begun = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        command = {
            "command": "/imagine",
            "text": f"a lighthouse on a cliff at dusk, number {number}",
            "team_id": TEAM,
            "channel_id": CHANNEL,
            "user_id": f"U{count}N{number}",
            "trigger_id": slack.trigger(),
            "response_url": slack.response_url(),
        }
        asked.append(asyncio.create_task(slack.emit("slash_commands", command)))
    return list(await asyncio.gather(*asked))


async def _answered(slack: FakeSlack, asked: list[str]) -> None:
    """Wait until every command was acknowledged, or is too late."""
    await _until(slack, lambda: all(envelope in slack.acked for envelope in asked), ACK_SECONDS)


def _in_time(slack: FakeSlack, envelope: str) -> bool:
    return slack.acked.get(envelope, ACK_SECONDS) < ACK_SECONDS


async def _drained(slack: Counting, pictures: int) -> None:
    """Wait until so many pictures have arrived, or no more can be expected."""
    await _until(slack, lambda: len(slack.seen) >= pictures, PICTURE_SECONDS + DRAIN_SECONDS)


async def _until(slack: FakeSlack, seen: Callable[[], bool], patience: float) -> None:
    slack.patience = patience
    with suppress(TimeoutError):
        await slack.until(seen)


def _memory(process: Process) -> float:
    return round(psutil.Process(process.pid).memory_info().rss / MEBIBYTE, 1)


def _table(figures: Figures) -> Table:
    table = Table(title=f"Slack, {figures['rate']:g} commands a second")
    for name in figures:
        table.add_column(name)
    table.add_row(*(f"{value:g}" for value in figures.values()))
    return table


if __name__ == "__main__":
    main()
