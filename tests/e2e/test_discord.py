"""`easel serve` as a process of its own, against a Discord on loopback: killed in a job, and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from engine.credentials import Credentials
from engine.types import CredentialState
from tests.e2e.conftest import LONG, TIMEOUT, Installation
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_person import Person
from tests.fakes.discord_values import Message


@pytest.fixture
def discord() -> FakeDiscord:
    fake = FakeDiscord()
    fake.patience = TIMEOUT
    return fake


@asynccontextmanager
async def serving(installation: Installation, discord: FakeDiscord) -> AsyncIterator[subprocess.Popen[str]]:
    """A running `easel serve`; it is killed at the end if it hasn't ended by then."""
    discord.gateway.ready.clear()
    process = await asyncio.to_thread(
        lambda: installation.start(
            "serve",
            EASEL_DISCORD_TOKEN=TOKEN,
            EASEL_DISCORD_API=f"http://{discord.address}/api",
            EASEL_DISCORD_GATEWAY=f"ws://{discord.address}/gateway/",
        )
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            await discord.gateway.ready.wait()
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


LIMIT = 6_000
"""Bytes; even a small picture has more as PNG."""


def pictures(discord: FakeDiscord) -> list[Message]:
    return [message for message in discord.messages if any(file.name.endswith(".png") for file in message.files)]


async def test_a_killed_serve_finishes_its_jobs_and_knows_its_buttons(
    install: Callable[[], Installation], discord: FakeDiscord
) -> None:
    installation, ada, bob = install(), Person(discord), Person(discord, 43)
    async with discord.serving():
        async with serving(installation, discord):
            await bob.imagine("a pear", seed="8", steps=2)
            await ada.imagine("a red apple", seed="7", steps=LONG)
            await discord.until(lambda: any(f"of {LONG}" in text for text in discord.log))
            await discord.until(lambda: len(pictures(discord)) == 1)
        (pear,) = pictures(discord)
        assert discord.pictures == [pear.files[0].data]
        async with serving(installation, discord) as process:
            await discord.until(lambda: len(pictures(discord)) == 2)
            apple = pictures(discord)[1]
            await ada.press(pear, "Vary (subtle)")
            await discord.until(lambda: len(pictures(discord)) == 3)
            form = await ada.press(pear, "Remix")
            await discord.until(lambda: form.form is not None)
            await ada.press(apple, "Parameters")
            await discord.until(lambda: any("--seed 7" in text for text in discord.log))
            await ada.press(apple, "Delete")
            await discord.until(lambda: apple.gone)
            await a_picture_made_smaller_is_signed_again(installation, ada)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, TIMEOUT) == 0
    varied = pictures(discord)[1].files[0].data
    assert discord.pictures[:3] == [pear.files[0].data, apple.files[0].data, varied]
    assert pear.files[0].data != varied
    assert all(data.startswith(b"\x89PNG") for data in discord.pictures[:3])
    assert len(discord.pictures) == 4
    assert (discord.violations, discord.unsilenced, discord.misplaced) == ([], [], [])


async def a_picture_made_smaller_is_signed_again(installation: Installation, person: Person) -> None:
    discord = person.discord
    discord.max_file = discord.claimed_limit = LIMIT
    before = len(discord.pictures)
    await person.imagine("a red apple", seed="7", steps=2)
    await discord.until(lambda: len(discord.pictures) > before)
    data = discord.pictures[-1]
    assert len(data) <= LIMIT
    kind = "image/webp" if data.startswith(b"RIFF") else "image/jpeg"
    found = Credentials(installation.home / "credentials").read(data, kind)
    assert (found.state, found.source_type) == (CredentialState.OWN, "trainedAlgorithmicMedia")
