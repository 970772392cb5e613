"""`easel serve` as a process of its own, against a Slack on loopback: killed in a job, and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest

from bot.adapters.slack.manifest import EVENTS_PATH
from tests.contract.slack import SlackHarness, free_port, listening
from tests.e2e.conftest import LONG, TIMEOUT, Installation
from tests.fakes.slack import SECRET
from tests.fakes.slack_api import APP_TOKEN, BOT_TOKEN, Fault


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


async def test_a_killed_serve_finishes_its_jobs_once_after_the_next_start(
    install: Callable[[], Installation], person: SlackHarness
) -> None:
    installation = install()
    # However fast it draws, nothing arrives before it is killed.
    person.slack.faults["files.getUploadURLExternal"].append(Fault(until=asyncio.Event()))
    async with person.slack.serving() as api:
        async with serving(installation, person, api):
            await person.slash("imagine", f"a red apple --seed 7 --steps {LONG}", event="same")
            await person.until("step")
        assert person.pictures() == []
        person.slack.faults.clear()
        async with serving(installation, person, api) as process:
            await person.slash("imagine", f"a red apple --seed 7 --steps {LONG}", event="same")
            await until_delivered(person)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, TIMEOUT) == 0
    assert len(person.pictures()) == 1
    assert person.pictures()[0].startswith(b"\x89PNG")
    assert person.slack.trespasses == []


async def test_a_command_outlives_a_process_that_is_killed_right_after_acknowledging_it(
    install: Callable[[], Installation], person: SlackHarness
) -> None:
    """Slack doesn't send again what was acknowledged: the next process must know of it."""
    installation = install()
    # Nothing can be stored of its job before it is known who asks.
    person.slack.faults["users.info"].append(Fault(until=asyncio.Event()))
    async with person.slack.serving() as api:
        async with serving(installation, person, api):
            envelope = await person.slash("imagine", "a red apple --seed 7 --steps 2")
            await person.slack.until(lambda: envelope in person.slack.acked and person.slack.waiting["users.info"] == 1)
        person.slack.faults.clear()
        async with serving(installation, person, api):
            await until_delivered(person)
    assert len(person.pictures()) == 1
    assert person.slack.trespasses == []


async def test_a_serve_that_is_killed_while_it_uploads_sends_its_picture_once(
    install: Callable[[], Installation], person: SlackHarness
) -> None:
    """Slack takes up the last call although nobody waits for its answer any more, and lists the file only later."""
    installation, gate, last = install(), asyncio.Event(), "files.completeUploadExternal"
    person.slack.listed = False
    person.slack.faults[last].append(Fault(until=gate))
    async with person.slack.serving() as api:
        async with serving(installation, person, api):
            await person.slash("imagine", "a red apple --seed 7 --steps 2")
            await person.slack.until(lambda: person.slack.waiting[last] == 1)
        person.slack.faults.clear()
        gate.set()
        async with serving(installation, person, api):
            await until_delivered(person)
    assert len(person.pictures()) == 1
    assert person.slack.trespasses == []


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
