"""The bot against a simulated Discord with a clock of its own: lifetimes, permissions, refusals of the platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
import simcord

from bot.app import App, running
from bot.settings import Settings
from engine.types import Layer, Refused
from tests.bot.adapters.discord.simulated import Clocked, World, simulated
from tests.fakes.engine_client import ScriptedEngine

TOKEN_LIFE = 15 * 60
LABELS = ["Re-roll", "Vary (subtle)", "Vary (strong)", "Upscale 2x", "Remix", "Parameters", "Send to me", "Delete"]


@pytest.fixture
async def world(app: App) -> AsyncIterator[World]:
    async with simulated(app) as world:
        yield world


def labels(message: simcord.ResponseMessage) -> list[str]:
    return [button["label"] for row in message.components for button in row["components"]]


async def picture(world: World, prompt: str = "a red apple", **options: Any) -> simcord.ResponseMessage:
    """A picture that Ada asked for."""
    result = await world.ada.slash(world.channel, "imagine", prompt=prompt, **options)
    assert result.response is not None
    assert result.response.attachments
    return result.response


async def drawing(world: World) -> simcord.ResponseMessage:
    """The status of a picture that is being drawn for Ada."""
    result = await world.ada.slash(world.channel, "imagine", prompt="a red apple")
    await world.until(lambda: result.response is not None and "Drawing" in result.response.content)
    assert result.response is not None
    return result.response


def files(world: World) -> list[discord.Attachment]:
    """Every file in the channel."""
    return [file for message in world.channel.history() for file in message.attachments]


async def test_the_answer_is_deferred_and_becomes_the_picture(world: World, engine: ScriptedEngine) -> None:
    result = await world.ada.slash(world.channel, "imagine", prompt="a red apple", steps=3, spoiler=True)
    (callback,) = [entry.json for entry in world.env.http_requests if entry.path.endswith("/callback")]
    assert callback == {"type": 5}
    assert not result.ephemeral
    assert result.response is not None
    (file,) = result.response.attachments
    assert file.is_spoiler()
    assert file.description == "Generated picture: a red apple"
    assert labels(result.response) == LABELS
    assert result.followups == []
    assert engine.orders[0].requests[0].steps == 3


async def test_what_is_private_is_seen_by_one_person(world: World) -> None:
    result = await world.ada.slash(world.channel, "imagine", prompt="a red apple", private=True)
    assert result.ephemeral
    assert result.response is not None
    assert result.response.attachments
    again = await world.ada.click(result.response, label="Re-roll")
    assert again.ephemeral


async def test_a_flag_in_the_prompt_is_as_private(world: World) -> None:
    result = await world.ada.slash(world.channel, "imagine", prompt="a red apple --private")
    assert result.ephemeral


async def test_a_picture_that_outlives_its_token_is_posted_by_the_bot(settings: Settings) -> None:
    async with running(settings, Clocked(TOKEN_LIFE + 60)) as app, simulated(app, parked=True) as world:
        status = await drawing(world)
        await world.env.advance_time(TOKEN_LIFE + 61)
        await world.until(lambda: len(files(world)) == 1)
        await world.until(lambda: len(world.channel.history()) == 1)
        assert world.channel.history()[0].id != status.id


async def test_a_token_that_is_lost_early_costs_nothing(world: World) -> None:
    world.env.inject_error("PATCH", "/webhooks/*", status=401, code=50027, times=None)
    await world.ada.slash(world.channel, "imagine", prompt="a red apple")
    assert world.channel.last_message is not None
    assert world.channel.last_message.attachments


async def test_an_event_that_is_known_too_late_draws_nothing(world: World, engine: ScriptedEngine) -> None:
    world.env.inject_error("POST", "/interactions/*/callback", status=404, code=10062)
    result = await world.ada.slash(world.channel, "imagine", prompt="a red apple")
    assert result.response is None
    assert engine.orders == []


async def test_an_event_that_was_acknowledged_unheard_is_answered(world: World, engine: ScriptedEngine) -> None:
    world.env.inject_error("POST", "/interactions/*/callback", status=400, code=40060)
    await world.ada.slash(world.channel, "imagine", prompt="a red apple")
    assert len(engine.orders) == 1


async def test_a_fault_of_discord_is_waited_out(world: World) -> None:
    world.env.inject_error("PATCH", "/webhooks/*", status=502)
    await world.ada.slash(world.channel, "imagine", prompt="a red apple")
    assert len(files(world)) == 1


async def test_a_channel_that_is_gone_is_answered_in_person(world: World) -> None:
    world.env.inject_error("PATCH", "/webhooks/*", status=404, code=10003, times=None)
    world.env.inject_error("POST", f"/channels/{world.channel.id}/messages", status=404, code=10003, times=None)
    await world.ada.slash(world.channel, "imagine", prompt="a red apple")
    direct = world.ada.user.dm_channel
    assert direct.last_message is not None
    assert direct.last_message.attachments


async def test_a_status_that_somebody_deleted_is_not_missed(settings: Settings) -> None:
    async with running(settings, Clocked(60)) as app, simulated(app, parked=True) as world:
        janitor = world.guild.create_role("Janitors", permissions=discord.Permissions(manage_messages=True))
        bob = world.guild.add_member(world.env.create_user("bob"), roles=[janitor])
        await bob.delete(await drawing(world))
        await world.env.advance_time(61)
        await world.until(lambda: len(files(world)) == 1)


async def test_a_refusal_can_be_appealed(world: World, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
    result = await world.ada.slash(world.channel, "imagine", prompt="a sin")
    assert result.response is None
    (refusal,) = result.followups
    assert refusal.ephemeral
    assert labels(refusal) == ["Ask a moderator"]
    form = await world.ada.click(refusal, label="Ask a moderator")
    assert form.modal is not None
    asked = await world.ada.submit_modal(form, {"reason": "it is a cake"})
    assert asked.ephemeral


async def test_variations_and_larger_pictures_come_from_buttons(world: World, engine: ScriptedEngine) -> None:
    first = await picture(world, seed="7")
    for label in ("Vary (subtle)", "Vary (strong)", "Upscale 2x"):
        result = await world.ada.click(first, label=label)
        assert not result.ephemeral
        assert result.response is not None
        assert result.response.attachments
    subtle, strong, large = (order.requests[0] for order in engine.orders[1:])
    assert [request.variations[0].strength for request in (subtle, strong)] == [0.2, 0.5]
    assert large.upscale == 2
    assert {subtle.seed, strong.seed, large.seed} == {7}


async def test_a_remix_opens_a_form_filled_with_the_picture(world: World, engine: ScriptedEngine) -> None:
    first = await picture(world, "a cat's hat", seed="7", negative_prompt="blurry")
    form = await world.ada.click(first, label="Remix")
    assert form.modal is not None
    fields = {label["component"]["custom_id"]: label["component"].get("value") for label in form.modal["components"]}
    assert fields["prompt"] == "a cat's hat"
    assert fields["negative"] == "blurry"
    assert "--seed 7" in fields["options"]
    await world.ada.submit_modal(form, {**fields, "prompt": "a dog's hat"})
    before, after = engine.orders[0].requests[0], engine.orders[1].requests[0]
    assert after == before.model_copy(update={"prompt": "a dog's hat"})


async def test_a_mistake_in_a_remix_is_answered(world: World, engine: ScriptedEngine) -> None:
    form = await world.ada.click(await picture(world), label="Remix")
    result = await world.ada.submit_modal(form, {"prompt": "x", "options": "--steps 1000"})
    assert result.ephemeral
    assert result.response is not None
    assert "from 1 to 100, not 1000" in result.response.content
    assert len(engine.orders) == 1


async def test_parameters_stand_alone_to_be_copied(world: World) -> None:
    result = await world.ada.click(await picture(world, seed="7"), label="Parameters")
    assert result.ephemeral
    assert result.response is not None
    assert "```\n/imagine a red apple --seed 7\n```" in result.response.content


async def test_a_picture_is_sent_to_whoever_wants_it(world: World) -> None:
    first = await picture(world)
    result = await world.mo.click(first, label="Send to me")
    direct = world.mo.user.dm_channel
    assert direct.last_message is not None
    assert direct.last_message.attachments
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == "Sent to you directly."


async def test_who_takes_no_messages_sees_it_here(world: World) -> None:
    first = await picture(world)
    world.env.inject_error("POST", "/users/@me/channels", status=403, code=50007, times=None)
    result = await world.mo.click(first, label="Send to me")
    assert result.ephemeral
    assert result.response is not None
    assert result.response.attachments


async def test_delete_takes_the_message_away(world: World) -> None:
    first = await picture(world)
    result = await world.ada.click(first, label="Delete")
    assert world.channel.history() == []
    (told,) = result.followups
    assert told.ephemeral


async def test_delete_works_after_the_first_token_is_gone(world: World) -> None:
    first = await picture(world)
    await world.env.advance_time(TOKEN_LIFE + 1)
    await world.mo.click(first, label="Delete")
    assert world.channel.history() == []


async def test_others_can_not_delete(world: World) -> None:
    first = await picture(world)
    bob = world.guild.add_member(world.env.create_user("bob"))
    result = await bob.click(first, label="Delete")
    assert [message.id for message in world.channel.history()] == [first.id]
    (told,) = result.followups
    assert told.ephemeral


async def test_one_of_several_pictures_is_picked_and_deleted(world: World) -> None:
    form = await world.ada.slash(world.channel, "batch")
    result = await world.ada.submit_modal(form, {"prompts": "a cat\na dog\na cow", "options": "--seed 7"})
    gallery = result.response
    assert gallery is not None
    assert len(gallery.attachments) == 3
    picked = await world.ada.select(gallery, ["1"])
    assert picked.ephemeral
    assert picked.response is not None
    assert picked.response.content == "Picture 2:"
    assert labels(picked.response) == LABELS
    await world.ada.click(picked.response, label="Delete")
    (message,) = world.channel.history()
    assert [file.filename[-6:] for file in message.attachments] == ["-1.png", "-3.png"]
    assert [line[:5] for line in message.content.splitlines() if line[3].isdigit()] == ["-# 1.", "-# 3."]


@pytest.mark.parametrize("pause", [0, TOKEN_LIFE + 1])
async def test_nothing_tells_of_a_deleted_picture(world: World, pause: int) -> None:
    form = await world.ada.slash(world.channel, "batch")
    result = await world.ada.submit_modal(form, {"prompts": "a cat\na dog\na cow"})
    assert result.response is not None
    await world.env.advance_time(pause)
    await delete(world, result.response, "1")
    (message,) = world.channel.history()
    (menu,), buttons = parts(message)
    assert [(option["value"], option["description"]) for option in menu["options"]] == [("0", "a cat"), ("2", "a cow")]
    assert [button["label"] for button in buttons] == ["Parameters", "Delete all"]
    await delete(world, message, "0")
    (message,) = world.channel.history()
    left = [button for row in parts(message) for button in row]
    assert [button["label"] for button in left] == LABELS
    assert all(button["custom_id"].endswith(":2") for button in left)


def parts(message: discord.Message) -> list[list[Any]]:
    """What can be used under a message, by the row."""
    return [list(row.to_dict()["components"]) for row in message.components if isinstance(row, discord.ActionRow)]


async def delete(world: World, message: discord.Message | simcord.ResponseMessage, value: str) -> None:
    """Pick one of several pictures, and press its button."""
    picked = await world.ada.select(message, [value])
    assert picked.response is not None
    await world.ada.click(picked.response, label="Delete")


async def test_all_of_them_are_deleted_at_once(world: World) -> None:
    form = await world.ada.slash(world.channel, "batch")
    result = await world.ada.submit_modal(form, {"prompts": "a cat\na dog"})
    assert result.response is not None
    await world.ada.click(result.response, label="Delete all")
    assert world.channel.history() == []


async def test_a_message_has_a_menu_of_its_own(world: World) -> None:
    await picture(world, seed="7")
    message = world.channel.last_message
    assert message is not None
    shown = await world.ada.context_menu(world.channel, "Show parameters", message)
    assert shown.response is not None
    assert "--seed 7" in shown.response.content
    assert (await world.ada.context_menu(world.channel, "Remix", message)).modal is not None
    form = await world.mo.context_menu(world.channel, "Report picture", message)
    assert form.modal is not None
    assert (await world.mo.submit_modal(form, {"reason": "ugly"})).ephemeral


async def test_messages_of_others_hold_no_pictures_of_ours(world: World) -> None:
    message = await world.ada.send(world.channel, "look", attachments=[("aaaaaaaa-1.png", b"x")])
    result = await world.ada.context_menu(world.channel, "Remix", message)
    assert result.ephemeral
    assert result.response is not None
    assert "no pictures of mine" in result.response.content


async def test_reports_reach_the_log_channel_with_buttons(world: World) -> None:
    log = world.guild.create_text_channel("log")
    await world.mo.slash(world.channel, "settings set", name="log_channel", value=str(log.id))
    await picture(world)
    message = world.channel.last_message
    assert message is not None
    form = await world.mo.context_menu(world.channel, "Report picture", message)
    await world.mo.submit_modal(form, {"reason": "ugly"})
    report = log.last_message
    assert report is not None
    assert "ugly" in report.content
    result = await world.mo.click(report, label="Delete")
    assert result.acknowledged
    assert world.channel.history() == []


async def test_reports_reach_no_other_server(world: World) -> None:
    elsewhere = world.env.create_guild("Elsewhere").create_text_channel("log")
    for channel in (str(elsewhere.id), "log", str(world.ada.id)):
        await world.mo.slash(world.channel, "settings set", name="log_channel", value=channel)
        await world.ada.slash(world.channel, "imagine", prompt="a red apple", steps=len(channel))
        message = world.channel.last_message
        assert message is not None
        form = await world.mo.context_menu(world.channel, "Report picture", message)
        told = await world.mo.submit_modal(form, {"reason": "ugly"})
        assert told.response is not None
        assert "have been told" in told.response.content
    assert elsewhere.history() == []


async def test_options_are_completed(world: World) -> None:
    await picture(world, "a lighthouse")
    for option, typed, offered in (
        ("prompt", "light", "a lighthouse"),
        ("model", "", "emoji"),
        ("sampler", "ddi", "ddim"),
    ):
        found = await world.ada.autocomplete(world.channel, "imagine", option, typed)
        assert offered in [choice["value"] for choice in found]
    assert await world.mo.autocomplete(world.channel, "imagine", "prompt", "light") == []


async def test_settings_are_completed_for_moderators(world: World) -> None:
    found = await world.mo.autocomplete(world.channel, "settings set", "name", "log", value="x")
    assert [choice["value"] for choice in found] == ["log_channel"]


async def test_moderators_commands_are_hidden_from_others(world: World) -> None:
    with pytest.raises(simcord.SetupError, match="not visible"):
        await world.ada.slash(world.channel, "cache stats")
    result = await world.mo.slash(world.channel, "cache stats")
    assert result.ephemeral


async def test_forgetting_asks_first(world: World) -> None:
    await picture(world)
    asked = await world.ada.slash(world.channel, "forget-me")
    assert asked.response is not None
    done = await world.ada.click(asked.response, label="Yes, go on")
    assert done.ephemeral
    history = await world.ada.slash(world.channel, "history")
    assert history.response is not None
    assert history.response.content == "There are no jobs of yours here yet."
