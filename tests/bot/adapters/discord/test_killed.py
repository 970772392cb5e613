"""A process that serves Discord is killed while it draws or sends a picture, and the next one goes on."""

from __future__ import annotations

import os
import sys
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bot.adapters.discord import killed_bot
from tests.bot.adapters.discord.test_answers import OLD, until_delivered
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_person import Person

ROOT = Path(__file__).parents[4]


@asynccontextmanager
async def bot(home: Path, discord: FakeDiscord, *words: str) -> AsyncIterator[Process]:
    """A process of its own, killed at the end as nothing can prepare for."""
    process = await create_subprocess_exec(
        sys.executable,
        str(killed_bot.__file__),
        str(home),
        discord.address,
        *words,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def test_a_job_of_a_killed_process_arrives_once(discord: FakeDiscord, ada: Person, tmp_path: Path) -> None:
    """In its answer, and where Discord no longer takes that, in the channel."""
    async with discord.serving():
        async with bot(tmp_path, discord, "hold"):
            answered = await ada.imagine("a red apple")
            expired = await Person(discord, 43).imagine("a pear")
            await discord.until(lambda: sum("Drawing" in message.content for message in discord.messages) == 2)
        assert discord.pictures == []
        expired.expired = True
        async with bot(tmp_path, discord):
            await discord.until(lambda: len(discord.pictures) == 2)
            await discord.until(lambda: [bool(message.files) for message in discord.messages] == [True, True])
    assert len(discord.pictures) == 2
    assert answered.first in discord.messages
    assert expired.first not in discord.messages
    assert discord.violations == []


async def test_a_command_of_a_killed_process_is_answered_once(
    discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    """It was acknowledged, and not a job yet: its prompts were still on their way."""
    async with discord.serving():
        discord.held = "GET /files/"
        async with bot(tmp_path, discord):
            asked = await ada.submit("v1:batch", {"prompts": "a cat"}, files={"more.txt": b"a cow"})
            await discord.hanging.wait()
        assert asked.acknowledged
        discord.held = ""
        async with bot(tmp_path, discord):
            await discord.until(lambda: len(discord.pictures) == 2)
            await until_delivered(discord, ada)
    assert len(discord.pictures) == 2
    assert discord.violations == []


async def test_a_refusal_whose_private_word_was_not_said_yet_is_said(
    discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    """The public answer had been taken away for it: that it is gone doesn't mean that there never was one."""
    async with discord.serving():
        async with bot(tmp_path, discord):
            asked = await ada.imagine("a red apple", steps="9000")
            discord.held = f"POST /webhooks/1000/{asked.token}"
            await discord.hanging.wait()
        assert asked.first is not None
        assert asked.first.gone
        discord.held = ""
        async with bot(tmp_path, discord):
            await discord.until(lambda: any("not 9000" in text for text in discord.log))
    assert discord.violations == []


async def test_a_command_that_was_never_acknowledged_is_not_answered_late(
    discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    """Discord has told the person at once that nobody answered, and they have asked again or gone away."""
    async with discord.serving():
        discord.held = "/callback"
        async with bot(tmp_path, discord):
            asked = await ada.imagine("a red apple")
            await discord.hanging.wait()
        assert not asked.acknowledged
        discord.held = ""
        async with bot(tmp_path, discord):
            await ada.imagine("a pear")
            await discord.until(lambda: bool(discord.pictures))
            await until_delivered(discord, ada)
    assert len(discord.pictures) == 1
    assert discord.violations == []


async def test_a_picture_that_a_killed_process_has_sent_is_not_sent_again(
    discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    """Into the first answer, into the channel, or to the person; nobody heard that it arrived."""
    asked = [(number, flag) for number in (None, OLD) for flag in ("", " --private")]
    async with discord.serving():
        discord.hang = True
        async with bot(tmp_path, discord):
            for place, (number, flag) in enumerate(asked):
                prompt = [{"name": "prompt", "type": 3, "value": f"a red apple{flag}"}]
                await ada.command("imagine", prompt, number and number + place)
            while len(discord.pictures) < len(asked):
                discord.hanging.clear()
                await discord.hanging.wait()
        discord.hang = False
        async with bot(tmp_path, discord):
            await until_delivered(discord, ada, jobs=len(asked))
    assert len(discord.pictures) == len(asked)
    assert sum(bool(message.files) for message in discord.messages) == len(asked)
    assert discord.violations == []
