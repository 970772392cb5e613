"""How fast commands are acknowledged under load.

`python -m benchmarks.slack [--rate R] [--seconds S] [--http] [--json]`

A Slack on loopback sends slash commands at an even rate to a bot in a process of its own, whose engine takes five
seconds a picture: down its socket or, with `--http`, as signed requests. An acknowledgement is timed from the moment
when its command was due to the moment when it arrives, so what this process itself needs counts against the bot. Then
every picture is waited for and counted.
"""

from __future__ import annotations

import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from benchmarks import load
from bot.adapters.slack.manifest import EVENTS_PATH
from tests.contract.slack import free_port, listening
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_api import CHANNEL, TEAM, Payload, member

PROMPT = "a lighthouse on a cliff at dusk, number"


@dataclass
class Counting(FakeSlack):
    """A Slack that keeps no pictures and judges nothing; it counts files by their texts, which hold their prompts."""

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
        shared = [self.files[item["id"]] for item in given["files"] if given.get("channel_id")]
        self.seen.update(file.alt.rpartition(": ")[2] for file in shared)
        return answer

    async def _upload(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="OK")

    async def ask(self, number: int) -> tuple[str, float]:
        """Have somebody new give a command that nobody gave before; its envelope, and when it was sent."""
        command = {
            "command": "/imagine",
            "text": f"{PROMPT} {number}",
            "team_id": TEAM,
            "channel_id": CHANNEL,
            "user_id": f"U{number}",
            "trigger_id": self.trigger(),
            "response_url": self.response_url(),
        }
        begun = time.perf_counter()
        return await self.emit("slash_commands", command), begun


async def measure(home: Path, rate: float, seconds: float, *, http: bool = False) -> load.Figures:
    """Give the commands, wait for the pictures, count."""
    slack = Counting()
    count = round(rate * seconds)
    async with slack.serving() as api, bot(home, slack, api, free_port() if http else 0) as process:
        await load.evenly(load.WARM_UP, rate, lambda number: slack.ask(count + number))
        await load.drained(lambda: len(slack.seen), load.WARM_UP)
        before = load.memory(process)
        asked = await load.evenly(count, rate, slack.ask)
        envelopes = {envelope for _, (envelope, _) in asked}
        await load.drained(lambda: len(envelopes & slack.acked.keys()), count, load.ACK_SECONDS)
        times = {
            f"{PROMPT} {number}": slack.acked[envelope] + sent - due
            for number, (due, (envelope, sent)) in enumerate(asked)
            if slack.acked.get(envelope, load.ACK_SECONDS) + sent - due < load.ACK_SECONDS
        }
        await load.drained(lambda: len(times.keys() & slack.seen.keys()), len(times))
        await load.settled()
        return load.figures(
            rate,
            times.values(),
            lost=len(times.keys() - slack.seen.keys()),
            duplicated=slack.seen.total() - len(slack.seen),
            before=before,
            after=load.memory(process),
        )


@asynccontextmanager
async def bot(home: Path, slack: FakeSlack, api: str, port: int) -> AsyncIterator[Process]:
    """A bot that is connected, or that listens at a port."""
    async with load.bot("benchmarks.slack_bot", str(home), api, str(port)) as process:
        if port:
            await load.until_up(process, listening(port, load.START_SECONDS))
            slack.events_url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
        else:
            slack.patience = load.START_SECONDS
            await load.until_up(process, slack.until(lambda: slack.connections > 0))
        yield process


if __name__ == "__main__":
    load.main("Slack", measure, {"http": "send requests instead of envelopes"})
