"""Chats on machines that come and go: nothing is lost between them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.serverless import chats
from tests.bot.machine import Machine, connected, for_discord, health, machine
from tests.contract.slack import free_port
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_door import signed
from tests.fakes.discord_person import MANAGE_GUILD, Person
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack import SECRET, FakeSlack
from tests.fakes.slack import signed as signed_by_slack
from tests.fakes.slack_api import BOT_TOKEN

JOBS = "SELECT id FROM jobs"
SET = "SELECT name FROM community_settings"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(chats, "QUIET_SECONDS", 0.5)


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
        assert one.found("SELECT state FROM jobs") == [("delivered",)]
        copied = one.commits
        await asyncio.wait_for(one.chats.attend(), 20)
        assert one.commits == copied, "what has not changed is not copied at every look"


async def test_the_next_machine_finishes_what_a_lost_one_had_accepted(tmp_path: Path) -> None:
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving():
        lost = Machine(tmp_path, "one", engine, for_discord(discord))
        await lost.chats.start()
        connected(discord, lost)
        await Person(discord).imagine("a red apple")
        await engine.begun.wait()
        await lost.until_found(JOBS)
        copy = (tmp_path / "volume" / "easel.db").read_bytes()
        await lost.chats.stop()
        (tmp_path / "volume" / "easel.db").write_bytes(copy)  # it had no time to make another one
        engine.gate.set()
        async with machine(tmp_path, "two", engine, **for_discord(discord)) as two:
            await asyncio.wait_for(two.chats.attend(), 20)
        assert len(discord.pictures) == 1


async def set_nsfw(discord: FakeDiscord) -> None:
    """As a moderator; it is answered before this returns."""
    moderator = Person(discord, 44, MANAGE_GUILD)
    picked = [{"name": "name", "type": 3, "value": "nsfw"}, {"name": "value", "type": 3, "value": "spoiler"}]
    await moderator.command("settings", [{"name": "set", "type": 1, "options": picked}])
    await discord.until(lambda: any(line.startswith("nsfw") for line in discord.log))


async def test_a_command_that_is_answered_between_two_looks_is_copied_as_well(tmp_path: Path) -> None:
    """Nothing of it is ever seen in flight."""
    discord = FakeDiscord()
    async with discord.serving(), machine(tmp_path, "one", ScriptedEngine(), **for_discord(discord)) as one:

        async def later() -> None:
            """Whoever attends comes when all is done."""

        one.chats._keep = later
        connected(discord, one)
        await set_nsfw(discord)
        async with asyncio.timeout(20):
            while await one.chats._app.jobs.in_flight():
                pass
        await one.chats.attend()
        assert one.found(SET) == [("nsfw",)]


async def test_a_command_that_is_answered_beside_a_job_is_copied_before_that_ends(tmp_path: Path) -> None:
    discord, engine = FakeDiscord(), ScriptedEngine()
    engine.gate.clear()
    async with discord.serving(), machine(tmp_path, "one", engine, **for_discord(discord)) as one:
        connected(discord, one)
        await Person(discord).imagine("a red apple")
        await engine.begun.wait()
        await one.until_found(JOBS)
        await set_nsfw(discord)
        await one.until_found(SET)
        assert not one.kept[0].done()


async def test_what_changes_after_the_last_look_is_copied_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chats, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(chats, "QUIET_SECONDS", 1.0)
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        attending = asyncio.create_task(one.chats.attend())
        await one.until_found("SELECT 1")
        with closing(sqlite3.connect(one.settings.database)) as database:
            database.execute("INSERT INTO community_settings VALUES ('x:a', 'nsfw', '\"spoiler\"', 'x:1', 0.0)")
            database.commit()
        await attending
        assert one.found(SET) == [("nsfw",)]


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
        await old.until_found(JOBS)
        async with machine(tmp_path, "new", ScriptedEngine(), **for_discord(discord)) as new:
            await asyncio.wait_for(old.kept[0], 20)
            body = b'{"type": 1}'
            assert (await old.post("/discord/interactions", signed(body), body)).status_code == 503
            commits = old.commits
            await old.keeper.save()
            assert old.commits == commits
            await asyncio.wait_for(new.chats.attend(), 20)
        assert len(discord.pictures) == 1, "by the new one alone"


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


async def test_health(tmp_path: Path) -> None:
    async with machine(tmp_path, "one", ScriptedEngine()) as one:
        assert await health(one) == "ok"
