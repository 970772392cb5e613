"""Commands are acknowledged whatever the engine is doing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from bot.app import running
from bot.settings import Settings
from tests.contract.discord import connected
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_person import Person
from tests.fakes.engine_client import ScriptedEngine

COMMANDS = 200


class Blocked(ScriptedEngine):
    """Holds on to the threads that it draws in, as a library does that is loading."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    async def _wait(self, stop: asyncio.Event) -> None:
        await asyncio.to_thread(self.free.wait)


async def test_200_commands_are_acknowledged_while_the_engine_is_blocked(
    settings: Settings, discord: FakeDiscord, tmp_path: Path
) -> None:
    discord.judging = False
    engine = Blocked()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        try:
            await Person(discord).imagine("a red apple")
            await discord.until(engine.begun.is_set)
            asked = [await Person(discord, 1000 + number).imagine("a cat") for number in range(COMMANDS)]
            await discord.until(lambda: all(command.acknowledged for command in asked))
            assert discord.pictures == []
        finally:
            engine.free.set()
        await discord.until(lambda: bool(discord.pictures))
