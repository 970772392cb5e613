"""What goes wrong between the bot and Discord, and what the person sees of it: connections, restarts, lost tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.adapters.discord import client
from bot.app import App, running
from bot.settings import Settings
from engine.types import Event, Layer, Refused, ResolvedRequest
from tests.bot.adapters.discord.test_answers import DIRECT, posted, until_delivered
from tests.bot.talk import drawn
from tests.contract.discord import connected
from tests.fakes.discord import EPHEMERAL, UNHEARD, FakeDiscord
from tests.fakes.discord_person import CHANNEL, COMMAND, Person
from tests.fakes.discord_values import Message
from tests.fakes.engine_client import ScriptedEngine

SIN = "a sin"


class Sinner(ScriptedEngine):
    """Refuses one prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.endings[SIN] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))


@pytest.fixture
def engine() -> ScriptedEngine:
    return Sinner()


def told(discord: FakeDiscord, text: str) -> bool:
    return any(text in line for line in discord.log)


# A connection that breaks.


@pytest.mark.parametrize("heard", [False, True])
async def test_a_command_is_acknowledged_though_the_connection_breaks(
    app: App, discord: FakeDiscord, ada: Person, heard: bool, tmp_path: Path
) -> None:
    if heard:
        discord.unheard = ["/callback"]
    else:
        discord.faults = [("/callback", UNHEARD), ("/callback", UNHEARD)]
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await posted(discord)
    assert (discord.faults, discord.unheard) == ([], [])
    assert len(discord.pictures) == 1


async def test_a_form_opens_though_the_connection_breaks(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    discord.faults = [("/callback", UNHEARD)]
    async with connected(discord, app.dispatcher, tmp_path):
        opened = await ada.command("batch", [])
        await discord.until(lambda: opened.form is not None)


async def test_a_refusal_is_told_though_the_connection_breaks(
    app: App, discord: FakeDiscord, ada: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bot.adapters.discord.wire.PAUSES", (0.0,) * 6)
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.imagine(SIN)
        discord.faults = [(f"POST /webhooks/1000/{asked.token}", UNHEARD)] * 5
        await discord.until(lambda: told(discord, "gluttony"))
    assert discord.faults == []
    assert all(message.flags & EPHEMERAL for message in discord.messages)


async def test_a_picture_arrives_though_the_connection_breaks_for_long(
    app: App, discord: FakeDiscord, ada: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bot.jobs.sending.BACKOFF_SECONDS", 0.0)
    discord.faults = [("@original", UNHEARD)] * 8
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await posted(discord)
    assert discord.faults == []
    assert len(discord.pictures) == 1


async def test_a_picture_that_was_taken_unheard_is_not_sent_again(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    engine.gate.clear()
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await discord.until(lambda: told(discord, "Drawing"))
        discord.unheard = ["with files"]
        engine.gate.set()
        await posted(discord)
        await ada.command("quota", [])
        await discord.until(lambda: told(discord, "today"))
        await discord.until(lambda: sum("GET /webhooks/" in request for request in discord.requests) > 0)
    assert discord.unheard == []
    assert len(discord.pictures) == 1


@pytest.mark.parametrize("last", ["an eleventh", SIN])
async def test_pictures_that_were_taken_unheard_stay_when_more_follows(
    settings: Settings, engine: ScriptedEngine, discord: FakeDiscord, ada: Person, last: str, tmp_path: Path
) -> None:
    engine.gate.clear()
    prompts = "\n".join([*(f"picture {number}" for number in range(10)), last])
    more = settings.model_copy(update={"batch_limit": 20})
    async with running(more, engine) as app, connected(discord, app.dispatcher, tmp_path):
        asked = await ada.submit("v1:batch", {"prompts": prompts, "options": ""})
        await discord.until(lambda: told(discord, "Drawing"))
        discord.unheard = ["with files"]
        engine.gate.set()
        if last == SIN:
            await discord.until(lambda: told(discord, "gluttony"))
        await discord.until(lambda: len(discord.pictures) == (10 if last == SIN else 11))
        await until_delivered(discord, ada)
    assert asked.first is not None
    assert len(asked.first.files) == 10
    assert not asked.first.gone


async def test_what_could_not_be_taken_out_is_said(app: App, discord: FakeDiscord, ada: Person, tmp_path: Path) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        (message,) = await posted(discord)
        discord.faults = [("DELETE /webhooks", UNHEARD)] * 20
        await ada.press(message, "Delete")
        await discord.until(lambda: told(discord, "could not be taken out"))


async def test_pictures_of_another_platform_stay_there(
    settings: Settings, engine: ScriptedEngine, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"operators": frozenset({"discord:42"})})
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        job = (await drawn(app, "a cat")).job
        await ada.command("delete", [{"name": "job", "type": 3, "value": job}])
        await discord.until(lambda: told(discord, "could not be taken out"))


@pytest.mark.parametrize("pauses", [(0.0,), ()])
async def test_a_long_answer_that_breaks_off_goes_on_where_it_was(
    app: App,
    discord: FakeDiscord,
    ada: Person,
    monkeypatch: pytest.MonkeyPatch,
    pauses: tuple[float, ...],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("bot.adapters.discord.wire.PAUSES", pauses)
    monkeypatch.setattr("bot.adapters.base.BACKOFF_SECONDS", 0.0)
    prompts = [f"picture {number}: " + "a red apple, " * 100 for number in range(4)]
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.submit("v1:batch", {"prompts": "\n".join(prompts), "options": ""})
        (message,) = await posted(discord)
        job = message.files[0].name.partition("-")[0]
        discord.faults = [("POST /webhooks", UNHEARD)]
        await ada.command("show", [{"name": "job", "type": 3, "value": job}])
        await discord.until(lambda: told(discord, "/imagine picture 3"))
    written = "".join(message.content for message in discord.messages if message.flags & EPHEMERAL)
    assert discord.faults == []
    assert [written.count(f"/imagine picture {number}") for number in range(4)] == [1] * 4


# Somebody else's mistakes, and ours.


async def test_a_status_that_is_not_taken_makes_no_refusal_public(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    """The first further message takes the place of an answer that is still being thought about, for all to see."""
    discord.faults = [("PATCH /webhooks", 400)] * 2
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.submit("v1:batch", {"prompts": f"{SIN}\na cat", "options": ""})
        await discord.until(lambda: told(discord, "gluttony"))
        await posted(discord)
    (refusal,) = [message for message in discord.messages if "gluttony" in message.content]
    assert refusal.flags & EPHEMERAL
    assert discord.misplaced == []


async def test_a_fault_of_ours_is_an_incident(app: App, discord: FakeDiscord, ada: Person, tmp_path: Path) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada._send(COMMAND, {"id": "5", "type": 1})
        await discord.until(lambda: told(discord, "incident"))
        await ada.imagine("a cat")
        await posted(discord)


async def test_a_form_that_takes_too_long_to_fill_is_answered(
    app: App, discord: FakeDiscord, ada: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "FORM_SECONDS", 0.0)
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        (message,) = await posted(discord)
        await ada.press(message, "Remix")
        await discord.until(lambda: told(discord, "try again"))
    assert discord.messages[-1].flags & EPHEMERAL


async def test_suggestions_that_take_too_long_are_none(
    app: App, discord: FakeDiscord, ada: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "SUGGEST_SECONDS", 0.0)
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.type("imagine", "model", "")
        await discord.until(lambda: asked.choices == [])


async def test_commands_that_may_not_be_registered_now_still_work(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    discord.pause, discord.faults = 3600.0, [("PUT /applications", 429)]
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await posted(discord)


# Channels and tokens that are lost.


async def test_a_channel_that_is_deleted_between_two_attempts_is_answered_in_person(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bot.jobs.sending.BACKOFF_SECONDS", 0.0)
    engine.gate.clear()
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await discord.until(lambda: told(discord, "Drawing"))
        discord.faults = [("PATCH /webhooks", UNHEARD)]
        discord.deleted.add(CHANNEL)
        engine.gate.set()
        (message,) = await posted(discord)
    assert message.channel == DIRECT


async def test_a_refusal_in_a_channel_that_is_gone_is_told_in_person(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    engine.gate.clear()
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine(SIN)
        await discord.until(lambda: told(discord, "Drawing"))
        discord.deleted.add(CHANNEL)
        engine.gate.set()
        await discord.until(lambda: told(discord, "gluttony"))
    assert discord.messages[-1].channel == DIRECT


async def test_a_refusal_after_the_token_ran_out_leaves_no_status_behind(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    engine.gate.clear()
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.imagine(SIN)
        await discord.until(lambda: told(discord, "Drawing"))
        asked.expired = True
        engine.gate.set()
        await discord.until(lambda: told(discord, "gluttony"))
    assert [message.channel for message in discord.messages] == [DIRECT]


async def test_a_job_that_is_cancelled_after_the_token_ran_out_is_said_to_be(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine.gate.clear()
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.imagine("a cat")
        await discord.until(lambda: told(discord, "Drawing"))
        assert asked.first is not None
        asked.expired = True
        monkeypatch.setattr("bot.adapters.discord.address.MARGIN", 10_000.0)
        await ada.command("cancel", [{"name": "job", "type": 3, "value": engine.orders[0].job}])
        await discord.until(lambda: asked.first is not None and "was cancelled" in asked.first.content)


@pytest.mark.parametrize("pictures", [0, 11])
async def test_where_the_bot_is_not_invited_what_is_too_much_comes_in_person(
    settings: Settings, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, pictures: int, tmp_path: Path
) -> None:
    """Discord takes five further messages there, and edits of the first answer for as long as the token lives."""
    ada.invited = False
    discord.closed.add(CHANNEL)
    more = settings.model_copy(update={"batch_limit": 20})
    prompts = "\n".join([*[SIN] * 7, *(f"picture {number}" for number in range(pictures))])
    async with running(more, engine) as app, connected(discord, app.dispatcher, tmp_path):
        asked = await ada.submit("v1:batch", {"prompts": prompts, "options": ""})
        await discord.until(lambda: len(refusals(discord)) == 7)
        await posted(discord, 2 if pictures else 0)
    assert [message.channel for message in refusals(discord)] == [CHANNEL] * 5 + [DIRECT] * 2
    held = [(message.channel, len(message.files)) for message in discord.messages if message.files]
    assert held == ([(CHANNEL, 3), (DIRECT, 8)] if pictures else [])
    assert asked.first is not None
    assert asked.first.gone is not bool(pictures)


def refusals(discord: FakeDiscord) -> list[Message]:
    return [message for message in discord.messages if "gluttony" in message.content]


# Restarts.


class Stopping(Sinner):
    """Stops before the eleventh picture of a job, which begins its second message."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    def _end(self, index: int, request: ResolvedRequest) -> Event:
        if index == 9 and not self.free.is_set():
            self.gate.clear()
        return super()._end(index, request)


@pytest.mark.parametrize("flag", ["", " --private"])
@pytest.mark.parametrize("last", ["an eleventh", SIN])
async def test_what_was_delivered_before_a_restart_stays_as_it_was(
    settings: Settings, discord: FakeDiscord, ada: Person, flag: str, last: str, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"batch_limit": 20})
    prompts = "\n".join([*(f"picture {number}{flag}" for number in range(10)), f"{last}{flag}"])
    engine = Stopping()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.submit("v1:batch", {"prompts": prompts, "options": ""})
        (first,) = await posted(discord)
        await discord.until(lambda: len(first.files) == 10)
        await ada.command("history", [])
        await discord.until(lambda: told(discord, "asked"))
    caption, files = first.content, list(first.files)
    engine.free.set()
    engine.gate.set()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        if last == SIN:
            await discord.until(lambda: told(discord, "gluttony"))
        else:
            await posted(discord, 2)
    assert (first.content, first.files) == (caption, files)
    assert not first.gone
    assert len(discord.pictures) == (10 if last == SIN else 11)
