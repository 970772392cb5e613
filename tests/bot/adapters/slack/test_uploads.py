"""Every picture comes into its channel once, whatever is lost on the way, and whenever the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from bot.adapters.slack.address import Address
from bot.adapters.slack.uploads import Client, Files, Uploads
from bot.app import App, running
from bot.chat import Delivery
from bot.settings import Settings
from tests.bot.adapters.slack.test_answers import finished, is_private
from tests.bot.adapters.slack.test_trouble import delivery
from tests.contract.slack import HurriedClock, SlackHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_api import BOT, BOT_TOKEN, CHANNEL, Fault

COMPLETE = "files.completeUploadExternal"
HERE = Address(team="T1", channel=CHANNEL, user="UADA")


def count(slack: FakeSlack, method: str) -> int:
    return [called for called, _ in slack.calls].count(method)


@asynccontextmanager
async def uploading(slack: FakeSlack) -> AsyncIterator[Uploads]:
    async with slack.serving() as base, aiohttp.ClientSession() as session:
        yield Uploads(Client(BOT_TOKEN, base_url=base, session=session), HurriedClock(), BOT)


@pytest.mark.parametrize("first", ["the old process's call", "the new process's call"])
async def test_an_upload_that_was_in_flight_when_the_process_ended_arrives_once(first: str) -> None:
    """Whichever of the two calls Slack takes up first."""
    slack, gate = FakeSlack(), asyncio.Event()
    slack.faults[COMPLETE].append(Fault(until=gate))
    written: Files = {}

    async def announced(files: Files) -> None:
        written.update(files)

    async with uploading(slack) as uploads:
        sending = asyncio.create_task(uploads.send(HERE, sent(), announced))
        await slack.until(lambda: slack.waiting[COMPLETE] == 1)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        if first == "the old process's call":
            gate.set()
            await slack.until(lambda: len(slack.arrived) == 2)
        assert await uploads.finish(HERE, sent(), written) == written
        gate.set()
        await slack.until(lambda: count(slack, COMPLETE) == 2)
    assert [file.id for file in slack.arrived] == list(written.values())


def sent() -> Delivery:
    return delivery("x", 2)


@pytest.mark.parametrize("after", [True, False])
async def test_the_last_call_is_repeated_and_not_the_upload(person: SlackHarness, app: App, *, after: bool) -> None:
    """Also where Slack's list of files knows nothing yet of the picture that it has shown."""
    person.slack.listed = False
    person.slack.faults[COMPLETE].append(Fault(error="internal_error", after=after))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
    assert len(person.pictures()) == 1
    assert count(person.slack, "files.getUploadURLExternal") == 1


async def test_a_picture_outlives_an_outage_of_slack(person: SlackHarness, app: App) -> None:
    person.slack.faults[COMPLETE] += [Fault(error="service_unavailable")] * 7
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
    assert len(person.pictures()) == 1


async def test_a_restart_before_the_last_answer_is_no_second_picture(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    person.slack.listed = False
    person.slack.faults["files.info"].append(Fault(until=asyncio.Event()))
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.say("batch", "a cat\na dog")
        await person.until_pictures(2)
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await finished(person, pictures=2)
    assert len(person.pictures()) == 2


async def test_what_slack_has_dropped_is_uploaded_anew(person: SlackHarness, app: App) -> None:
    person.slack.faults[COMPLETE].append(Fault(error="internal_error", drop=True))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
    assert len(person.pictures()) == 1
    assert count(person.slack, "files.getUploadURLExternal") == 2


async def test_a_long_prompt_is_no_alternative_text_too_long_for_slack(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple " * 150)
        await finished(person)
    assert 900 < len(person.slack.arrived[0].alt) <= 1000


async def test_a_restart_hides_pictures_under_the_same_cover(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    begin = "files.getUploadURLExternal"
    person.slack.faults[begin].append(Fault(until=asyncio.Event()))
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --spoiler")
        await person.slack.until(lambda: person.slack.waiting[begin] == 1)
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await finished(person)
        (cover,) = [ts for ts, said in person.slack.messages.items() if "open the thread" in str(said)]
    assert [file.thread for file in person.slack.arrived] == [cover]
    assert person.slack.shown.count("The picture is hidden: open the thread to see it.") == 1


async def test_a_restart_takes_the_preview_away(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    engine.preview = b"\xff\xd8 a small picture"
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.slack.until(lambda: "slack_file" in str(person.slack.messages))
    engine.gate.set()
    engine.preview = None
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await finished(person)
        await person.slack.until(lambda: all(f.deleted for f in person.slack.files.values() if f.name == "preview"))
    assert not any(map(is_private, person.slack.messages.values()))
