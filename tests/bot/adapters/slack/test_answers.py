"""What people in a workspace see, from the command to the picture and back after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

from bot.adapters.slack.address import PLATFORM, Address
from bot.adapters.slack.buttons import UNDER_PICTURES
from bot.adapters.slack.desk import ASKED
from bot.adapters.slack.incoming import Asked
from bot.app import App, running
from bot.settings import Settings
from engine.types import Layer, Refused
from tests.bot.test_pruning import count
from tests.contract.slack import SlackHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import BOT, CHANNEL, DIRECT, TEAM, Fault
from tests.fakes.slack_blocks import walk


def said(person: SlackHarness, words: str) -> dict[str, Any]:
    """The latest message that holds these words, as it was sent."""
    return next(message for message in reversed(person.slack.sent) if words in str(message["blocks"]))


def is_private(message: dict[str, Any]) -> bool:
    return message.get("response_type") == "ephemeral" or "user" in message


async def finished(person: SlackHarness, pictures: int = 1) -> None:
    """Wait until the pictures have their buttons, and the status message is gone."""

    def seen() -> bool:
        standing = [message for message in person.slack.messages.values() if not is_private(message)]
        values = [item["value"] for item in walk(standing) if item.get("type") == "button"]
        rerolls = [value for value in values if value.startswith("v1:reroll:")]
        return len(rerolls) == pictures and not any(value.startswith("v1:cancel:") for value in values)

    await person.slack.until(seen)


async def test_a_picture_arrives_with_alt_text_parameters_and_buttons(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a <red> apple --seed 7")
        await finished(person)
    job = engine.orders[0].job
    file = person.slack.arrived[0]
    assert (file.name, file.title, file.channel) == (f"{job}-1.png", f"{job}-1.png", CHANNEL)
    assert file.alt == "Generated picture: a <red> apple"
    message = said(person, "seed 7")
    assert [block["type"] for block in message["blocks"]] == ["context", "actions"]
    values = [item["value"] for item in walk(message["blocks"]) if item.get("type") == "button"]
    assert values == [f"v1:{action}:{job}:0" for action in UNDER_PICTURES]


async def test_progress_is_one_message_that_goes_away(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("step 1 of 2")
        assert [method for method, _ in person.slack.calls].count("chat.postMessage") == 1
        engine.gate.set()
        await finished(person)


async def test_every_envelope_is_acknowledged_within_a_second(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        envelopes = [
            await person.slash("imagine", "a red apple"),
            await person.slash("batch"),
            await person.mention("a red apple"),
            await person.interact("block_actions", actions=[{"action_id": "easel_button_show_0", "value": "?"}]),
        ]
        await person.slack.until(lambda: set(envelopes) <= set(person.slack.acked))
        await person.until_pictures(2)
    assert max(person.slack.acked.values()) < 1.0


async def test_a_refusal_is_private_and_leaves_no_status(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a sin")
        await person.until("gluttony")
        await person.slack.until(lambda: all(map(is_private, person.slack.messages.values())))
    assert is_private(said(person, "gluttony"))


async def test_a_mention_is_answered_in_its_thread_and_refused_privately(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.mention("a red apple", ts="77.7")
        await finished(person)
        await person.mention("a red apple --steps 9000", ts="78.7", thread_ts="77.7")
        await person.until("not 9000")
    assert person.slack.arrived[0].thread == "77.7"
    refusal = said(person, "not 9000")
    assert (refusal["user"], refusal["thread_ts"]) == ("UADA", "77.7")


async def test_a_refusal_is_not_whispered_into_a_thread_that_slack_does_not_show(
    person: SlackHarness, app: App
) -> None:
    origin = {"ts": "5.5", "text": ""}
    async with person.running(app.dispatcher):
        await person.mention("a red apple --steps 9000", ts="78.7")
        await person.until("not 9000")
        await person.interact("message_action", callback_id="easel_picture", message=origin, channel={"id": CHANNEL})
        await person.until("what the picture should show")
    refusal = said(person, "not 9000")
    assert refusal["user"] == "UADA"
    assert "thread_ts" not in refusal


async def test_a_direct_message_is_answered_in_its_thread(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.mention("a red apple", type="message", channel_type="im", channel=DIRECT, ts="77.7")
        await finished(person)
        await person.mention("/quota", type="message", channel_type="im", channel=DIRECT, ts="78.7")
        await person.until("1 picture today")
    assert (person.slack.arrived[0].channel, person.slack.arrived[0].thread) == (DIRECT, "77.7")
    assert said(person, "1 picture today")["thread_ts"] == "78.7"


async def test_the_shortcut_draws_a_message_in_its_thread(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    origin = {"ts": "5.5", "text": "two &lt;3 <@U9|bob>"}
    async with person.running(app.dispatcher):
        await person.interact("message_action", callback_id="easel_picture", message=origin, channel={"id": CHANNEL})
        await finished(person)
    assert engine.orders[0].requests[0].prompt == "two <3 @bob"
    assert person.slack.arrived[0].thread == "5.5"


async def press(person: SlackHarness, value: str, user: str = "UADA") -> str:
    return await person.interact(
        "block_actions",
        user=user,
        actions=[{"type": "button", "action_id": "easel_button_x_0", "value": value}],
        container={"type": "message", "message_ts": "1.1", "channel_id": CHANNEL},
        message={"ts": "1.1"},
    )


async def test_the_buttons_draw_anew_and_show_the_parameters(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --seed 7")
        await finished(person)
        await press(person, f"v1:show:{engine.orders[0].job}:0")
        await person.until("Again: /imagine a red apple --seed 7")
        await press(person, f"v1:reroll:{engine.orders[0].job}:0")
        await finished(person, pictures=2)
    assert engine.orders[1].requests[0].prompt == "a red apple"
    assert engine.orders[1].requests[0].seed != 7


async def test_a_cancelled_job_says_so_where_its_progress_stood(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("step 1 of 2")
        await person.slash("cancel", engine.orders[0].job)
        await person.until("was cancelled.", times=2)
    (standing,) = [message for message in person.slack.messages.values() if not is_private(message)]
    assert "was cancelled" in str(standing["blocks"])


async def test_nobody_else_learns_that_a_private_job_was_cancelled(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple --private")
        await person.until("Accepted")
        await engine.begun.wait()
        await person.slash("cancel", engine.orders[0].job)
        await person.until("was cancelled.", times=2)
    assert all(map(is_private, person.slack.sent))


async def test_a_batch_comes_as_one_message_of_files(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.say("batch", "a cat\na dog\na cow")
        await finished(person, pictures=3)
    calls = [given for method, given in person.slack.calls if method == "files.completeUploadExternal"]
    assert [len(call["files"]) for call in calls] == [3]


async def test_a_form_that_opens_too_late_is_one_sentence(person: SlackHarness, app: App) -> None:
    person.slack.faults["users.info"].append(Fault(retry_after=4))
    async with person.running(app.dispatcher):
        await person.slash("batch")
        await person.slack.until(lambda: person.clock.slept != [])
        person.slack.now += 4.0
        await person.until("took too long to open the form")
    assert person.clock.slept[0] == 4.0


async def test_the_same_event_four_times_and_after_a_restart_is_one_job(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    async with running(settings, engine) as app, person.running(app.dispatcher):
        for _ in range(4):
            await person.slash("imagine", "a red apple", event="same")
        await finished(person)
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.slash("imagine", "a red apple", event="same")
        await person.slash("quota")
        await person.until("1 picture today")
    assert len(person.pictures()) == 1


async def test_a_message_that_is_edited_is_one_command(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    async with person.running(app.dispatcher):
        await person.mention("a red aple", number=77)
        await finished(person)
        edited = {"text": f"<@{BOT}> a red apple", "edited": {"user": "UADA", "ts": "99.1"}}
        origin = {"type": "app_mention", "user": "UADA", "team": TEAM, "channel": CHANNEL, "ts": "77.000200"}
        await person.happens(origin | edited, event_id="Ev99")
        await person.mention("/quota")
        await person.until("today")
    assert [order.requests[0].prompt for order in engine.orders] == ["a red aple"]


async def test_the_connection_is_renewed_when_slack_asks(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.slack.renew()
        await person.slash("imagine", "a red apple")
        await finished(person)
    assert person.slack.connections == 2


async def test_a_restart_takes_up_the_status_message(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("step 1 of 2")
    assert len(person.slack.messages) == 1
    engine.gate.set()
    engine = ScriptedEngine()
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await finished(person)
    assert len(person.slack.messages) == 1
    assert len(person.pictures()) == 1


async def test_stopping_waits_for_nothing(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    async with asyncio.timeout(5), person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await engine.begun.wait()


async def test_what_was_acknowledged_is_let_go_of_once_it_is_answered(
    person: SlackHarness, app: App, settings: Settings
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.slash("quota")
        await person.slash("imagine", "a red apple --steps 9000")
        await person.slash("batch")
        await person.mention("/help")
        await finished(person)
        for words in ("today", "not 9000", "/imagine"):
            await person.until(words)
        await person.slack.until(lambda: len(person.slack.views) == 1)
    await app.jobs.arrivals.stop()
    assert count(settings.home, "arrivals") == 0


async def test_a_command_that_an_earlier_process_acknowledged_is_answered(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    address = Address(team=person.team, channel=CHANNEL, user="UADA")
    asked = Asked(event="1", team=person.team, address=address, command="quota")
    async with running(settings, engine) as app:
        await app.jobs.arrivals.keep(PLATFORM, asked.key, ASKED.dump_json(asked).decode())
        await app.jobs.arrivals.keep(PLATFORM, "2", '{"of": "another version"}')
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.until("today")
        await app.jobs.arrivals.stop()
    assert count(settings.home, "arrivals") == 0


async def test_a_text_with_half_a_character_is_answered(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.mention("a cat \ud83d")
        await person.until("must not hold control characters")
