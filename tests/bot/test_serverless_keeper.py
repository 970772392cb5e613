"""The database on its way from one machine to the next."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from bot.serverless.keeper import Keeper
from bot.settings import Settings
from tests.bot.machine import Nowhere, health, machine
from tests.fakes.engine_client import ScriptedEngine


async def test_a_damaged_copy_is_not_begun_with(tmp_path: Path) -> None:
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        await one.keeper.save()
        (one.settings.home / "easel.db").touch()  # as if something had changed
    copy, before = tmp_path / "volume" / "easel.db", tmp_path / "volume" / "easel.db.before"
    assert before.exists()
    copy.write_bytes(copy.read_bytes()[:5000])
    async with machine(tmp_path, "two", ScriptedEngine()) as two:
        assert await health(two) == "ok"
    copy.write_bytes(b"torn")
    before.write_bytes(b"torn as well")
    async with machine(tmp_path, "three", ScriptedEngine()) as three:
        assert three.chats._session is None, "an empty database would be copied over what can perhaps be mended"
    assert copy.read_bytes() == b"torn"


async def test_nothing_is_copied_that_has_not_changed(tmp_path: Path) -> None:
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        await one.keeper.save()
        commits = one.commits
        await one.keeper.save()
        assert one.commits == commits


async def test_what_is_known_of_the_engine_comes_along(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    memory, volume = tmp_path / "home" / "engine.json", Nowhere()
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        keeper = Keeper(one.settings.database, tmp_path / "kept", volume, beside=(memory,))
        await keeper.restore()
        memory.parent.mkdir()
        memory.write_text("known")
        await keeper.save()
    memory.unlink()
    await Keeper(settings.database, tmp_path / "kept", volume, beside=(memory,)).restore()
    assert memory.read_text() == "known"


class Slow:
    """A volume that takes its time, and notes whether anybody comes meanwhile."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.taking = False
        self.came = threading.Event()

    def commit(self) -> None:
        """Give somebody else the time to come."""
        self.taking = True
        self.loop.call_soon_threadsafe(self.begun.set)
        self.came.wait(0.5)
        self.taking = False

    def reload(self) -> None:
        """Each copy begins with it."""
        if self.taking:
            self.came.set()


async def test_a_copy_that_nobody_waits_for_any_more_ends_before_the_next_begins(tmp_path: Path) -> None:
    """Both would write the same draft."""
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        volume = Slow()
        keeper = Keeper(one.settings.database, tmp_path / "kept", volume)
        await keeper.restore()
        volume.begun.clear()
        given_up = asyncio.create_task(keeper.save())
        await volume.begun.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await keeper.save()
        assert not volume.came.is_set()
