"""The Slack adapter's harness: a person in a channel of a fake workspace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from bot.adapters import slack
from bot.adapters.slack.adapter import Slack
from bot.adapters.slack.incoming import SLASH_COMMANDS
from bot.adapters.slack.manifest import EVENTS_PATH
from bot.clock import SystemClock
from bot.dispatch import Dispatcher
from bot.settings import Settings
from tests.fakes.slack import SECRET, FakeSlack
from tests.fakes.slack_api import APP_TOKEN, BOT, BOT_TOKEN, CHANNEL, DIRECT, TEAM

SLASHES = {command: slash for slash, command in SLASH_COMMANDS.items()}


def escaped(text: str) -> str:
    """What Slack makes of typed text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def standing(element: dict[str, Any]) -> dict[str, Any]:
    """What is sent of a field that nobody touched."""
    names = {"initial_value": "value", "initial_option": "selected_option", "initial_options": "selected_options"}
    return {sent: element[name] for name, sent in names.items() if name in element}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class HurriedClock(SystemClock):
    """Doesn't wait, and remembers for how long it was asked to."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        """Let others go first."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


class SlackHarness:
    """Somebody who types slash commands, and mentions the bot for what is none."""

    member = f"slack:{TEAM}/UADA"
    hostile: tuple[str, ...] = ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b[31m", "\x9b31m", "\x07")
    by_http = False

    def __init__(self, folder: Path | None = None) -> None:
        self.slack = FakeSlack()
        self.clock = HurriedClock()
        self.team = TEAM
        self.settings: dict[str, Any] = {"slack_bot_token": BOT_TOKEN, "slack_app_token": APP_TOKEN}
        self.folder = folder or Path("unused")
        self._numbers = 0

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Run the adapter against the fake; leaving cancels it, as SIGTERM does."""
        async with self.slack.serving() as base_url:
            port = self._by_http() if self.by_http else 0
            settings = Settings(home=self.folder, slack_api=base_url, **self.settings)
            adapter = slack.make(settings)
            assert isinstance(adapter, Slack)
            hurried = Slack(settings, clock=self.clock, progress_seconds=0.0)
            before = self.slack.connections
            task = asyncio.create_task(hurried.run(dispatcher))
            try:
                started = listening(port) if port else self.slack.until(lambda: self.slack.connections > before)
                await _or_failed(task, asyncio.ensure_future(started))
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        assert self.slack.trespasses == [], self.slack.trespasses

    def _by_http(self) -> int:
        port = free_port()
        self.settings |= {"slack_http": True, "slack_http_port": port, "slack_signing_secret": SECRET}
        self.slack.events_url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
        return port

    async def say(self, command: str, text: str = "", event: str | None = None) -> None:
        """Type a slash command; where that opens a form, fill it in; what is no command is said to the bot."""
        if command not in SLASHES:
            await self.mention(f"/{command} {text}")
        elif command == "batch" or (command == "imagine" and not text.strip()):
            opened = len(self.slack.views)
            await self.slash(command, event=event)
            await self.slack.until(lambda: len(self.slack.views) > opened)
            await self.submit({"prompts" if command == "batch" else "prompt": text})
        else:
            await self.slash(command, text, event=event)

    async def slash(
        self, command: str, text: str = "", *, user: str = "UADA", event: str | None = None, channel: str = CHANNEL
    ) -> str:
        """Give a slash command; returns its envelope."""
        payload = {
            "command": SLASHES[command],
            "text": escaped(text),
            "team_id": self.team,
            "channel_id": channel,
            "user_id": user,
            "trigger_id": self.slack.trigger(event),
            "response_url": self.slack.response_url(),
        }
        return await self.slack.emit("slash_commands", payload)

    async def mention(self, text: str, *, user: str = "UADA", number: int | None = None, **event: Any) -> str:
        """Say something to the bot; with a `number` given before, the same event again."""
        self._numbers += number is None
        number = self._numbers if number is None else number
        self.slack.threads |= {str(event["thread_ts"])} if "thread_ts" in event else set()
        said = {
            "type": "app_mention",
            "user": user,
            "team": self.team,
            "channel": CHANNEL,
            "ts": f"{number}.000200",
            "text": f"<@{BOT}> {escaped(text)}",
        }
        return await self.happens(said | event, event_id=f"Ev{number}")

    async def happens(self, event: dict[str, Any], **outside: Any) -> str:
        """Let Slack tell of an event."""
        payload = {"type": "event_callback", "team_id": self.team, "event_id": "Ev0", "event": event}
        return await self.slack.emit("events_api", payload | outside)

    async def submit(self, typed: dict[str, str], *, user: str = "UADA", fields: Any = None) -> str:
        """Fill in and send the modal that was opened last; `fields` are whole elements of its state."""
        view = self.slack.views[-1]
        values = {block["block_id"]: {block["block_id"]: standing(block["element"])} for block in view["blocks"]}
        values |= {name: {name: {"value": text or None}} for name, text in typed.items()}
        values |= {name: {name: element} for name, element in (fields or {}).items()}
        sent = view | {"id": f"V{len(self.slack.views)}", "state": {"values": values}}
        return await self.interact("view_submission", user=user, view=sent)

    async def interact(self, kind: str, *, user: str = "UADA", **payload: Any) -> str:
        """Press, choose or send something."""
        base = {
            "type": kind,
            "team": {"id": self.team},
            "user": {"id": user, "team_id": self.team},
            "trigger_id": self.slack.trigger(),
            "response_url": self.slack.response_url(),
        }
        return await self.slack.emit("interactive", base | payload)

    async def until(self, text: str, times: int = 1) -> None:
        """Wait for a text."""
        await self.slack.until(lambda: self.transcript().count(text) >= times)

    async def until_pictures(self, count: int) -> None:
        """Wait for files to stand in the channel."""
        await self.slack.until(lambda: len(self.pictures()) >= count)

    def transcript(self) -> str:
        """What the person has read."""
        return "\n".join(self.slack.shown)

    def pictures(self) -> list[bytes]:
        """The files that were uploaded."""
        return [file.data for file in self.slack.arrived]

    def standing(self) -> list[bytes]:
        """The files that were not deleted since."""
        return [file.data for file in self.slack.arrived if not file.deleted]

    def shown_to_all(self) -> list[bytes]:
        """The files that stand in the channel, and not in direct messages."""
        return [file.data for file in self.slack.arrived if file.channel != DIRECT]

    async def until_gone(self, count: int) -> None:
        """Wait for files to be deleted."""
        await self.slack.until(lambda: len(self.standing()) <= count)


class SlackHttpHarness(SlackHarness):
    """The same person, where events come by HTTP."""

    by_http = True


async def _or_failed(task: asyncio.Task[None], started: asyncio.Future[None]) -> None:
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        task.result()
    await started


async def listening(port: int, patience: float = 10.0) -> None:
    """Wait until somebody listens on a port."""
    async with asyncio.timeout(patience), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.005)
