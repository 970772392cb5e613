"""Files, looks and figures, as a page shows them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, running
from bot.chat import Delivery, Invocation, Place, Removed, Reply, Requester, Role
from bot.errors import BadInputError, NotAllowedError
from bot.settings import Settings
from bot.store.figures import DayFigures, ReusedPrompt
from engine.types import Layer, Refused
from tests.bot.talk import ask, invocation
from tests.bot.test_handlers import entry
from tests.fakes.engine_client import ScriptedEngine, picture

ADA = Requester(platform="web", id="ada")
BOB = Requester(platform="web", id="bob")
CLEO = Requester(platform="web", id="cleo", role=Role.MODERATOR)


def desk(person: Requester, workspace: str = "local") -> Place:
    return Place(platform="web", workspace=workspace, channel=person.id)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def app(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(Settings(home=tmp_path, running_per_person=5), engine) as app:
        yield app


async def draw(app: App, prompt: str, person: Requester = ADA) -> str:
    """Ask for a picture and take it; returns the job."""

    async def send(delivery: Delivery) -> str:
        return delivery.nonce

    invocation = Invocation(
        event=f"{prompt}{time.monotonic()}", command="imagine", requester=person, place=desk(person), text=prompt
    )
    job = ""
    async for update in app.dispatcher.handle(invocation):
        if isinstance(update, Delivery):
            job = update.job
            assert await app.dispatcher.deliver(update, send) is None
    return job


async def test_a_picture_is_seen_by_who_asked_and_by_moderators(app: App, engine: ScriptedEngine) -> None:
    job = await draw(app, "a red apple --seed 7")
    for person in (ADA, CLEO):
        gallery = await app.dispatcher.gallery(person, desk(person))
        assert await gallery.picture(job, 1) == picture(engine.orders[0].requests[0])
        assert await gallery.picture(job, 2) is None
        assert await gallery.picture("nothing", 1) is None
    for stranger, place in ((BOB, desk(BOB)), (CLEO, desk(CLEO, "elsewhere"))):
        assert await (await app.dispatcher.gallery(stranger, place)).picture(job, 1) is None


async def test_another_mark_is_taken_from_the_cache_alone(app: App, engine: ScriptedEngine) -> None:
    job = await draw(app, "a red apple --seed 7 --watermark-position center --steps 3")
    gallery = await app.dispatcher.gallery(ADA, desk(ADA))
    image = await gallery.marked(job, 1, {"watermark_text": "Ada", "watermark_margin": 40})
    assert image is not None
    order = engine.orders[-1]
    (request,) = order.requests
    assert order.hits_only
    assert not order.keep
    assert (request.watermark_text, request.watermark_margin, request.watermark_position) == ("Ada", 40, None)
    assert (request.seed, request.steps, request.prompt) == (7, 3, "a red apple")
    assert order.scope == "web:local"
    assert await (await app.dispatcher.gallery(BOB, desk(BOB))).marked(job, 1, {}) is None
    with pytest.raises(BadInputError, match="--watermark-margin"):
        await gallery.marked(job, 1, {"watermark_margin": 9999})
    with pytest.raises(NotAllowedError, match="without the visible mark"):
        await gallery.marked(job, 1, {"watermark": False})


async def test_no_other_mark_is_put_on_what_is_withheld_or_deleted(app: App, engine: ScriptedEngine) -> None:
    job = await draw(app, "a red apple --seed 7")
    gallery, (key,) = await app.dispatcher.gallery(ADA, desk(ADA)), engine.files
    engine.entries = [entry("a", scope="web:local").model_copy(update={"key": key})]
    for action, seen in (("quarantine", False), ("release", True)):
        await command(app, "cache", f"{action} {key}", CLEO)
        assert (await gallery.marked(job, 1, {}) is not None) is seen
        assert (await gallery.picture(job, 1) is not None) is seen
    await command(app, "delete", job, ADA)
    assert await gallery.marked(job, 1, {}) is None
    for number in (0, 2):
        assert await gallery.marked(job, number, {}) is None


async def command(app: App, name: str, text: str, person: Requester) -> None:
    """Give a command that is answered in words."""
    (update,) = await ask(app.dispatcher, invocation(name, text, who=person, place=desk(person)))
    assert isinstance(update, Reply | Removed), update


async def test_moderators_see_sums_and_members_do_not(app: App, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
    for prompt in ("a cat --seed 1", "a cat --seed 1", "a dog --seed 1", "a sin"):
        await draw(app, prompt)
    gallery = await app.dispatcher.gallery(CLEO, desk(CLEO))
    overview = await gallery.overview(time.time() - 60)
    assert overview.days == (DayFigures(day=overview.days[0].day, hits=0, misses=3),)
    assert overview.reused == (ReusedPrompt(prompt="a cat", uses=2),)
    assert overview.refusals == {"keywords": 1}
    assert overview.seconds == {"draw": 0.5}
    elsewhere = await app.dispatcher.gallery(CLEO, desk(CLEO, "elsewhere"))
    assert (await elsewhere.overview(0.0)).days == ()
    assert (await gallery.overview(time.time() + 60)).refusals == {}
    member = await app.dispatcher.gallery(ADA, desk(ADA))
    with pytest.raises(NotAllowedError):
        await member.overview(0.0)
    with pytest.raises(NotAllowedError):
        await member.entry("a" * 64)
