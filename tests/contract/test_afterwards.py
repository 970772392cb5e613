"""What every adapter owes people once their pictures are there. A new adapter adds its harness to HARNESSES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.app import App, running
from bot.chat import Invocation, Place, Requester, Role
from bot.settings import Settings
from engine.types import Event, Layer, Refused, ResolvedRequest
from tests.contract.console import ConsoleHarness
from tests.contract.discord import DiscordHarness
from tests.contract.harness import AfterwardsHarness
from tests.contract.slack import SlackHarness, SlackHttpHarness
from tests.fakes.engine_client import ScriptedEngine, picture

HARNESSES: dict[str, Callable[[Path], AfterwardsHarness]] = {
    "console": ConsoleHarness,
    "discord": DiscordHarness,
    "slack": SlackHarness,
    "slack-http": SlackHttpHarness,
}


class Filter(ScriptedEngine):
    """Refuses a prompt by the word filter, unless a moderator waived that."""

    def _end(self, index: int, request: ResolvedRequest) -> Event:
        if request.prompt == "a sin" and Layer.KEYWORDS not in request.waived:
            return Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
        return super()._end(index, request)


@pytest.fixture(params=HARNESSES)
def person(request: pytest.FixtureRequest, tmp_path: Path) -> AfterwardsHarness:
    return HARNESSES[request.param](tmp_path / "pictures")


@pytest.fixture
def engine() -> ScriptedEngine:
    return Filter()


@pytest.fixture
async def app(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(Settings(home=tmp_path / "home", running_per_person=5), engine) as app:
        yield app


def moderator(place: Place) -> Requester:
    return Requester(platform=place.platform, id="moderator", role=Role.MODERATOR)


async def moderate(app: App, place: Place, command: str, text: str) -> None:
    """Give a command as a moderator of the place."""
    call = Invocation(event=f"{command} {text}", command=command, requester=moderator(place), place=place, text=text)
    assert [update.kind async for update in app.dispatcher.handle(call)]


async def place_of(app: App, engine: ScriptedEngine) -> Place:
    job = await app.jobs.get(engine.orders[0].job)
    assert job is not None
    return job.place


async def test_a_deleted_picture_is_gone(person: AfterwardsHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.say("imagine", "a cat")
        await person.until_pictures(1)
        await person.say("quota")
        await person.until("today")
        assert len(person.standing()) == 1
        await person.say("delete", engine.orders[0].job)
        await person.until("was deleted")
        await person.until_gone(0)


async def test_deleting_one_of_several_leaves_the_others(
    person: AfterwardsHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.say("batch", "a cat\na dog\na cow")
        await person.until_pictures(3)
        await person.say("quota")
        await person.until("today")
        await person.say("delete", f"{engine.orders[0].job} 2")
        await person.until("was deleted")
        await person.until_gone(2)
    cat, _, cow = engine.orders[0].requests
    assert person.standing() == [picture(cat), picture(cow)]


async def test_what_is_private_is_shown_to_nobody_else(
    person: AfterwardsHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.say("imagine", "a secret --private")
        await person.until_pictures(1)
        await person.say("send", engine.orders[0].job)
        await person.until_pictures(2)
    assert person.shown_to_all() == []


async def test_a_refusal_can_be_appealed_and_the_decision_is_told(
    person: AfterwardsHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.say("imagine", "a sin")
        await person.until("gluttony")
        await person.say("appeal", f"{engine.orders[0].job} 1 it is art")
        await person.until("moderators have been asked")
        place = await place_of(app, engine)
        desk = (await app.dispatcher.home(moderator(place), place)).desk
        assert desk is not None
        (asked,) = desk.appeals
        await moderate(app, place, "moderation", f"allow {asked.id}")
        await person.say("imagine", "a sin")
        await person.until("A moderator allowed your prompt")
        await person.until_pictures(1)
    assert person.transcript().count("A moderator allowed your prompt") == 1


async def test_forgetting_asks_first(person: AfterwardsHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.say("imagine", "a cat")
        await person.until_pictures(1)
        await person.say("forget-me")
        await person.until("can't be undone")
        await person.say("history")
        await person.until("a cat", times=1)
        await person.say("forget-me", "confirm")
        await person.until("Deleted: 1 job")
        await person.say("history")
        await person.until("no jobs of yours")
