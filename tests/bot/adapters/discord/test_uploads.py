"""Files that come with a command, previews that go with an answer, and what is covered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bot.adapters.discord.commands import declared
from bot.app import App, running
from bot.chat import MAX_ATTACHMENT
from bot.settings import Settings
from engine.types import Event, Order, Progress, Stage
from tests.bot.adapters.discord.test_answers import noise, posted, with_files
from tests.contract.discord import connected
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_person import MANAGE_GUILD, Person
from tests.fakes.engine_client import ScriptedEngine

PREVIEW = b"\xff\xd8\xff preview"


class Previewing(ScriptedEngine):
    """Shows a preview, and waits before it goes on."""

    job = ""

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        stop = self._stops.setdefault(order.job, asyncio.Event())
        self.job = order.job
        try:
            yield Progress(index=0, stage=Stage.DRAWING, step=1, steps=2, preview=PREVIEW)
            await self._wait(stop)
            async for event in super().generate(order):
                yield event
        finally:
            self._stops.pop(order.job, None)


def previews(discord: FakeDiscord) -> list[bytes]:
    return [file.data for message in discord.messages for file in message.files if file.name == "preview.jpg"]


async def test_a_preview_is_gone_when_the_picture_lands(
    settings: Settings, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    engine = Previewing()
    engine.gate.clear()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a red apple")
        await discord.until(lambda: previews(discord) == [PREVIEW])
        engine.gate.set()
        await discord.until(lambda: len(discord.pictures) == 1)
        (message,) = discord.messages
    assert [file.name[-6:] for file in message.files] == ["-1.png"]


@pytest.mark.parametrize("expired", [False, True])
async def test_a_preview_is_not_taken_for_a_picture_after_a_restart(
    settings: Settings, discord: FakeDiscord, ada: Person, expired: bool, tmp_path: Path
) -> None:
    engine = Previewing()
    engine.gate.clear()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        asked = await ada.imagine("a red apple")
        await discord.until(lambda: previews(discord) == [PREVIEW])
    engine.gate.set()
    asked.expired = expired
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await discord.until(lambda: bool(discord.pictures) and not previews(discord))
    (message,) = with_files(discord)
    assert [file.name[-6:] for file in message.files] == ["-1.png"]
    assert discord.messages == [message]


async def test_a_preview_goes_with_a_cancelled_job(
    settings: Settings, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    engine = Previewing()
    engine.gate.clear()
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a red apple")
        await discord.until(lambda: previews(discord) == [PREVIEW])
        await ada.command("cancel", [{"name": "job", "type": 3, "value": engine.job}])
        await discord.until(lambda: any("was cancelled" in text for text in discord.log))
        await discord.until(lambda: previews(discord) == [])


async def test_a_picture_file_can_be_verified(app: App, discord: FakeDiscord, ada: Person, tmp_path: Path) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.attach("verify", "file", "apple.png", noise())
        await discord.until(lambda: any("The file is" in text for text in discord.log))


async def test_a_file_that_is_too_large_is_not_fetched(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.attach("verify", "file", "apple.png", b"", claimed=MAX_ATTACHMENT + 1)
        await discord.until(lambda: any("too large" in text for text in discord.log))
    assert asked.first is not None
    assert "at most 10 MiB" in asked.first.content


async def test_a_file_that_discord_has_no_more_is_asked_for_again(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.attach("verify", "file", "gone.png", b"", claimed=5)
        await discord.until(lambda: any("did not give the file" in text for text in discord.log))


async def test_a_picture_may_start_from_an_image(
    settings: Settings, engine: ScriptedEngine, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    welcoming = settings.model_copy(update={"image_input": True})
    async with running(welcoming, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.attach("imagine", "image", "photo.png", noise())
        await posted(discord)
    (request,) = engine.orders[0].requests
    assert request.image is not None


async def test_a_picture_may_not_start_from_an_image_where_that_is_off(
    app: App, engine: ScriptedEngine, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.attach("imagine", "image", "photo.png", noise())
        await discord.until(lambda: any("image" in text for text in discord.log))
    assert engine.orders == []
    assert "image" not in {option["name"] for option in declared()[0]["options"]}


async def test_pictures_elsewhere_than_in_channels_for_adults_are_covered_where_the_server_says_so(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    moderator = Person(discord, 44, MANAGE_GUILD)
    rule = [{"name": "name", "type": 3, "value": "nsfw"}, {"name": "value", "type": 3, "value": "spoiler"}]
    async with connected(discord, app.dispatcher, tmp_path):
        await moderator.command("settings", [{"name": "set", "type": 1, "options": rule}])
        await discord.until(lambda: any("nsfw" in text for text in discord.log))
        await ada.imagine("a cat")
        await posted(discord)
        ada.nsfw = True
        await ada.imagine("a dog")
        messages = await posted(discord, 2)
    assert [message.files[0].name.startswith("SPOILER_") for message in messages] == [True, False]


async def test_a_text_file_that_is_none_is_refused(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.submit("v1:batch", {"prompts": "a cat"}, files={"prompts.txt": b"\xff\xfe\x00"})
        await discord.until(lambda: any("text" in text for text in discord.log))
    assert engine.orders == []
