"""A process that serves Discord is killed while it draws or sends a picture, and the next one goes on."""

from __future__ import annotations

import os
import sys
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("expired", [False, True])
async def test_a_job_of_a_killed_process_arrives_once(
    discord: FakeDiscord, ada: Person, expired: bool, tmp_path: Path
) -> None:
    async with discord.serving():
        async with bot(tmp_path, discord, "hold"):
            asked = await ada.imagine("a red apple")
            await discord.until(lambda: any("Drawing" in text for text in discord.log))
        assert discord.pictures == []
        asked.expired = expired
        async with bot(tmp_path, discord):
            await discord.until(lambda: bool(discord.pictures))
            await discord.until(lambda: len(discord.messages) == 1 and bool(discord.messages[0].files))
    assert len(discord.pictures) == 1
    assert discord.violations == []


@pytest.mark.parametrize("number", [None, OLD])
@pytest.mark.parametrize("flag", ["", " --private"])
async def test_a_picture_that_a_killed_process_has_sent_is_not_sent_again(
    discord: FakeDiscord, ada: Person, number: int | None, flag: str, tmp_path: Path
) -> None:
    """Into the first answer, into the channel, or to the person; nobody heard that it arrived."""
    prompt = [{"name": "prompt", "type": 3, "value": f"a red apple{flag}"}]
    async with discord.serving():
        discord.hang = True
        async with bot(tmp_path, discord):
            await ada.command("imagine", prompt, number)
            await discord.hanging.wait()
        discord.hang = False
        async with bot(tmp_path, discord):
            await until_delivered(discord, ada)
    assert len(discord.pictures) == 1
    assert sum(bool(message.files) for message in discord.messages) == 1
    assert discord.violations == []
