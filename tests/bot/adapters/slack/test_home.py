"""The App Home: one's own pictures and jobs, and for moderators what they look after."""

from __future__ import annotations

from bot.adapters.slack import forms
from bot.app import App, running
from bot.settings import Settings
from engine.types import Layer, Refused
from tests.bot.adapters.slack.test_answers import finished, press, said
from tests.bot.adapters.slack.test_forms import opened
from tests.contract.slack import SlackHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import DIRECT, member
from tests.fakes.slack_blocks import walk, words


async def home(person: SlackHarness, user: str = "UADA") -> None:
    before = [method for method, _ in person.slack.calls].count("views.publish")
    await person.happens({"type": "app_home_opened", "user": user, "tab": "home"}, event_id=f"Ev-{before}")
    await person.slack.until(lambda: [method for method, _ in person.slack.calls].count("views.publish") > before)


async def at_home(person: SlackHarness, value: str, user: str = "UADA") -> str:
    return await person.interact(
        "block_actions",
        user=user,
        actions=[{"action_id": "easel_button_x", "value": value}],
        container={"type": "view", "view_id": "VHOME"},
    )


async def test_the_home_shows_one_s_own_pictures_and_acts_on_them(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red <!channel> apple --seed 7")
        await finished(person)
        await home(person)
        page = person.slack.homes["UADA"]
        read = "\n".join(words(page["blocks"]))
        assert "a red <!channel> apple" in read
        assert "1 picture today" in read
        job = engine.orders[0].job
        values = [item["value"] for item in walk(page) if item.get("type") == "button"]
        assert [f"v1:{action}:{job}:0" for action in ("reroll", "remix", "show", "delete")] == values[-4:]
        assert [item["slack_file"]["id"] for item in walk(page) if "slack_file" in item] == ["F1"]
        await at_home(person, f"v1:show:{job}:0")
        await person.until("Again: /imagine")
        assert person.slack.views[-1]["type"] == "modal"
        await at_home(person, f"v1:reroll:{job}:0")
        await person.until_pictures(2)
        await at_home(person, "command:imagine ")
        await person.slack.until(lambda: person.slack.views[-1].get("callback_id") == forms.IMAGINE_VIEW)
    assert person.slack.arrived[1].channel == DIRECT


async def test_the_home_lists_running_jobs_and_cancels_them(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await engine.begun.wait()
        await home(person)
        await at_home(person, f"v1:cancel:{engine.orders[0].job}:0")
        await person.until("was cancelled")
        await person.slack.until(lambda: "v1:cancel" not in str(person.slack.homes["UADA"]))


async def test_a_home_whose_picture_slack_has_lost_is_shown_without_it(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
        person.slack.arrived[0].deleted = True
        await home(person)
        await person.slack.until(lambda: "UADA" in person.slack.homes)
    assert "slack_file" not in str(person.slack.homes["UADA"])


async def test_moderators_have_a_desk_and_others_don_t(person: SlackHarness, app: App) -> None:
    person.slack.users |= {"UBOSS": member("UBOSS", is_owner=True), "UX": member("UX", is_stranger=True)}
    async with person.running(app.dispatcher):
        await person.slash("moderation", "ban UBAD <@U1> *bold* rude", user="UBOSS")
        await person.until("UBAD")
        await home(person, "UBOSS")
        await home(person)
        await home(person, "UX")
        read = "\n".join(words(person.slack.homes["UBOSS"]["blocks"]))
        assert "slack:T1/UBAD" in read
        assert "Moderation" not in str(person.slack.homes["UADA"])
        assert "Only members" in str(person.slack.homes["UX"])
        await at_home(person, "command:settings ", user="UBOSS")
        view = await opened(person)
        names = [entry["value"] for entry in view["blocks"][0]["element"]["options"]]
        assert "strict" in names
        await person.submit({"value": "on"}, user="UBOSS", fields={"setting": {"selected_option": {"value": "strict"}}})
        await person.slack.until(lambda: "strict: on" in str(person.slack.homes["UBOSS"]))
        unban = next(item["value"] for item in walk(person.slack.homes["UBOSS"]) if "unban" in item.get("value", ""))
        await at_home(person, unban, user="UBOSS")
        await person.slack.until(lambda: "command:moderation unban" not in str(person.slack.homes["UBOSS"]))


async def test_a_listed_moderator_is_one_in_their_own_team_alone(
    person: SlackHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    person.settings["slack_moderators"] = ("T1/UADA", "T2/UBOB")
    person.slack.users["UBOB"] = member("UBOB")
    async with running(settings, engine) as app, person.running(app.dispatcher):
        await person.slash("cache", "stats")
        await person.until("quarantined")
        await person.slash("cache", "stats", user="UBOB")
        await person.until("Only moderators")


async def test_a_refusal_is_brought_to_the_moderators(person: SlackHarness, app: App, engine: ScriptedEngine) -> None:
    person.slack.users["UBOSS"] = member("UBOSS", is_admin=True)
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a sin")
        await person.until("gluttony")
        value = next(item["value"] for item in walk(said(person, "gluttony")) if "appeal" in item.get("value", ""))
        await press(person, value)
        await person.until("The moderators have been asked")
        await home(person, "UBOSS")
        page = person.slack.homes["UBOSS"]
        allow = next(item["value"] for item in walk(page) if "allow" in item.get("value", ""))
        assert "a sin" in "\n".join(words(page["blocks"]))
        await at_home(person, allow, user="UBOSS")
        await person.slack.until(lambda: "moderation allow" not in str(person.slack.homes["UBOSS"]))
