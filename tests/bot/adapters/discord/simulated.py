"""A simulated Discord in this process (simcord), with its own clock, and the bot in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import discord
import simcord

from bot.adapters.base import Answers, Surface
from bot.adapters.discord.client import EaselClient, use_addresses
from bot.app import App
from bot.chat import Update
from tests.fakes.engine_client import ScriptedEngine

SETTLE_SECONDS = 30.0
"""Only a test that fails waits so long."""
MANAGER = discord.Permissions(manage_guild=True)


class Clocked(ScriptedEngine):
    """Takes so many seconds a picture, by the simulated clock."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def _wait(self, stop: asyncio.Event) -> None:
        await asyncio.sleep(self.seconds)


class Parked(Answers):
    """Answers whose waiting for a job the simulation knows of: it goes on with whatever else there is to do."""

    env: simcord.Env | None = None

    def start(self, updates: AsyncGenerator[Update, None], surface: Surface) -> None:
        super().start(self._parked(updates), surface)

    async def _parked(self, updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        assert self.env is not None
        async with aclosing(updates):
            while (update := await self.env.external_wait(anext(updates, None), reason="the job")) is not None:
                yield update


@dataclass
class World:
    """One server with one channel; Ada is a member, Mo manages it."""

    env: simcord.Env
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    ada: simcord.MemberActor
    mo: simcord.MemberActor

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for what is done beside the simulation, as the database is."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while not seen():
                await self.env.settle()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def simulated(app: App, *, parked: bool = False) -> AsyncIterator[World]:
    """Run the bot in it; `parked` says that its jobs wait for the simulated clock."""
    use_addresses(app.settings.discord_api, app.settings.discord_gateway)
    async with Parked(app.dispatcher) if parked else Answers(app.dispatcher) as answers:
        client = EaselClient(app.dispatcher, answers, pace=3.0)
        env = simcord.Env(client, shard_count=1, settle_timeout=SETTLE_SECONDS)
        if isinstance(answers, Parked):
            answers.env = env
        await env.start()
        try:
            guild = env.create_guild()
            channel = guild.create_text_channel("pictures")
            manager = guild.create_role("Managers", permissions=MANAGER)
            yield World(
                env=env,
                guild=guild,
                channel=channel,
                ada=guild.add_member(env.create_user("ada")),
                mo=guild.add_member(env.create_user("mo"), roles=[manager]),
            )
            env.raise_errors()
        finally:
            await env.shutdown()
