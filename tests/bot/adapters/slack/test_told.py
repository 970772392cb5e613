"""Whatever single call fails: the person is answered, in their language, and nobody waits for what doesn't matter."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from slack_bolt.app.async_app import AsyncApp

from bot.adapters.slack import sockets, trouble
from bot.adapters.slack.desk import LOOKING_SECONDS
from bot.adapters.slack.limits import Updates
from bot.adapters.slack.server import Events
from bot.adapters.slack.trouble import refused
from bot.adapters.slack.uploads import Client
from bot.adapters.slack.workspaces import InstalledWorkspaces, Maker
from bot.app import App, running
from bot.errors import DeliveryError
from bot.settings import Settings
from bot.store import Store
from bot.store.slack import SlackInstallation
from engine.errors import StorageError
from engine.types import Failed
from tests.bot.adapters.slack.test_answers import finished, is_private, press, said
from tests.bot.adapters.slack.test_home import at_home, home
from tests.bot.workbench import ManualClock
from tests.contract.slack import SlackHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import CHANNEL, DIRECT, Fault, member
from tests.fakes.slack_blocks import words


async def test_a_rate_limit_on_progress_keeps_no_picture_waiting(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    person.slack.faults["chat.update"] += [Fault(retry_after=50)] * 9
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("Accepted")
        engine.gate.set()
        await finished(person)
    assert 50.0 not in person.clock.slept


async def test_a_preview_that_hangs_keeps_no_picture_waiting(
    person: SlackHarness, app: App, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "HURRY_SECONDS", 0.05)
    engine.preview = b"\xff\xd8 a small picture"
    engine.gate.clear()
    person.slack.faults["files.getUploadURLExternal"].append(Fault(until=asyncio.Event()))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.slack.until(lambda: person.slack.waiting["files.getUploadURLExternal"] == 1)
        engine.gate.set()
        await finished(person)
    assert len(person.pictures()) == 1


def test_changes_of_messages_pause_for_as_long_as_slack_says() -> None:
    clock = ManualClock()
    updates = Updates(clock)
    assert updates.take()
    updates.pause(30.0)
    clock.time += 29.0
    assert not updates.take()
    clock.time += 1.0
    assert updates.take()
    assert refused("ratelimited", 30.0).wait == 30.0


async def test_what_can_not_be_whispered_comes_as_a_direct_message(person: SlackHarness, app: App) -> None:
    person.slack.faults["chat.postEphemeral"].append(Fault(error="user_not_in_channel"))
    async with person.running(app.dispatcher):
        await person.mention("/quota")
        await person.until("pictures today")
    assert said(person, "pictures today")["channel"] == DIRECT


async def test_a_response_url_that_fails_is_not_the_end(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        gone = person.slack.response_url().replace("respond", "nowhere")
        payload = {"command": "/imagine-quota", "text": "", "team_id": "T1", "channel_id": CHANNEL, "user_id": "UADA"}
        await person.slack.emit("slash_commands", payload | {"trigger_id": "t", "response_url": gone})
        await person.until("pictures today")
        refused = "http://127.0.0.1:1/respond"
        await person.slack.emit("slash_commands", payload | {"trigger_id": "u", "response_url": refused})
        await person.until("pictures today", times=2)
    assert said(person, "pictures today")["user"] == "UADA"


async def test_what_was_acknowledged_is_not_lost_when_the_process_stops(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    gate = asyncio.Event()
    person.slack.faults["users.info"].append(Fault(until=gate))

    async def release() -> None:
        await person.slack.until(lambda: not person.slack.connected)
        gate.set()

    async with running(settings, engine) as app:
        async with person.running(app.dispatcher):
            await person.slash("imagine", "a red apple")
            await person.slack.until(lambda: person.slack.waiting["users.info"] == 1)
            releasing = asyncio.create_task(release())
        await releasing
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await finished(person)
    assert len(person.pictures()) == 1


async def test_a_long_answer_comes_in_several_messages(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    prompts = [f"{number} " + "a red apple " * 140 for number in range(10)]
    async with person.running(app.dispatcher):
        await person.mention("/batch " + "\n".join(prompts))
        await finished(person, pictures=10)
        await press(person, f"v1:show:{engine.orders[0].job}:0")
        await person.until("Again: /imagine 9")
    shown = [message for message in person.slack.sent if "Again:" in str(message["blocks"])]
    assert len(shown) == 2
    assert all(map(is_private, shown))


async def test_a_long_answer_that_breaks_off_goes_on_where_it_was(
    person: SlackHarness, app: App, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.base.BACKOFF_SECONDS", 0.0)
    taken = asyncio.Event()
    taken.set()
    prompts = [f"{number} " + "a red apple " * 140 for number in range(10)]
    async with person.running(app.dispatcher):
        await person.mention("/batch " + "\n".join(prompts))
        await finished(person, pictures=10)
        person.slack.faults["chat.postEphemeral"] += [Fault(until=taken), Fault(error="internal_error")]
        person.slack.faults["chat.postMessage"].append(Fault(error="internal_error"))
        await person.mention(f"/show {engine.orders[0].job}")
        await person.until("Again: /imagine 9")
    assert [person.transcript().count(f"Again: /imagine {number} ") for number in range(10)] == [1] * 10
    assert not any(person.slack.faults.values())


@pytest.mark.parametrize("method", ["files.delete", "chat.delete"])
async def test_a_deletion_that_slack_does_not_take_is_told(
    person: SlackHarness, app: App, engine: ScriptedEngine, method: str
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
        await person.slash("quota")
        await person.until("1 picture today")
        person.slack.faults[method].append(Fault(error="cant_delete_message"))
        await press(person, f"v1:delete:{engine.orders[0].job}:0")
        await person.until("was deleted")
    assert "Slack did not let all of it be taken out" in str(said(person, "was deleted")["blocks"])


async def test_what_is_asked_where_the_bot_can_not_be_comes_as_a_direct_message(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    """Slash commands can be given in a direct message between two people."""
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple", channel="D9")
        await person.until("Accepted")
        await person.until("is in your direct messages")
    assert [file.channel for file in person.slack.arrived] == [DIRECT]
    assert said(person, "is in your direct messages")["response_type"] == "ephemeral"
    assert {message.get("channel") for message in person.slack.sent} == {DIRECT, None}
    job = await app.jobs.get(engine.orders[0].job)
    assert job is not None
    assert job.place.channel == DIRECT


async def test_a_fault_of_ours_or_of_slack_s_is_answered(
    person: SlackHarness, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(_: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(person.slack, "_users_info", odd)
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("The message could not be sent.")
    assert person.pictures() == []


GERMAN = member("UADA", locale="de-DE")


async def test_slack_s_refusals_are_told_in_the_person_s_language(person: SlackHarness, app: App) -> None:
    person.slack.users["UADA"] = GERMAN
    person.slack.users["UX"] = member("UX", team_id="T9", locale="de-DE")
    person.slack.invited = {DIRECT}
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("lade es mit /invite @easel ein")
        await person.slash("imagine", "a red apple", user="UX")
        await person.until("Nur Mitglieder dieses Workspace")
        person.slack.faults["views.open"].append(Fault(error="expired_trigger_id"))
        await person.slash("imagine")
        await person.until("um das Formular zu öffnen")


@pytest.mark.parametrize("code", ["user_not_found", "user_not_visible"])
async def test_whom_the_bot_does_not_see_is_a_stranger(person: SlackHarness, app: App, code: str) -> None:
    person.slack.faults["users.info"].append(Fault(error=code))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple", user="UX")
        await person.until("Only members of this workspace")


async def test_a_channel_that_takes_nothing_is_not_asked_again_and_again(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    person.slack.invited.discard(CHANNEL)
    async with person.running(app.dispatcher):
        await person.say("batch", "\n".join(f"cat {number}" for number in range(10)))
        await person.until("invite it with /invite @easel")
    posted = [given["channel"] for method, given in person.slack.calls if method == "chat.postMessage"]
    assert posted.count(CHANNEL) == 1
    assert {file.channel for file in person.slack.arrived} == {DIRECT}


async def test_bad_news_that_come_late_come_where_they_last(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    """A whisper is shown to those alone who look at the channel at that moment."""
    engine.endings["a red apple"] = lambda index: Failed(index=index, code="memory", sentence="It doesn't fit.")
    engine.gate.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.slack.until(lambda: bool(person.slack.messages))
        person.clock.ahead = LOOKING_SECONDS
        engine.gate.set()
        await person.until("It doesn't fit.")
    (told,) = [message for message in person.slack.sent if "It doesn't fit." in " ".join(words(message["blocks"]))]
    assert told["channel"] == DIRECT
    assert not is_private(told)


async def test_everybody_who_opens_their_home_gets_it(person: SlackHarness, app: App) -> None:
    crowd = [f"U{number}" for number in range(150)]
    person.slack.users |= {user: member(user) for user in crowd}
    async with person.running(app.dispatcher):
        for number, user in enumerate(crowd * 2):
            event = {"type": "app_home_opened", "user": user, "tab": "home"}
            await person.happens(event, event_id=f"EvH{number}")
        await person.slack.until(lambda: set(crowd) <= set(person.slack.homes))


async def test_a_home_that_can_not_be_made_says_why(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    async def broken(scope: str | None) -> None:
        raise StorageError("The cache can't be read.")

    person.slack.users["UADA"] = member("UADA", is_admin=True)
    engine.cache_stats = broken  # type: ignore[method-assign, assignment]
    async with person.running(app.dispatcher):
        await home(person)
        await person.slack.until(lambda: "UADA" in person.slack.homes)
    assert words(person.slack.homes["UADA"]["blocks"]) == ["The cache can't be read."]


async def test_whoever_is_no_moderator_any_more_is_told_so(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await at_home(person, "command:settings ")
        await person.until("Only moderators may use /settings.")
    assert person.slack.views == []


async def test_a_fault_behind_the_gate_is_a_503() -> None:
    class Gate:
        def signature(self, *_: object) -> str:
            return "v0="

        async def is_new(self, _: str) -> bool:
            return True

    class Broken(AsyncApp):
        async def async_dispatch(self, req: object) -> Any:
            raise ZeroDivisionError

    events = Events(Broken(name="t", token="xoxb-1"), Gate())  # type: ignore[arg-type]
    answer = await events.answer([], b"command=%2Fimagine&team_id=T1")
    assert answer.status == 503


async def test_a_connection_is_made_again_with_another_address(
    person: SlackHarness, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack's addresses are good once; the library would try the same one for ever."""
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.2)
    async with person.running(app.dispatcher):
        person.slack.faults["socket"].append(Fault())
        await person.slack.renew()
        await person.slash("imagine", "a red apple")
        await finished(person)


async def test_a_slack_that_lets_nobody_in_ends_the_adapter_with_one_sentence(
    person: SlackHarness, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.05)
    person.slack.faults["socket"] += [Fault()] * 9
    with pytest.raises(DeliveryError, match=re.escape("Slack can't be reached at the moment.")):
        async with person.running(app.dispatcher):
            raise AssertionError("it must not start")


async def test_an_installation_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with Store.open(tmp_path / "easel.db") as store:
        workspaces = InstalledWorkspaces(store.slack, Maker(Client, clock))
        row = SlackInstallation(team="T1", bot_token="xoxb-1", bot_user="UOLD", installer="U", installed=0.0)
        await store.slack.install(row)
        reading = asyncio.create_task(workspaces.find("T1"))
        await asyncio.sleep(0)
        workspaces.forget("T1")
        await reading
        await store.slack.install(row.model_copy(update={"bot_user": "UNEW"}))
        found = await workspaces.find("T1")
    assert found is not None
    assert found.bot == "UNEW"
