"""`easel serve` as a process of its own, against a Slack on loopback: killed in a job, and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count

import pytest

from bot.adapters.slack.manifest import EVENTS_PATH
from tests.contract.slack import SlackHarness, free_port, listening
from tests.e2e.conftest import LONG, TIMEOUT, Installation
from tests.fakes.slack import SECRET
from tests.fakes.slack_api import APP_TOKEN, BOT_TOKEN, Fault

APPLE = f"a red apple --seed 7 --steps {LONG}"


@pytest.fixture
def person() -> SlackHarness:
    harness = SlackHarness()
    harness.slack.patience = TIMEOUT
    return harness


@asynccontextmanager
async def serving(installation: Installation, person: SlackHarness, api: str) -> AsyncIterator[subprocess.Popen[str]]:
    """A running `easel serve` that is connected; it is killed at the end if it hasn't ended by then."""
    before = person.slack.connections
    process = await asyncio.to_thread(
        lambda: installation.start(
            "serve",
            EASEL_SLACK_BOT_TOKEN=BOT_TOKEN,
            EASEL_SLACK_APP_TOKEN=APP_TOKEN,
            EASEL_SLACK_API=api,
            EASEL_PREVIEWS="false",  # so that every file is a picture
        )
    )
    try:
        await person.slack.until(lambda: person.slack.connections > before)
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


async def until_delivered(person: SlackHarness) -> None:
    """Wait for the picture's parameters, then until its job is known to have arrived."""
    await person.until("seed 7")
    for asked in count(1):
        await person.mention("/history")
        await person.until(" UTC", times=asked)
        if "delivered" in person.transcript():
            return


async def test_a_serve_that_is_killed_at_every_turn_sends_its_picture_once(
    install: Callable[[], Installation], person: SlackHarness
) -> None:
    installation = install()
    async with person.slack.serving() as api:
        async with serving(installation, person, api):
            await acknowledged(person)
        async with serving(installation, person, api):
            await drawing(person)
        assert person.pictures() == []
        with uploading(person) as begun:
            async with serving(installation, person, api):
                await person.slash("imagine", APPLE, event="same")
                await begun()
        async with serving(installation, person, api) as process:
            await until_delivered(person)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, TIMEOUT) == 0
    assert len(person.pictures()) == 1
    assert person.pictures()[0].startswith(b"\x89PNG")
    assert person.slack.trespasses == []


async def acknowledged(person: SlackHarness) -> None:
    """A command is acknowledged and nothing more: Slack doesn't send it again, so the next process must know of it."""
    # Nothing can be stored of its job before it is known who asks.
    person.slack.faults["users.info"].append(Fault(until=asyncio.Event()))
    envelope = await person.slash("imagine", APPLE, event="same")
    await person.slack.until(lambda: envelope in person.slack.acked and person.slack.waiting["users.info"] == 1)


async def drawing(person: SlackHarness) -> None:
    """Its picture is being drawn."""
    # However fast it draws, nothing arrives before it is killed.
    person.slack.faults["files.getUploadURLExternal"].append(Fault(until=asyncio.Event()))
    await person.until("step")


@contextmanager
def uploading(person: SlackHarness) -> Iterator[Callable[[], Awaitable[None]]]:
    """Slack takes up the last call although nobody waits for its answer any more, and lists the file only later."""
    gate, last = asyncio.Event(), "files.completeUploadExternal"
    person.slack.faults.clear()
    person.slack.listed = False
    person.slack.faults[last].append(Fault(until=gate))
    yield lambda: person.slack.until(lambda: person.slack.waiting[last] == 1)
    person.slack.faults.clear()
    gate.set()


async def test_serve_takes_events_by_http(install: Callable[[], Installation], person: SlackHarness) -> None:
    port = free_port()
    async with person.slack.serving() as api:
        person.slack.events_url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
        process = await asyncio.to_thread(
            lambda: install().start(
                "serve",
                "--slack-http",
                EASEL_SLACK_BOT_TOKEN=BOT_TOKEN,
                EASEL_SLACK_API=api,
                EASEL_SLACK_HTTP_PORT=str(port),
                EASEL_SLACK_SIGNING_SECRET=SECRET,
            )
        )
        try:
            await listening(port, TIMEOUT)
            await person.slash("imagine", "a red apple --seed 7 --steps 2")
            await person.until("seed 7")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, TIMEOUT) == 0
        finally:
            process.kill()
            await asyncio.to_thread(process.communicate)
    assert len(person.pictures()) == 1
    assert person.slack.trespasses == []
