"""A machine of those that Modal starts and takes away, with the chats on it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from bot.serverless.chats import Chats
from bot.serverless.keeper import Keeper
from bot.settings import Settings
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_door import PUBLIC_KEY, Door
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.engine_client import ScriptedEngine


class Nowhere:
    """A volume that can't be reached."""

    def commit(self) -> None:
        raise OSError("no volume")

    def reload(self) -> None:
        raise OSError("no volume")


def found(copy: Path, question: str) -> list[Any]:
    """What a copy of the database answers; nothing while there is none."""
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as database:
            return database.execute(question).fetchall()
    except sqlite3.OperationalError:
        return []


async def health(machine: Machine) -> str:
    transport = httpx.ASGITransport(machine.chats.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://easel") as client:
        return (await client.get("/health")).text


class Machine:
    """A container: its own disk, a volume that outlives it, and calls of `attend` that keep it."""

    def __init__(self, folder: Path, name: str, engine: ScriptedEngine, settings: dict[str, Any]) -> None:
        self.settings = Settings(home=folder / name, **settings)
        self.copy = folder / "volume" / "easel.db"
        self.commits = 0
        self.copied = asyncio.Event()
        self.kept: list[asyncio.Task[None]] = []
        self.loop = asyncio.get_running_loop()
        self.keeper = Keeper(self.settings.database, folder / "volume", self)
        self.chats = Chats(self.settings, self.keeper, self.keep, client=engine)

    def commit(self) -> None:
        self.commits += 1
        if self.commits > 1:  # the first one says who holds the database
            self.loop.call_soon_threadsafe(self.copied.set)

    def reload(self) -> None:
        """The volume is a folder of this machine."""

    def found(self, question: str) -> list[Any]:
        """What the copy on the volume answers."""
        return found(self.copy, question)

    async def until_found(self, question: str) -> None:
        """Wait for a copy that has an answer."""
        async with asyncio.timeout(20):
            while not self.found(question):
                self.copied.clear()
                await self.copied.wait()

    async def keep(self) -> None:
        self.kept.append(asyncio.create_task(self.chats.attend()))

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(self.chats.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://easel") as client:
            return await client.post(path, content=body, headers=dict(headers))


@asynccontextmanager
async def machine(folder: Path, name: str, engine: ScriptedEngine, **settings: Any) -> AsyncIterator[Machine]:
    made = Machine(folder, name, engine, settings)
    await made.chats.start()
    try:
        yield made
    finally:
        await made.chats.stop()
        await asyncio.gather(*made.kept, return_exceptions=True)


def for_discord(discord: FakeDiscord) -> dict[str, Any]:
    return {
        "modal": {"serve": ("discord",)},
        "discord_token": SecretStr(TOKEN),
        "discord_public_key": PUBLIC_KEY,
        "discord_api": f"http://{discord.address}/api",
    }


def connected(discord: FakeDiscord, machine: Machine) -> Door:
    async def post(headers: dict[str, str], body: bytes) -> int:
        return (await machine.post("/discord/interactions", headers, body)).status_code

    door = Door(post)
    assert machine.chats._discord is not None
    door.ready = machine.chats._discord.ready
    discord.gateway = door  # type: ignore[assignment]
    return door
