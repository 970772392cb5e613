"""What is for one person alone, or to be covered, is shown to nobody else: neither the picture nor what leads to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.adapters.discord.text import NOTHING
from bot.app import App, running
from bot.settings import Settings
from tests.bot.adapters.discord.test_answers import posted, until_delivered
from tests.contract.discord import connected
from tests.fakes.discord import EPHEMERAL, FakeDiscord
from tests.fakes.discord_person import MANAGE_GUILD, Person
from tests.fakes.discord_values import Message
from tests.fakes.engine_client import ScriptedEngine

PREVIEW = b"\xff\xd8\xff preview"
SECRET = "a secret"
USAGE = "Write it like this"


@pytest.fixture
def engine() -> ScriptedEngine:
    engine = ScriptedEngine()
    engine.preview = PREVIEW
    return engine


@pytest.fixture
def bob(discord: FakeDiscord) -> Person:
    return Person(discord, 43)


async def set_rule(discord: FakeDiscord, name: str, value: str) -> None:
    """Set one of the server's settings, as one of its moderators."""
    moderator = Person(discord, 44, MANAGE_GUILD)
    picked = [{"name": "name", "type": 3, "value": name}, {"name": "value", "type": 3, "value": value}]
    await moderator.command("settings", [{"name": "set", "type": 1, "options": picked}])
    await discord.until(lambda: any(line.startswith(name) for line in discord.log))


def previewed(discord: FakeDiscord) -> list[Message]:
    """Messages that show how far a picture is."""
    return [message for message in discord.messages if any(file.data == PREVIEW for file in message.files)]


def hidden(discord: FakeDiscord) -> bool:
    """Whether nobody but the person has seen anything, not even an answer that stays."""
    return set(discord.public) <= {NOTHING} and all(message.flags & EPHEMERAL for message in discord.messages)


async def asked_for(ada: Person, how: str) -> None:
    if how == "dash":
        await ada.imagine(f"{SECRET} —private")
    else:
        await ada.imagine(SECRET)


@pytest.mark.parametrize("how", ["dash", "rule"])
async def test_how_far_a_private_picture_is_concerns_nobody_else(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, how: str, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        if how == "rule":
            await set_rule(discord, "private", "on")
        engine.gate.clear()
        await asked_for(ada, how)
        await discord.until(lambda: bool(previewed(discord)))
        assert hidden(discord)
        engine.gate.set()
        (message,) = await pictures(discord)
    assert hidden(discord)
    assert len(discord.pictures) == 1
    assert message.components[0]["components"][0]["label"] == "Re-roll"


async def pictures(discord: FakeDiscord, count: int = 1) -> list[Message]:
    """Messages with finished pictures, once there are so many."""
    await discord.until(lambda: len(discord.pictures) >= count)
    await discord.until(lambda: not previewed(discord))
    return await posted(discord, count)


async def test_a_private_picture_is_redrawn_in_private(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine(f"{SECRET} --private")
        await pictures(discord)
        job = {"name": "job", "type": 3, "value": engine.orders[0].job}
        await ada.command("reroll", [job])
        await pictures(discord, 2)
    assert hidden(discord)


@pytest.mark.parametrize("sent", [False, True])
async def test_after_a_restart_a_private_picture_goes_on_where_it_was(
    settings: Settings, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, sent: bool, tmp_path: Path
) -> None:
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await set_rule(discord, "private", "on")
        engine.gate.clear()
        await ada.imagine(SECRET)
        await discord.until(lambda: bool(previewed(discord)))
        (status,) = previewed(discord)
        if sent:
            discord.hang = True
            engine.gate.set()
            await discord.hanging.wait()
    discord.hang = False
    engine.gate.set()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await until_delivered(discord, ada)
    assert [file.name[-6:] for file in status.files] == ["-1.png"]
    assert hidden(discord)
    assert len(discord.pictures) == 1


@pytest.mark.parametrize("options", [{"spoiler": True}, {}])
async def test_a_picture_to_be_covered_shows_no_preview(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, options: dict[str, Any], tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        if not options:
            await set_rule(discord, "nsfw", "spoiler")
        engine.gate.clear()
        await ada.imagine(SECRET, **options)
        await discord.until(lambda: any("Drawing" in line for line in discord.log))
        assert previewed(discord) == []
        engine.gate.set()
        (message,) = await pictures(discord)
    assert message.files[0].name.startswith("SPOILER_")


async def test_whoever_sees_a_picture_may_see_how_it_was_asked_for(
    app: App, discord: FakeDiscord, ada: Person, bob: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat", seed="7")
        (message,) = await pictures(discord)
        await bob.press(message, "Parameters")
        await discord.until(lambda: "--seed 7" in discord.log[-1])
    assert discord.messages[-1].flags & EPHEMERAL


async def test_a_report_names_a_picture_that_is_there(
    app: App, discord: FakeDiscord, ada: Person, bob: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.submit("v1:batch", {"prompts": "a cat\na dog", "options": ""})
        (message,) = await pictures(discord, 1)
        form = await bob.menu(message, "Report picture")
        await discord.until(lambda: form.form is not None)
        assert form.form is not None
        reason, which = (label["component"] for label in form.form["components"])
        assert (reason["required"], which["required"]) == (False, True)
        for number, said in (("2nd", USAGE), ("3", USAGE), (" ", USAGE), ("2", "picture 2 of job")):
            shown = len(discord.log)
            await bob.submit(form.form["custom_id"], {"reason": "ugly", "number": number})
            await discord.until(lambda said=said, shown=shown: said in "".join(discord.log[shown:]))  # type: ignore[misc]


async def test_a_servers_roles_are_known_without_a_gateway(
    app: App, discord: FakeDiscord, ada: Person, bob: Person, tmp_path: Path
) -> None:
    """The fake's READY tells of no server, as where interactions come by HTTP."""
    ada.roles = ("99",)
    async with connected(discord, app.dispatcher, tmp_path):
        await set_rule(discord, "roles", "<@&99>")
        await bob.imagine("a dog")
        await discord.until(lambda: any("certain roles" in line for line in discord.log))
        await ada.imagine("a cat")
        await pictures(discord)
