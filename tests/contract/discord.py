"""The Discord adapter's harness: a fake Discord on loopback, a member of one of its servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from bot.adapters.discord.adapter import Discord
from bot.adapters.discord.forms import OPTIONS, PROMPTS
from bot.dispatch import Dispatcher
from bot.settings import Settings
from tests.fakes.discord import EPHEMERAL, FakeDiscord
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_person import CHANNEL, Person, seen

STRING, SUBCOMMAND = 3, 1
PICKED = {
    "imagine": ("prompt",),
    "imagin": ("prompt",),
    "show": ("job",),
    "cancel": ("job",),
    "send": ("job", "number"),
    "delete": ("job", "number"),
    "appeal": ("job", "number", "reason"),
}
"""Options by command, in the order in which text names them."""


@asynccontextmanager
async def connected(discord: FakeDiscord, dispatcher: Dispatcher, home: Path) -> AsyncIterator[None]:
    """Run the adapter against the fake; leaving cancels it, as SIGTERM does."""
    async with discord.serving():
        settings = Settings(
            home=home,
            discord_token=SecretStr(TOKEN),
            discord_api=f"http://{discord.address}/api",
            discord_gateway=f"ws://{discord.address}/gateway/",
        )
        task = asyncio.create_task(Discord(settings, pace=0.0).run(dispatcher))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert not discord.violations, discord.violations
    assert not discord.unsilenced, discord.unsilenced
    assert not discord.misplaced, discord.misplaced


class DiscordHarness:
    """A person in a channel."""

    member = "discord:42"
    hostile: tuple[str, ...] = ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b", "<@42>", "<@&7>", "[a](http")

    def __init__(self, folder: Path) -> None:
        self._home = folder
        self.discord = FakeDiscord()
        self.person = Person(self.discord)
        self._events: dict[str, int] = {}

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Connect the bot."""
        async with connected(self.discord, dispatcher, self._home):
            yield

    async def say(self, command: str, text: str = "", event: str | None = None) -> None:
        """Give a slash command, or fill in its form."""
        number = self._events.setdefault(event, self.discord.snowflake()) if event else None
        if command == "batch":
            await self.person.submit("v1:batch", {PROMPTS: text, OPTIONS: ""}, number)
            return
        if command == "forget-me" and text:
            question = next(message for message in reversed(self.discord.messages) if message.components)
            await self.person.press(question, "Yes, go on")
            return
        options: list[dict[str, object]] = []
        if command in ("cache", "moderation"):
            options = [{"name": text.partition(" ")[0], "type": SUBCOMMAND, "options": []}]
        elif command in PICKED:
            names = PICKED[command]
            words = zip(names, text.split(maxsplit=len(names) - 1) if len(names) > 1 else [text], strict=False)
            options = [{"name": name, "type": STRING, "value": word} for name, word in words]
        await self.person.command(command, options, number)

    async def until(self, text: str, times: int = 1) -> None:
        """Wait for a text."""
        await self.discord.until(lambda: self.transcript().count(text) >= times)

    async def until_pictures(self, count: int) -> None:
        """Wait for attachments."""
        await self.discord.until(lambda: len(self.pictures()) >= count)

    def transcript(self) -> str:
        """Every message and every edit, in order."""
        return "\n".join(seen(text) for text in self.discord.log)

    def pictures(self) -> list[bytes]:
        """The attachments that arrived."""
        return list(self.discord.pictures)

    def standing(self) -> list[bytes]:
        """The attachments of messages that were not deleted."""
        return [file.data for message in self.discord.messages for file in message.files]

    def shown_to_all(self) -> list[bytes]:
        """Those of messages in the channel that are not for one person alone."""
        public = [m for m in self.discord.messages if m.channel == CHANNEL and not m.flags & EPHEMERAL]
        return [file.data for message in public for file in message.files]

    async def until_gone(self, count: int) -> None:
        """Wait for attachments to be taken out."""
        await self.discord.until(lambda: len(self.standing()) <= count)
