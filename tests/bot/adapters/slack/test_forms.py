"""Modals, shortcuts, files, the App Home and the buttons: what people do without typing commands."""

from __future__ import annotations

from typing import Any

import pytest

from bot.adapters.slack import forms
from bot.adapters.slack.address import Address
from bot.app import App, running
from bot.grammar import OPTIONS
from bot.messages import offered
from bot.settings import Settings
from engine.types import ImageRequest
from tests.bot.adapters.slack.test_answers import finished, is_private, press, said
from tests.contract.slack import SlackHarness, standing
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import CHANNEL, DIRECT, Fault, member
from tests.fakes.slack_blocks import view_problems, walk

OPENED = forms.Opened(address=Address(team="T1", channel="C1", user="UADA"))
OFFERED = {"model": ["emoji"], "style": ["photo", "comic"]}


async def opened(person: SlackHarness, count: int = 1) -> dict[str, Any]:
    """The modal that was opened last."""
    await person.slack.until(lambda: len(person.slack.views) >= count)
    return person.slack.views[-1]


def initial(view: dict[str, Any]) -> dict[str, Any]:
    """What stands in each field of a modal."""
    fields = {block["block_id"]: block["element"] for block in view["blocks"]}
    return {
        name: element.get("initial_value") or (element.get("initial_option") or {}).get("value")
        for name, element in fields.items()
    }


def test_the_form_has_every_option() -> None:
    view = forms.imagine_view(OPENED, "en", OFFERED)
    fields = {block["block_id"] for block in view["blocks"]}
    switches = {entry["value"] for block in view["blocks"] for entry in block["element"].get("options", ())}
    assert set(OPTIONS) <= fields | switches


def test_what_a_form_is_filled_with_comes_back_from_it() -> None:
    request = ImageRequest(
        prompt="a\ncat", negative_prompt="blur", steps=7, guidance=3.5, seed=2**64 - 1, style="comic", strict=True
    )
    view = forms.imagine_view(OPENED, "en", OFFERED, request)
    values = {block["block_id"]: {block["block_id"]: standing(block["element"])} for block in view["blocks"]}
    body = {"view": view | {"id": "V1", "state": {"values": values}}, "user": {"id": "UADA"}}
    asked = forms.imagine_submission(body, "T1")
    assert asked.options is not None
    assert ImageRequest.model_validate(asked.options) == request


async def test_imagine_alone_opens_a_form_that_draws(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine")
        await opened(person)
        fields = {
            "style": {"selected_option": {"value": "comic"}},
            "switches": {"selected_options": [{"value": "watermark"}, {"value": "strict"}]},
        }
        await person.submit({"prompt": "a red apple", "steps": "7"}, fields=fields)
        await finished(person)
    asked = engine.orders[0].requests[0]
    assert (asked.steps, asked.style, asked.strict) == (7, "comic", True)
    assert person.slack.arrived[0].channel == CHANNEL


async def test_a_mistake_in_a_form_is_shown_in_it(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine")
        await opened(person)
        await person.submit({"prompt": "a red apple", "width": "65"})
        await person.until("--width takes")
    assert engine.orders == []


async def test_a_mistake_stands_under_its_field_in_the_person_s_language(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    person.slack.users["UADA"] = member("UADA", locale="de-DE")
    async with person.running(app.dispatcher):
        await person.slash("imagine")
        view = await opened(person)
        assert [block["label"]["text"] for block in view["blocks"][:3]] == ["Prompt", "Weglassen", "Schritte"]
        await person.submit({"prompt": "a red apple", "width": "65"})
        await person.until("--width nimmt ein Vielfaches")
        assert list(person.slack.errors) == ["width"]
        await person.slash("batch")
        await opened(person, 2)
        await person.submit({"prompts": "a cat\na dog --stesp 4"})
        await person.until("Zeile 2: Die Option")
        assert list(person.slack.errors) == ["prompts"]
    assert engine.orders == []


@pytest.mark.parametrize("locale", offered())
def test_every_field_is_named_in_every_language(locale: str) -> None:
    view = forms.imagine_view(OPENED, locale, OFFERED, asks_for_image=True)
    labels = {block["block_id"]: block["label"]["text"] for block in view["blocks"]}
    assert len(set(labels.values())) == len(labels)
    assert view_problems(view) == []
    if locale != "en":
        assert labels["steps"] != "Steps"
        assert labels["watermark_color"] != "Colour of the watermark"
        (position,) = [block["element"] for block in view["blocks"] if block["block_id"] == "watermark_position"]
        picked = {option["value"]: option["text"]["text"] for option in position["options"]}
        assert picked["top-left"] not in ("top-left", "top left")


async def test_what_started_from_an_image_can_be_remixed(person: SlackHarness, app: App) -> None:
    opened = OPENED.model_copy(update={"image_of": "abcdefgh 1"})
    async with person.running(app.dispatcher):
        view = forms.imagine_view(opened, "en", OFFERED, ImageRequest(prompt="a cat", strength=0.5))
        values = {block["block_id"]: {block["block_id"]: standing(block["element"])} for block in view["blocks"]}
        await person.interact("view_submission", view=view | {"id": "V1", "state": {"values": values}})
        await person.until('There is no job "abcdefgh"')
    assert person.slack.errors == {}


async def test_a_batch_takes_a_text_file(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.slash("batch")
        await opened(person)
        file = person.slack.hosting("prompts.txt", "a dog\na cöw --seed 3".encode(), "text/plain")
        await person.submit({"prompts": "a cat"}, fields={"file": {"files": [file]}})
        await finished(person, pictures=3)
    assert [request.prompt for request in engine.orders[0].requests] == ["a cat", "a dog", "a cöw"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": 11 * 2**20}, "larger than 10 MiB"),
        ({"url_private_download": "https://elsewhere.example.org/x"}, "can't be fetched"),
        ({"url_private_download": "http://127.0.0.1.example.org/x"}, "can't be fetched"),
    ],
)
async def test_a_file_elsewhere_or_too_large_is_not_fetched(
    person: SlackHarness, app: App, change: dict[str, Any], sentence: str
) -> None:
    async with person.running(app.dispatcher):
        file = person.slack.hosting("prompts.txt", b"a dog", "text/plain") | change
        await person.mention("/batch", files=[file])
        await person.until(sentence)


async def test_the_shortcut_of_no_message_asks_for_a_channel(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.interact("shortcut", callback_id="easel_make")
        view = await opened(person)
        assert view["blocks"][0]["block_id"] == "where"
        await person.submit({"prompt": "a red apple"}, fields={"where": {"selected_conversation": CHANNEL}})
        await finished(person)
        await person.interact("shortcut", callback_id="easel_make")
        await opened(person, 2)
        await person.submit({"prompt": "a green apple"})
        await finished(person, pictures=2)
    assert [file.channel for file in person.slack.arrived] == [CHANNEL, DIRECT]


async def remix(person: SlackHarness, **message: Any) -> str:
    return await person.interact(
        "message_action", callback_id="easel_remix", message={"ts": "5.5"} | message, channel={"id": CHANNEL}
    )


async def test_a_picture_in_a_message_is_remixed_in_its_thread(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --seed 7 --steps 3")
        await finished(person)
        await remix(person, files=[{"name": person.slack.arrived[0].name}])
        view = await opened(person)
        values = initial(view)
        assert (values["prompt"], values["seed"], values["steps"]) == ("a red apple", "7", "3")
        await person.submit({"prompt": "a green apple"})
        await finished(person, pictures=2)
        await press(person, f"v1:remix:{engine.orders[0].job}:0")
        await opened(person, 2)
        await remix(person, text="no picture at all")
        await person.until("no picture of yours")
    assert person.slack.arrived[1].thread == "5.5"
    assert engine.orders[1].requests[0].prompt == "a green apple"


@pytest.mark.parametrize("action", ["subtle", "strong", "upscale", "reroll"])
async def test_the_buttons_draw_on(person: SlackHarness, app: App, engine: ScriptedEngine, action: str) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --seed 7")
        await finished(person)
        await press(person, f"v1:{action}:{engine.orders[0].job}:0")
        await finished(person, pictures=2)
    asked = engine.orders[1].requests[0]
    assert bool(asked.variations) == (action in ("subtle", "strong"))
    assert asked.upscale == (2 if action == "upscale" else 1)


async def test_a_picture_is_sent_to_whoever_presses(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    person.slack.users["UBOB"] = member("UBOB")
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
        await press(person, f"v1:send:{engine.orders[0].job}:0", user="UBOB")
        await person.until("is in your direct messages")
    assert [file.channel for file in person.slack.arrived] == [CHANNEL, DIRECT]
    assert is_private(said(person, "direct messages"))
    asked = [given["users"] for method, given in person.slack.calls if method == "conversations.open"]
    assert asked == ["UBOB"]


async def test_a_private_picture_comes_as_a_direct_message_and_nobody_else_sees_a_thing(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    engine.preview = b"a small picture"
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --private")
        await person.until("is in your direct messages")
    assert [file.channel for file in person.slack.arrived] == [DIRECT]
    assert said(person, "seed")["channel"] == DIRECT
    public = [message for message in person.slack.sent if not is_private(message)]
    assert [message["channel"] for message in public] == [DIRECT]
    assert "slack_file" not in str(person.slack.sent)


async def test_a_covered_picture_hides_in_a_thread_and_goes_with_its_cover(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --spoiler")
        await person.until("open the thread to see it")
        await person.slack.until(lambda: "v1:reroll" in str(person.slack.messages))
        cover = next(ts for ts, message in person.slack.messages.items() if "open the thread" in str(message))
        assert person.slack.arrived[0].thread == cover
        await press(person, f"v1:delete:{engine.orders[0].job}:0")
        await person.slack.until(lambda: all(map(is_private, person.slack.messages.values())))


async def test_previews_are_shown_and_taken_away(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    engine.preview = b"\xff\xd8 a small picture"
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.slack.until(lambda: "slack_file" in str(person.slack.messages))
        engine.gate.set()
        await finished(person)
    preview = next(file for file in person.slack.files.values() if file.name == "preview")
    assert preview.deleted
    assert preview.channel is None


async def test_a_deleted_picture_goes_with_its_message(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
        await press(person, f"v1:delete:{engine.orders[0].job}:0")
        await person.slack.until(lambda: all(map(is_private, person.slack.messages.values())))
    assert [file.deleted for file in person.slack.arrived] == [True]


@pytest.mark.parametrize("way", ["pressed", "typed", "typed after a restart"])
async def test_of_a_batch_one_picture_goes_and_the_others_keep_their_lines_and_buttons(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine, way: str
) -> None:
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.say("batch", "a cat --seed 7\na dog --seed 8")
        await finished(person, pictures=2)
        await person.slash("quota")
        await person.until("today")
        if way != "typed after a restart":
            await delete_first(person, engine.orders[0].job, way)
    if way == "typed after a restart":
        async with running(settings, engine) as app, person.running(app.dispatcher):
            await delete_first(person, engine.orders[0].job, way)
    under = next(message for message in person.slack.messages.values() if "v1:reroll" in str(message))
    assert f"v1:reroll:{engine.orders[0].job}:1" in str(under)
    assert "seed 8" in str(under)
    assert "seed 7" not in str(under["blocks"])
    assert [file.deleted for file in person.slack.arrived] == [True, False]


async def delete_first(person: SlackHarness, job: str, way: str) -> None:
    """Delete the first picture of a batch."""
    if way == "pressed":
        await press(person, f"v1:delete:{job}:0")
    else:
        await person.mention(f"/delete {job} 1")
    await person.until("was deleted")
    await finished(person, pictures=1)


async def test_a_question_has_a_button_that_goes_on(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
        await person.mention("/forget-me")
        await person.until("can't be undone")
        value = next(item["value"] for item in walk(said(person, "can't be undone")) if "value" in item)
        assert value == "command:forget-me confirm"
        await press(person, value)
        await person.until("Deleted: 1 job")


async def test_a_form_that_can_t_open_says_so(person: SlackHarness, app: App) -> None:
    person.slack.faults["views.open"].append(Fault(error="expired_trigger_id"))
    async with person.running(app.dispatcher):
        await person.slash("imagine")
        await person.until("too long to open the form")
