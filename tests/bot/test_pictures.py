from __future__ import annotations

import pytest

from bot.app import App
from bot.chat import Delivery, Place, Role
from bot.errors import BadInputError
from engine.types import MAX_VARIATIONS, EngineInfo, Layer, Refused
from tests.bot.talk import ADA, BOB, ELSEWHERE, HERE, MODERATOR, ask, complaint, drawn, invocation, made, reply
from tests.bot.test_handlers import entry
from tests.fakes.engine_client import MODEL, ScriptedEngine

OTHER_CHANNEL = HERE.model_copy(update={"channel": "c2"})


async def test_a_variation_starts_from_the_seed_that_the_picture_was_drawn_with(
    app: App, engine: ScriptedEngine
) -> None:
    parent = (await drawn(app, "a cat --steps 3")).pictures[0].image.request
    child = (await made(app, "vary", f"{engine.orders[0].job} 1 strong", who=BOB)).pictures[0].image.request
    (step,) = child.variations
    assert step.strength == 0.5
    assert step.seed != parent.seed
    assert child.model_copy(update={"variations": ()}) == parent
    grandchild = (await made(app, "vary", engine.orders[1].job)).pictures[0].image.request
    assert grandchild.variations[0] == step
    assert [round(one.strength, 1) for one in grandchild.variations] == [0.5, 0.2]
    assert not engine.orders[1].seeds_free


async def test_a_variation_may_leave_its_number_out(app: App, engine: ScriptedEngine) -> None:
    await drawn(app, "a cat")
    child = await made(app, "vary", f"{engine.orders[0].job} strong")
    assert child.pictures[0].image.request.variations[0].strength == 0.5
    assert "/vary JOB [NUMBER] [subtle|strong]" in (await complaint(app, "vary", f"{child.job} 1 wild")).text
    assert "/vary JOB [NUMBER] [subtle|strong]" in (await complaint(app, "vary", f"{child.job} 3")).text


async def test_a_picture_can_be_varied_only_so_often(app: App) -> None:
    job = (await drawn(app, "a cat")).job
    for _ in range(MAX_VARIATIONS):
        job = (await made(app, "vary", job, who=MODERATOR)).job
    assert "varied 8 times already" in (await complaint(app, "vary", job, who=MODERATOR)).text


async def test_upscaling_keeps_the_picture_and_happens_once(app: App, engine: ScriptedEngine) -> None:
    parent = (await drawn(app, "a cat --seed 7")).pictures[0].image.request
    large = await made(app, "upscale", engine.orders[0].job)
    assert large.pictures[0].image.request == parent.model_copy(update={"upscale": 2})
    assert "upscaled already" in (await complaint(app, "upscale", large.job)).text
    varied = await made(app, "vary", large.job)
    assert varied.pictures[0].image.request.upscale == 1


async def test_upscaling_stops_at_what_the_model_draws(app: App) -> None:
    job = (await drawn(app, f"a cat --size {MODEL.max_side}")).job
    assert "can't be enlarged 2 times" in (await complaint(app, "upscale", job)).text


async def test_a_reroll_is_a_new_picture_and_no_variation(app: App) -> None:
    varied = await made(app, "vary", (await drawn(app, "a cat --seed 7")).job)
    fresh = (await made(app, "reroll", varied.job)).pictures[0].image.request
    assert (fresh.variations, fresh.upscale) == ((), 1)
    assert fresh.seed != 7


async def test_what_was_open_stays_as_it_was_drawn(app: App, engine: ScriptedEngine) -> None:
    job = (await drawn(app, "a cat")).job
    engine._info = EngineInfo(models=(MODEL.model_copy(update={"steps": 9, "guidance": 1.5}),), default_model="emoji")
    child = (await made(app, "vary", job)).pictures[0].image.request
    assert (child.steps, child.guidance) == (MODEL.steps, MODEL.guidance)


async def test_sending_brings_the_same_picture_to_the_one_who_asks_and_costs_nothing(
    app: App, engine: ScriptedEngine
) -> None:
    first = await drawn(app, "a cat --seed 7 --force")
    assert not first.private
    sent = await made(app, "send", first.job, who=BOB)
    assert sent.private
    assert sent.job != first.job
    again = sent.pictures[0].image.request
    assert again.model_copy(update={"private": False, "force": True}) == first.pictures[0].image.request
    assert (await reply(app, "quota", who=BOB)).data["used"] == 0
    assert engine.orders[1].owner == BOB.key


async def test_a_private_picture_is_seen_by_nobody_else_but_moderators(app: App) -> None:
    private = await drawn(app, "a secret --private")
    assert private.private
    for command in ("reroll", "vary", "upscale", "send", "report"):
        assert "There is no job" in (await complaint(app, command, private.job, who=BOB)).text
    assert await app.dispatcher.form(BOB, HERE, private.job, 1) is None
    assert (await made(app, "vary", private.job)).private
    assert (await made(app, "send", private.job, who=MODERATOR)).private


async def test_pictures_of_other_channels_are_out_of_reach(app: App) -> None:
    job = (await drawn(app, "a cat")).job
    for command in ("vary", "upscale", "send"):
        for place in (OTHER_CHANNEL, ELSEWHERE):
            assert "There is no job" in (await complaint(app, command, job, who=BOB, place=place)).text
    assert isinstance(await made(app, "vary", job, who=MODERATOR, place=OTHER_CHANNEL), Delivery)


async def test_only_what_was_drawn_can_be_changed(app: App, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS)
    await ask(app.dispatcher, invocation("imagine", "a sin"))
    for command in ("vary", "upscale", "send"):
        assert "was never drawn" in (await complaint(app, command, engine.orders[0].job)).text


@pytest.mark.parametrize("place", [HERE, ELSEWHERE])
async def test_nothing_is_made_of_a_picture_in_quarantine(app: App, engine: ScriptedEngine, place: Place) -> None:
    delivery = await drawn(app, "a cat --seed 7")
    key = delivery.pictures[0].image.key
    engine.entries = [entry("a", scope=place.scope).model_copy(update={"key": key})]
    await reply(app, "cache", f"quarantine {key}", who=MODERATOR, place=place)
    orders = len(engine.orders)
    for command in ("vary", "upscale", "send"):
        refusal = await complaint(app, command, delivery.job, place=ELSEWHERE)
        assert "A moderator withholds this picture" in refusal.text, command
    assert len(engine.orders) == orders
    assert (await made(app, "reroll", delivery.job, place=ELSEWHERE)).pictures
    await reply(app, "cache", f"release {key}", who=MODERATOR, place=place)
    assert (await made(app, "vary", delivery.job, place=ELSEWHERE)).pictures


async def test_show_sends_what_no_text_can_describe(app: App) -> None:
    varied = await made(app, "vary", (await drawn(app, "a cat --seed 7")).job)
    assert (await reply(app, "show", varied.job)).data["commands"] == [f"/send {varied.job} 1"]


async def test_spoilers_are_marked(app: App) -> None:
    plain, covered = await drawn(app, "a cat"), await drawn(app, "a cat --spoiler")
    assert [plain.pictures[0].spoiler, covered.pictures[0].spoiler] == [False, True]


async def test_a_form_is_filled_with_what_was_drawn(app: App) -> None:
    delivery = await drawn(app, "a cat --style photo")
    shown = await app.dispatcher.form(BOB, HERE, delivery.job.upper(), 1)
    assert shown is not None
    assert (shown.prompt, shown.style) == ("a cat", "photo")
    assert shown.seed == delivery.pictures[0].image.request.seed
    assert shown.steps == MODEL.steps
    for job, number, place in ((delivery.job, 2, HERE), (delivery.job, 0, HERE), ("nope", 1, HERE)):
        assert await app.dispatcher.form(ADA, place, job, number) is None
    assert await app.dispatcher.form(BOB, ELSEWHERE, delivery.job, 1) is None


async def test_no_form_tells_what_a_picture_was_that_is_gone(app: App, engine: ScriptedEngine) -> None:
    delivery = await made(app, "batch", "a cat\na dog")
    job, key = delivery.job, delivery.pictures[1].image.key
    await ask(app.dispatcher, invocation("delete", f"{job} 1"))
    for who in (ADA, BOB, MODERATOR):
        assert await app.dispatcher.form(who, HERE, job, 1) is None
    assert await app.dispatcher.form(BOB, HERE, job, 2) is not None
    engine.entries = [entry("a").model_copy(update={"key": key})]
    await reply(app, "cache", f"quarantine {key}", who=MODERATOR)
    assert await app.dispatcher.form(BOB, HERE, job, 2) is None


@pytest.mark.parametrize(
    ("field", "typed", "expected"),
    [
        ("model", "EM", ("emoji",)),
        ("style", "p", ("photo", "painting", "pixel")),
        ("sampler", "karras", ("dpmpp_2m_karras",)),
        ("prompt", "red", ("a red cat",)),
        ("setting", "log", ()),
        ("width", "", ()),
        ("nonsense", "x", ()),
    ],
)
async def test_suggestions_fit_what_was_typed(app: App, field: str, typed: str, expected: tuple[str, ...]) -> None:
    await drawn(app, "a red cat")
    await drawn(app, "a red cat")
    await drawn(app, "a blue dog")
    await drawn(app, "a red bird", who=BOB)
    found = await app.dispatcher.suggest(ADA, HERE, field, typed)
    assert set(found) >= set(expected)
    assert len(found) == len(set(found))
    assert all(typed.casefold() in name for name in found)
    if expected:
        assert found[0] == expected[0]


async def test_settings_are_suggested_to_moderators_alone(app: App) -> None:
    assert await app.dispatcher.suggest(MODERATOR, HERE, "setting", "log") == ("log_channel",)
    assert await app.dispatcher.suggest(ADA, HERE, "setting", "log") == ()


async def test_suggestions_are_few_and_never_an_error(app: App, engine: ScriptedEngine) -> None:
    infos = tuple(MODEL.model_copy(update={"name": f"m{n}"}) for n in range(40))
    engine._info = EngineInfo(models=infos, default_model="m0")
    assert len(await app.dispatcher.suggest(ADA, HERE, "model", "m")) == 25

    async def broken() -> EngineInfo:
        raise BadInputError("no")

    engine.info = broken  # type: ignore[method-assign]
    assert await app.dispatcher.suggest(ADA, HERE, "model", "m") == ()


async def test_home_shows_each_person_what_is_theirs(app: App, engine: ScriptedEngine) -> None:
    first = await drawn(app, "a cat")
    await drawn(app, "a dog", who=BOB)
    home = await app.dispatcher.home(ADA, HERE)
    assert [job.id for job in home.recent] == [first.job]
    assert (home.running, home.role, home.desk, home.usage.used) == ((), Role.MEMBER, None, 1)
    await reply(app, "report", f"{first.job} ugly", who=BOB)
    await reply(app, "settings", "set strict on", who=MODERATOR)
    desk = (await app.dispatcher.home(MODERATOR, HERE)).desk
    assert desk is not None
    assert desk.settings.strict
    assert [told.job for told in desk.reports] == [first.job]
    assert [line.action for line in desk.audit] == ["settings.set"]
    elsewhere = (await app.dispatcher.home(MODERATOR, ELSEWHERE)).desk
    assert elsewhere is not None
    assert (elsewhere.reports, elsewhere.audit, elsewhere.settings.strict) == ((), (), False)
