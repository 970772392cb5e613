"""Chats on machines that come and go: nothing is lost between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from bot.serverless import chats
from bot.serverless import page as serverless_page
from bot.serverless.chats import Chats
from bot.serverless.keeper import Keeper
from bot.serverless.page import page
from bot.settings import Settings
from tests.contract.slack import free_port
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_door import PUBLIC_KEY, Door, signed
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_person import Person
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack import SECRET, FakeSlack
from tests.fakes.slack import signed as signed_by_slack
from tests.fakes.slack_api import BOT_TOKEN


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(chats, "QUIET_SECONDS", 0.5)


class Machine:
    """A container: its own disk, a volume that outlives it, and calls of `attend` that keep it."""

    def __init__(self, folder: Path, name: str, engine: ScriptedEngine, settings: dict[str, Any]) -> None:
        self.settings = Settings(home=folder / name, **settings)
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

    async def keep(self) -> None:
        self.kept.append(asyncio.create_task(self.chats.attend()))

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(self.chats.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://easel") as client:
            return await client.post(path, content=body, headers=dict(headers))


@asynccontextmanager
async def machine(folder: Path, name: str, engine: ScriptedEngine, **settings: Any) -> AsyncIterator[Machine]:
    found = Machine(folder, name, engine, settings)
    await found.chats.start()
    try:
        yield found
    finally:
        await found.chats.stop()
        await asyncio.gather(*found.kept, return_exceptions=True)


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


async def test_a_command_keeps_the_machine_until_it_is_answered(tmp_path: Path) -> None:
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving(), machine(tmp_path, "one", engine, **for_discord(discord)) as one:
        door = connected(discord, one)
        await Person(discord).imagine("a red apple")
        assert door.statuses == [202]
        await engine.begun.wait()
        (attending,) = one.kept
        assert not attending.done()
        engine.gate.set()
        await asyncio.wait_for(attending, 20)
        assert len(discord.pictures) == 1
        # Who holds it; a copy of the database when it was accepted, perhaps one before that; and one when it was done.
        assert one.commits in (3, 4)


async def test_the_next_machine_finishes_what_a_lost_one_had_accepted(tmp_path: Path) -> None:
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving():
        lost = Machine(tmp_path, "one", engine, for_discord(discord))
        await lost.chats.start()
        connected(discord, lost)
        await Person(discord).imagine("a red apple")
        await engine.begun.wait()
        await lost.copied.wait()
        copy = (tmp_path / "volume" / "easel.db").read_bytes()
        await lost.chats.stop()
        (tmp_path / "volume" / "easel.db").write_bytes(copy)  # it had no time to make another one
        engine.gate.set()
        async with machine(tmp_path, "two", engine, **for_discord(discord)) as two:
            await asyncio.wait_for(two.chats.attend(), 20)
        assert len(discord.pictures) == 1


async def test_a_second_event_needs_no_second_keeper(tmp_path: Path) -> None:
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving(), machine(tmp_path, "one", engine, **for_discord(discord)) as one:
        connected(discord, one)
        await Person(discord).imagine("a red apple")
        await engine.begun.wait()
        await Person(discord, 43).imagine("a pear")
        assert len(one.kept) == 1
        engine.gate.set()
        await asyncio.wait_for(one.kept[0], 20)
        assert len(discord.pictures) == 2


async def test_an_event_at_the_end_of_the_last_look_is_attended_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the machine attended, and so asks for nobody."""
    monkeypatch.setattr(chats, "LOOK_SECONDS", 2.0)
    monkeypatch.setattr(chats, "QUIET_SECONDS", 2.0)
    discord, engine = FakeDiscord(), ScriptedEngine()
    async with discord.serving(), machine(tmp_path, "one", engine, **for_discord(discord)) as one:
        connected(discord, one)
        attending = asyncio.create_task(one.chats.attend())
        await asyncio.sleep(0)
        engine.gate.clear()
        await Person(discord).imagine("a red apple")
        await asyncio.sleep(2.1)
        assert not attending.done()
        engine.gate.set()
        await asyncio.wait_for(attending, 20)
        assert one.kept == []
        assert len(discord.pictures) == 1


async def test_strangers_get_nothing_and_keep_nothing(tmp_path: Path) -> None:
    discord = FakeDiscord()
    async with discord.serving(), machine(tmp_path, "one", ScriptedEngine(), **for_discord(discord)) as one:
        body = b'{"type": 2}'
        for headers in ({}, signed(body) | {"x-signature-ed25519": "0" * 128}):
            assert (await one.post("/discord/interactions", headers, body)).status_code == 401
        large = b" " * (2**20 + 1)
        assert (await one.post("/discord/interactions", signed(large), large)).status_code == 401
        assert (await one.post("/slack/events", {}, body)).status_code == 404, "not served here"
        assert (await one.post("/elsewhere", {}, body)).status_code == 404
        ping = await one.post("/discord/interactions", signed(b'{"type": 1}'), b'{"type": 1}')
        assert (ping.status_code, ping.json()) == (200, {"type": 1})
        assert one.kept == []


async def test_slack_s_events_reach_slack_s_own_gate(tmp_path: Path) -> None:
    slack = FakeSlack()
    async with slack.serving() as base_url:
        settings = {
            "modal": {"serve": ("slack",)},
            "slack_http": True,
            "slack_http_port": free_port(),
            "slack_bot_token": SecretStr(BOT_TOKEN),
            "slack_signing_secret": SecretStr(SECRET),
            "slack_api": base_url,
        }
        async with machine(tmp_path, "one", ScriptedEngine(), **settings) as one:
            body = b'{"type": "url_verification", "challenge": "abc"}'
            status = 503
            async with asyncio.timeout(20):
                while status == 503:  # until it listens
                    answer = await one.post("/slack/events", signed_by_slack(body, str(int(slack._began))), body)
                    status = answer.status_code
            assert status == 200
            assert "abc" in answer.text
            assert (await one.post("/slack/events", signed_by_slack(body, "1"), body)).status_code == 401
            assert (await one.post("/discord/interactions", {}, body)).status_code == 404


async def test_a_machine_that_can_t_be_kept_works_on(tmp_path: Path) -> None:
    discord, engine = FakeDiscord(), ScriptedEngine()
    async with discord.serving(), machine(tmp_path, "one", engine, **for_discord(discord)) as one:

        async def refuse() -> None:
            raise ConnectionError

        one.chats._keep = refuse
        connected(discord, one)
        await Person(discord).imagine("a red apple")
        await discord.until(lambda: len(discord.pictures) == 1)


async def test_a_copy_that_fails_costs_no_answer(tmp_path: Path) -> None:
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        (tmp_path / "volume" / "easel.db").mkdir()
        (tmp_path / "volume" / "easel.db.before").write_text("a file where a folder can't be moved")
        await one.chats.attend()


async def test_work_that_takes_long_is_attended_by_one_call_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modal ends calls that take too long, and what keeps the machine would end with them."""
    monkeypatch.setattr(chats, "ATTEND_SECONDS", 0.1)
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving(), machine(tmp_path, "one", engine, **for_discord(discord)) as one:
        connected(discord, one)
        await Person(discord).imagine("a red apple")
        await engine.begun.wait()
        async with asyncio.timeout(20):
            while len(one.kept) < 3:
                await asyncio.wait([one.kept[-1]])
        assert not one.kept[-1].done()
        engine.gate.set()
        monkeypatch.setattr(chats, "ATTEND_SECONDS", 20.0)
        await discord.until(lambda: len(discord.pictures) == 1)


async def test_a_machine_that_was_replaced_stops_and_copies_no_more(tmp_path: Path) -> None:
    """After `modal deploy` the old container goes on for a while; its copy would undo what the new one keeps."""
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving(), machine(tmp_path, "old", engine, **for_discord(discord)) as old:
        connected(discord, old)
        await Person(discord).imagine("a red apple")
        await engine.begun.wait()
        await old.copied.wait()
        async with machine(tmp_path, "new", ScriptedEngine(), **for_discord(discord)) as new:
            await asyncio.wait_for(old.kept[0], 20)
            body = b'{"type": 1}'
            assert (await old.post("/discord/interactions", signed(body), body)).status_code == 503
            commits = old.commits
            await old.keeper.save()
            assert old.commits == commits
            await asyncio.wait_for(new.chats.attend(), 20)
        assert len(discord.pictures) == 1, "by the new one alone"


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


class Nowhere:
    """A volume that can't be reached."""

    def commit(self) -> None:
        raise OSError("no volume")

    def reload(self) -> None:
        raise OSError("no volume")


async def test_a_chat_that_can_t_start_answers_so_until_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modal would start what crashed again, without end."""
    discord = FakeDiscord()
    copy = tmp_path / "volume" / "easel.db"
    copy.parent.mkdir()
    copy.write_bytes(b"torn")
    async with discord.serving(), machine(tmp_path, "one", ScriptedEngine(), **for_discord(discord)) as one:
        body = b'{"type": 1}'
        assert (await one.post("/discord/interactions", signed(body), body)).status_code == 503
        assert await health(one) == "ok"
        copy.unlink()
        assert [one.chats._starting] == [None], "not at once"
        monkeypatch.setattr(chats, "AGAIN_SECONDS", 0.0)
        assert (await one.post("/discord/interactions", signed(body), body)).status_code == 503
        assert one.chats._starting is not None
        await one.chats._starting
        assert (await one.post("/discord/interactions", signed(body + b" "), body + b" ")).status_code == 200


async def test_a_chat_that_was_refused_once_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(chats, "READY_SECONDS", 0.1)
    discord = FakeDiscord()
    async with discord.serving():
        discord.faults.append(("users/@me", 401))
        async with machine(tmp_path, "one", ScriptedEngine(), **for_discord(discord)) as one:
            assert one.chats._discord is not None
            await asyncio.wait_for(one.chats._discord.ready.wait(), 20)


def test_a_page_that_can_t_start_answers_so_until_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverless_page, "AGAIN_SECONDS", 0.0)
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "volume").mkdir()
    copy = tmp_path / "volume" / "easel.db"
    copy.write_bytes(b"torn")
    with TestClient(page(settings, Keeper(settings.database, tmp_path / "volume", Nowhere()))) as client:
        assert client.get("/").status_code == 503
        copy.unlink()
        while client.get("/sign-in").status_code == 503:
            pass
        assert client.get("/sign-in").status_code == 200


async def health(machine: Machine) -> str:
    transport = httpx.ASGITransport(machine.chats.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://easel") as client:
        return (await client.get("/health")).text


async def test_health(tmp_path: Path) -> None:
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        assert await health(one) == "ok"
