from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.app import App, running
from bot.chat import Place, Refusal, Requester
from bot.community import Community
from bot.errors import BadInputError
from bot.grammar.community import NAMES, setting_name, setting_value
from bot.settings import Settings, Style
from engine.types import EngineInfo, Position, ResolvedRequest, Sampler
from tests.bot.talk import (
    ADA,
    BOB,
    ELSEWHERE,
    HERE,
    MODERATOR,
    OPERATOR,
    ask,
    complaint,
    drawn,
    invocation,
    made,
    reply,
)
from tests.fakes.engine_client import MODEL, ScriptedEngine


async def put(app: App, text: str, *, who: Requester = MODERATOR, place: Place = HERE) -> Any:
    return (await reply(app, "settings", f"set {text}", who=who, place=place)).data["value"]


async def request(app: App, text: str, **more: Any) -> ResolvedRequest:
    return (await drawn(app, text, **more)).pictures[0].image.request


async def test_settings_are_shown_set_and_taken_back(app: App) -> None:
    shown = await reply(app, "settings", who=MODERATOR)
    assert shown.data["settings"] == Community().model_dump(mode="json")
    assert all(name in shown.text for name in NAMES)
    assert (await reply(app, "settings", "set daily-pictures 3", who=MODERATOR)).text == "daily_pictures: 3"
    assert (await reply(app, "settings", "show", who=MODERATOR)).data["settings"]["daily_pictures"] == 3
    assert (await reply(app, "settings", "unset daily_pictures", who=MODERATOR)).text == "daily_pictures: 0"
    assert "not set here" in (await complaint(app, "settings", "unset daily_pictures", who=MODERATOR)).text
    actions = [
        (e["action"], e["target"], e["detail"])
        for e in (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    ]
    assert actions == [("settings.unset", "daily_pictures", ""), ("settings.set", "daily_pictures", "3")]


async def test_settings_are_for_moderators_and_their_own_community(app: App) -> None:
    assert "Only moderators" in (await complaint(app, "settings", "set strict on")).text
    assert "Only moderators" in (await complaint(app, "settings")).text
    await put(app, "strict on", place=ELSEWHERE)
    assert (await reply(app, "settings", who=MODERATOR)).data["settings"]["strict"] is False


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("set colour red", "There is no setting"),
        ("set strictt on", "did you mean strict?"),
        ("set", "Write it like this: /settings set NAME VALUE"),
        ("set strict", "The setting strict needs a value."),
        ("set strict perhaps", 'strict is on or off, not "perhaps".'),
        ("set daily_pictures many", "daily_pictures takes a whole number from 0 to 1000000"),
        ("set daily_pictures -1", "daily_pictures takes a whole number"),
        ("set daily_pictures 9999999", "daily_pictures takes a whole number"),
        ("set nsfw maybe", "nsfw is one of ignore, spoiler, only"),
        ("set models sd99", 'There is no model "sd99" here, only emoji.'),
        ("set options a cat", "takes options alone"),
        ("set options --steps 1000", "--steps takes a whole number from 1 to 100"),
        ("set options --seed 7", "--seed can't be set for everybody"),
        ("set options --watermark-text x", "--watermark-text can't be set for everybody"),
        ("set options --style none-such", "There is no style"),
        ("set options --size 1024", "draws sides from 64 to 512"),
        ("set watermark_opacity 0.01", "opacity of at least 0.1"),
        ("set watermark_opacity 2", "--watermark-opacity takes a number from 0 to 1"),
        ("set watermark_color red", "a colour like #rrggbb"),
        ("set watermark_position middle", "--watermark-position is one of top-left"),
        ("set log_channel one two", "takes one channel"),
        ("set log_channel #art", "The setting log_channel takes ids, or mentions picked from the list"),
        ("set channels 12 #art", 'as you type, not "#art".'),
        ("set roles @everyone", 'as you type, not "@everyone".'),
        ("set roles <@7>", 'as you type, not "<@7>".'),
        ("set models #art", 'There is no model "#art" here'),
        ("set channels ,", "takes 1 to 50 names"),
        (f"set channels {' '.join(map(str, range(51)))}", "this has 51"),
        ("sett strict on", "did you mean /settings set?"),
    ],
)
async def test_every_mistake_gets_one_sentence(app: App, text: str, sentence: str) -> None:
    assert sentence in (await complaint(app, "settings", text, who=MODERATOR)).text
    assert (await reply(app, "settings", who=MODERATOR)).data["settings"] == Community().model_dump(mode="json")


@given(st.sampled_from(NAMES), st.text(max_size=60))
def test_whatever_is_typed_is_a_value_or_one_sentence(name: str, text: str) -> None:
    try:
        value = setting_value(name, text, "en")
    except BadInputError as error:
        assert len(error.sentence) > 10  # noqa: PT017  (either outcome is right)
    else:
        assert Community.model_validate({name: value}) is not None


@given(st.text(max_size=60))
def test_whatever_is_named_is_a_setting_or_one_sentence(text: str) -> None:
    try:
        assert setting_name(text, "en") in NAMES
    except BadInputError as error:
        assert len(error.sentence) > 10  # noqa: PT017  (either outcome is right)


async def test_mentions_are_read_as_what_they_name(app: App) -> None:
    assert await put(app, "channels <#12>, <#C3|general> 45 12") == ["12", "C3", "45"]
    assert await put(app, "roles <@&7> <!subteam^S9|@crew>") == ["7", "S9"]
    assert await put(app, "log_channel <#12>") == "12"


async def test_defaults_fill_what_is_left_open(app: App) -> None:
    answer = await reply(
        app, "settings", "set options --steps 9 --sampler heun --no blurry --size 128x64", who=MODERATOR
    )
    assert answer.text == 'options: --negative "blurry" --steps 9 --width 128 --height 64 --sampler heun'
    filled = await request(app, "a cat")
    assert (filled.steps, filled.sampler, filled.negative_prompt) == (9, Sampler.HEUN, "blurry")
    assert (filled.width, filled.height) == (128, 64)
    own = await request(app, "a cat --steps 3 --width 256")
    assert (own.steps, own.sampler, own.width, own.height) == (3, Sampler.HEUN, 256, MODEL.default_side)
    assert (await request(app, "a cat", place=ELSEWHERE)).steps == MODEL.steps


async def test_a_chosen_style_comes_before_the_communitys_options(tmp_path: Path) -> None:
    styles = {"slow": Style(template="{prompt}", options={"steps": 50}), "plain": Style(template="plain {prompt}")}
    async with running(Settings(home=tmp_path, styles=styles), ScriptedEngine()) as app:
        await put(app, "options --steps 9 --guidance 2 --style plain")
        chosen, filled = await request(app, "a cat --style slow"), await request(app, "a cat")
    assert (chosen.steps, chosen.guidance, chosen.prompt) == (50, 2.0, "a cat")
    assert (filled.steps, filled.prompt) == (9, "plain a cat")


async def test_a_default_style_that_is_gone_stops_nobody_from_drawing_anew(tmp_path: Path) -> None:
    styles = {"plain": Style(template="plain {prompt}")}
    async with running(Settings(home=tmp_path, styles=styles), ScriptedEngine()) as app:
        await put(app, "options --style plain")
        job = (await drawn(app, "a cat")).job
    async with running(Settings(home=tmp_path, styles={}), ScriptedEngine()) as app:
        assert (await made(app, "reroll", job)).pictures[0].image.request.prompt == "a cat"
        assert 'no style "plain"' in (await complaint(app, "upscale", job)).text


async def test_a_model_that_moderators_took_away_stops_nobody_from_drawing_anew(
    app: App, engine: ScriptedEngine
) -> None:
    models = tuple(MODEL.model_copy(update={"name": name}) for name in ("emoji", "sd15"))
    engine._info = EngineInfo(models=models, default_model="emoji")
    await put(app, "models sd15")
    job = (await drawn(app, "a cat")).job
    await put(app, "models emoji")
    assert (await made(app, "reroll", job)).pictures[0].image.request.model == "emoji"


DEFAULTS = "options --style photo --negative text --quality fast --strength 0.3"


async def test_a_command_repeats_a_picture_where_no_defaults_hold(app: App) -> None:
    await put(app, DEFAULTS)
    await put(app, "watermark_text Guild")
    first = await drawn(app, "a cat --seed 7")
    (command,) = (await reply(app, "show", first.job)).data["commands"]
    assert command == '/imagine a cat --negative "text" --seed 7 --style photo --quality fast'
    again = await request(app, command.removeprefix("/imagine "), place=ELSEWHERE)
    own = {"watermark_text": None, "strength": None}
    assert again == first.pictures[0].image.request.model_copy(update=own)


async def test_a_command_names_the_model_where_a_community_has_some_of_its_own(
    app: App, engine: ScriptedEngine
) -> None:
    models = tuple(MODEL.model_copy(update={"name": name}) for name in ("emoji", "sd15"))
    engine._info = EngineInfo(models=models, default_model="emoji")
    await put(app, "models sd15")
    job = (await drawn(app, "a cat --seed 7")).job
    assert (await reply(app, "show", job)).data["commands"] == ["/imagine a cat --seed 7 --model sd15"]


@pytest.mark.parametrize("command", ["vary", "upscale", "reroll"])
async def test_what_follows_a_picture_is_drawn_alike_where_no_defaults_hold(app: App, command: str) -> None:
    await put(app, DEFAULTS)
    parent = (await drawn(app, "a cat", who=BOB)).job
    sent = (await made(app, "send", parent, who=BOB)).job
    first = await request(app, "a cat --seed 7", who=BOB)
    for job in (parent, sent):
        child = (await made(app, command, job, who=BOB, place=ELSEWHERE)).pictures[0].image.request
        assert (child.prompt, child.negative_prompt) == (first.prompt, first.negative_prompt)
        assert (child.style, child.quality, child.spoiler) == ("photo", first.quality, False)


@pytest.mark.parametrize("command", ["vary", "upscale"])
@pytest.mark.parametrize("before", [None, "options --style comic --quality balanced"])
async def test_defaults_that_change_later_leave_a_picture_as_it_was_drawn(
    app: App, command: str, before: str | None
) -> None:
    if before is not None:
        await put(app, before)
    delivery = await drawn(app, "a cat")
    await put(app, DEFAULTS)
    child = (await made(app, command, delivery.job)).pictures[0].image.request
    made_of = {"variations": child.variations, "upscale": child.upscale}
    assert child == delivery.pictures[0].image.request.model_copy(update=made_of)


async def test_what_holds_for_a_community_alone_is_not_kept_with_a_picture(app: App) -> None:
    for setting in ("options --strict", "private yes", "spoiler yes", "watermark_text Guild"):
        await put(app, setting)
    job = (await drawn(app, "a cat")).job
    for place, own in ((ELSEWHERE, (False, False, False, None)), (HERE, (True, True, True, "Guild"))):
        child = (await made(app, "vary", job, place=place)).pictures[0].image.request
        assert (child.strict, child.private, child.spoiler, child.watermark_text) == own


async def test_pictures_are_asked_for_where_and_by_whom_the_community_wants(app: App) -> None:
    await put(app, "channels c7")
    refusal = await complaint(app, "imagine", "a cat")
    assert isinstance(refusal, Refusal)
    assert "not be asked for in this channel" in refusal.text
    thread = HERE.model_copy(update={"channel": "c9", "thread": "c7"})
    await drawn(app, "a cat", place=HERE.model_copy(update={"channel": "c7"}))
    await drawn(app, "a cat", place=thread)
    await drawn(app, "a cat", who=MODERATOR)
    await reply(app, "settings", "unset channels", who=MODERATOR)
    await put(app, "roles artists")
    assert "certain roles" in (await complaint(app, "imagine", "a cat")).text
    await drawn(app, "a cat", who=ADA.model_copy(update={"roles": ("fans", "artists")}))
    await drawn(app, "a cat", who=OPERATOR)


async def test_age_restricted_channels(app: App) -> None:
    adult = HERE.model_copy(update={"nsfw": True})
    await put(app, "nsfw spoiler")
    assert (await drawn(app, "a cat")).pictures[0].spoiler
    assert not (await drawn(app, "a cat", place=adult)).pictures[0].spoiler
    await put(app, "nsfw only")
    assert "age-restricted channels alone" in (await complaint(app, "imagine", "a cat")).text
    await drawn(app, "a cat", place=adult)


async def test_strictness_privacy_and_spoilers_for_all(app: App) -> None:
    for name in ("strict", "private", "spoiler"):
        await put(app, f"{name} yes")
    delivery = await drawn(app, "a cat")
    asked = delivery.pictures[0].image.request
    assert (asked.strict, delivery.private, delivery.pictures[0].spoiler) == (True, True, True)


async def test_the_communitys_mark_gives_way_to_ones_own(app: App) -> None:
    for setting in ("text Guild", "position top-left", "opacity 0.3", "size 12", "color #FF0000", "margin 3"):
        await put(app, f"watermark_{setting}")
    marked = await request(app, "a cat --watermark-text Mine")
    assert (marked.watermark_text, marked.watermark_position, marked.watermark_opacity) == (
        "Mine",
        Position.TOP_LEFT,
        0.3,
    )
    assert (marked.watermark_size, marked.watermark_color, marked.watermark_margin) == (12, "#ff0000", 3)
    assert await put(app, "watermark_opacity 0.01", who=OPERATOR) == 0.01


async def test_a_faint_mark_of_the_operators_is_everybodys_but_nobody_may_type_one(app: App) -> None:
    await put(app, "watermark_opacity 0.05", who=OPERATOR)
    assert (await request(app, "a cat")).watermark_opacity == 0.05
    for opacity in (0.05, 0.01):
        refusal = await complaint(app, "imagine", f"a cat --watermark-opacity {opacity}")
        assert f"at least 0.1 here, not {opacity}" in refusal.text
    assert "without the visible mark" in (await complaint(app, "imagine", "a cat --no-watermark")).text
    assert (await request(app, "a cat --watermark-opacity 0.01", who=MODERATOR)).watermark_opacity == 0.01


async def test_models_are_chosen_among_those_that_the_community_wants(app: App, engine: ScriptedEngine) -> None:
    models = tuple(MODEL.model_copy(update={"name": name}) for name in ("emoji", "sd15", "sdxl"))
    engine._info = EngineInfo(models=models, default_model="emoji")
    await put(app, "models sd15, sdxl")
    assert (await request(app, "a cat")).model == "sd15"
    assert (await request(app, "a cat --model sdxl")).model == "sdxl"
    sentence = (await complaint(app, "imagine", "a cat --model emoji")).text
    assert sentence == 'The model "emoji" is not offered in this community, only sd15, sdxl.'
    assert await app.dispatcher.suggest(ADA, HERE, "model", "") == ("sd15", "sdxl")
    engine._info = EngineInfo(models=models[:1], default_model="emoji")
    assert (await request(app, "a cat")).model == "emoji", "models that are gone shut nobody out"


async def test_the_communitys_quota_is_its_own(app: App) -> None:
    await put(app, "daily_pictures 2")
    await drawn(app, "a cat")
    assert (await reply(app, "quota")).data["limit"] == 2
    assert "1 is left of this community's 2 a person" in (await complaint(app, "batch", "a cat\na dog")).text
    await drawn(app, "a cat")
    assert "this community's limit is 2" in (await complaint(app, "imagine", "a cat")).text
    await drawn(app, "a cat", place=ELSEWHERE)
    await drawn(app, "a cat", who=BOB)
    await put(app, "community_pictures 3")
    assert "has had its 3 pictures for today" in (await complaint(app, "imagine", "a cat", who=BOB)).text


async def test_the_operator_bounds_every_community(tmp_path: Path) -> None:
    async with running(Settings(home=tmp_path, community_pictures=1), ScriptedEngine()) as app:
        await put(app, "community_pictures 50")
        await drawn(app, "a cat")
        assert "has had its 1 picture for today" in (await complaint(app, "imagine", "a cat", who=BOB)).text
        await drawn(app, "a cat", place=ELSEWHERE)


async def test_previews_can_be_left_out(app: App, engine: ScriptedEngine) -> None:
    engine.preview = b"tiny"
    seen = [u.preview for u in await ask(app.dispatcher, invocation("imagine", "a cat")) if u.kind == "working"]
    assert b"tiny" in seen
    await put(app, "previews off")
    seen = [u.preview for u in await ask(app.dispatcher, invocation("imagine", "a cat")) if u.kind == "working"]
    assert set(seen) == {None}


async def test_rules_hold_for_every_way_of_asking(app: App) -> None:
    job = (await drawn(app, "a cat")).job
    await put(app, "roles artists")
    for command, text in (("batch", "a cat"), ("reroll", job), ("vary", job), ("upscale", job)):
        assert "certain roles" in (await complaint(app, command, text)).text, command
    assert (await made(app, "send", job)).private


async def test_a_value_of_another_version_is_left_out(app: App, settings: Settings) -> None:
    import sqlite3
    from contextlib import closing

    await put(app, "daily_pictures 5")
    with closing(sqlite3.connect(settings.database)) as database:
        for name, value in (("nsfw", '"never"'), ("gone", "1"), ("strict", "true")):
            database.execute("INSERT INTO community_settings VALUES (?, ?, ?, 'x', 0)", (HERE.scope, name, value))
        database.commit()
    shown = (await reply(app, "settings", who=MODERATOR)).data["settings"]
    assert (shown["daily_pictures"], shown["strict"], shown["nsfw"]) == (5, True, "ignore")
