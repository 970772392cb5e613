"""The Slack adapter's harness: a person in a channel of a fake workspace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bot.adapters.slack.adapter import Slack
from bot.adapters.slack.incoming import SLASH_COMMANDS
from bot.clock import SystemClock
from bot.dispatch import Dispatcher
from tests.fakes.slack import APP_TOKEN, BOT, BOT_TOKEN, CHANNEL, TEAM, FakeSlack

SLASHES = {command: slash for slash, command in SLASH_COMMANDS.items()}


def escaped(text: str) -> str:
    """What Slack makes of typed text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class HurriedClock(SystemClock):
    """Doesn't wait, and remembers for how long it was asked to."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Let others go first."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


class SlackHarness:
    """Somebody who types slash commands, and mentions the bot for what is none."""

    member = "slack:UADA"
    hostile: tuple[str, ...] = ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b[31m", "\x9b31m", "\x07")

    def __init__(self, folder: Path | None = None) -> None:
        self.slack = FakeSlack()
        self.clock = HurriedClock()
        self._numbers = 0

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Run the adapter against the fake; leaving cancels it, as SIGTERM does."""
        async with self.slack.serving() as base_url:
            adapter = Slack(
                bot_token=BOT_TOKEN, app_token=APP_TOKEN, base_url=base_url, clock=self.clock, progress_seconds=0.0
            )
            before = self.slack.connections
            task = asyncio.create_task(adapter.run(dispatcher))
            try:
                await self._or_failed(task, lambda: self.slack.connections > before)
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        assert self.slack.trespasses == []

    async def _or_failed(self, task: asyncio.Task[None], seen: Callable[[], bool]) -> None:
        waiting = asyncio.create_task(self.slack.until(seen))
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()
        await waiting

    async def say(self, command: str, text: str = "", event: str | None = None) -> None:
        """Type a slash command; a batch is filled into its modal, and what is no command is said to the bot."""
        if command not in SLASHES:
            await self.mention(f"/{command} {text}")
        elif command == "batch":
            opened = len(self.slack.views)
            await self.slash("batch")
            await self.slack.until(lambda: len(self.slack.views) > opened)
            await self.submit(text)
        else:
            await self.slash(command, text, event=event)

    async def slash(self, command: str, text: str = "", *, user: str = "UADA", event: str | None = None) -> str:
        """Give a slash command; returns its envelope."""
        payload = {
            "command": SLASHES[command],
            "text": escaped(text),
            "team_id": TEAM,
            "channel_id": CHANNEL,
            "user_id": user,
            "trigger_id": self.slack.trigger(event),
            "response_url": self.slack.response_url(),
        }
        return await self.slack.emit("slash_commands", payload)

    async def mention(self, text: str, *, user: str = "UADA", **event: Any) -> str:
        """Say something to the bot."""
        self._numbers += 1
        ts = f"{self._numbers}.000200"
        said = {
            "type": "app_mention",
            "user": user,
            "team": TEAM,
            "channel": CHANNEL,
            "ts": ts,
            "text": f"<@{BOT}> {escaped(text)}",
        }
        payload = {"type": "event_callback", "team_id": TEAM, "event_id": f"Ev{self._numbers}", "event": said | event}
        return await self.slack.emit("events_api", payload)

    async def submit(self, text: str) -> str:
        """Fill in and send the modal that was opened last."""
        view = self.slack.views[-1]
        values = {"prompts": {"prompts": {"type": "plain_text_input", "value": text or None}}}
        return await self.interact(
            "view_submission", view=view | {"id": f"V{len(self.slack.views)}", "state": {"values": values}}
        )

    async def interact(self, kind: str, *, user: str = "UADA", **payload: Any) -> str:
        """Press, choose or send something."""
        base = {
            "type": kind,
            "team": {"id": TEAM},
            "user": {"id": user, "team_id": TEAM},
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
