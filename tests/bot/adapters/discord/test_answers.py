"""What a person on Discord sees of a request's life."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import SecretStr

from bot.adapters.discord.adapter import Discord
from bot.app import App, running
from bot.errors import SettingsError
from bot.settings import Settings
from engine.types import Event, Image, Layer, Refused, ResolvedRequest
from tests.contract.discord import connected
from tests.fakes.discord import EPHEMERAL, FakeDiscord
from tests.fakes.discord_person import ADA, CHANNEL, MANAGE_GUILD, Person
from tests.fakes.discord_values import Message
from tests.fakes.engine_client import ScriptedEngine

OLD = 1_000_000 << 22
"""The id of an interaction of 2015, whose token has long run out."""
DIRECT = ADA + 5000


def noise(side: int = 128) -> bytes:
    """A PNG that compresses badly."""
    pixels = np.random.default_rng(7).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Painter(ScriptedEngine):
    """Draws noise, as a real PNG."""

    def _end(self, index: int, request: ResolvedRequest) -> Event:
        event = super()._end(index, request)
        return event.model_copy(update={"data": noise()}) if isinstance(event, Image) else event


async def posted(discord: FakeDiscord, count: int = 1) -> list[Message]:
    """The messages with pictures, once there are so many."""
    await discord.until(lambda: len(with_files(discord)) >= count)
    return with_files(discord)


def with_files(discord: FakeDiscord) -> list[Message]:
    return [message for message in discord.messages if message.files]


async def until_delivered(discord: FakeDiscord, person: Person, jobs: int = 1) -> None:
    """Look into the history until so many jobs are said to be delivered."""
    while not discord.log[-1].count("delivered") >= jobs:
        shown = len(discord.log)
        await person.command("history", [])
        await discord.until(lambda shown=shown: len(discord.log) > shown)  # type: ignore[misc]


async def test_the_first_answer_becomes_the_picture(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.imagine("a red apple", seed="7", steps=3)
        (message,) = await posted(discord)
    assert message is asked.first
    (file,) = message.files
    assert file.name.endswith("-1.png")
    assert file.text == "Generated picture: a red apple"
    assert message.content.splitlines()[0].startswith("-# seed 7 · 64x64 · 3 steps · emoji")
    rows = [[button["label"] for button in row["components"]] for row in message.components]
    assert rows == [
        ["Re-roll", "Vary (subtle)", "Vary (strong)", "Upscale 2x", "Remix"],
        ["Parameters", "Send to me", "Delete"],
    ]
    assert len(discord.messages) == 1


async def test_flags_in_the_prompt_and_picked_options_go_together(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a red apple --steps 9 --guidance 2.5", steps=3, seed=str(2**64 - 1), size="128x64")
        await posted(discord)
    (request,) = engine.orders[0].requests
    assert (request.prompt, request.steps, request.guidance) == ("a red apple", 3, 2.5)
    assert (request.seed, request.width, request.height) == (2**64 - 1, 128, 64)


async def test_a_refusal_is_private_and_leaves_nothing_behind(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a sin")
        await discord.until(lambda: any("gluttony" in text for text in discord.log))
    (message,) = discord.messages
    assert message.flags & EPHEMERAL


async def test_a_batch_is_a_form_and_comes_as_one_gallery(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        opened = await ada.command("batch", [])
        await discord.until(lambda: opened.form is not None)
        assert opened.form is not None
        fields = [label["component"]["custom_id"] for label in opened.form["components"]]
        assert fields == ["prompts", "file", "options"]
        values = {"prompts": "a cat\na dog", "options": "--steps 3"}
        await ada.submit(opened.form["custom_id"], values, files={"more.txt": b"\xef\xbb\xbfa cow\r\n"})
        (message,) = await posted(discord)
    assert len(message.files) == 3
    assert [line[:4] for line in message.content.splitlines()[:3]] == ["-# 1", "-# 2", "-# 3"]
    assert [request.steps for request in engine.orders[0].requests] == [3, 3, 3]


@pytest.mark.parametrize(("permissions", "answer"), [(0, "Only moderators"), (MANAGE_GUILD, "quarantined")])
async def test_moderators_are_known_by_the_permissions_of_the_event(
    app: App, discord: FakeDiscord, ada: Person, permissions: int, answer: str, tmp_path: Path
) -> None:
    ada.permissions = permissions
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.command("cache", [{"name": "stats", "type": 1, "options": []}])
        await discord.until(lambda: any(answer in text for text in discord.log))
    assert discord.messages[0].flags & EPHEMERAL


async def test_permissions_mean_nothing_in_a_direct_message(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    ada.guild = None
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.command("cache", [{"name": "stats", "type": 1, "options": []}])
        await discord.until(lambda: any("Only moderators" in text for text in discord.log))


async def test_a_picture_whose_token_ran_out_is_posted_by_the_bot(
    app: App, discord: FakeDiscord, ada: Person, engine: ScriptedEngine, tmp_path: Path
) -> None:
    engine.gate.clear()
    async with connected(discord, app.dispatcher, tmp_path):
        asked = await ada.imagine("a red apple")
        await discord.until(lambda: any("Drawing" in text for text in discord.log))
        asked.expired = True
        engine.gate.set()
        (message,) = await posted(discord)
        await discord.until(lambda: len(discord.messages) == 1)
    assert message.channel == CHANNEL
    assert message.nonce is not None


async def test_a_channel_that_is_closed_is_answered_in_person(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    discord.closed.add(CHANNEL)
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.command("imagine", [{"name": "prompt", "type": 3, "value": "a red apple"}], OLD)
        (message,) = await posted(discord)
    assert message.channel == DIRECT


async def test_where_nothing_may_be_posted_the_job_says_why(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    discord.closed |= {CHANNEL, DIRECT}
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.command("imagine", [{"name": "prompt", "type": 3, "value": "a red apple"}], OLD)
        await discord.until(lambda: f"POST /channels/{DIRECT}/messages" in discord.requests)
        while not any("not delivered" in text for text in discord.log):
            before = len(discord.log)
            await ada.command("history", [])
            await discord.until(lambda before=before: len(discord.log) > before)  # type: ignore[misc]
    assert with_files(discord) == []


@pytest.mark.parametrize("told", [True, False])
async def test_a_file_over_the_limit_is_encoded_anew(
    settings: Settings, discord: FakeDiscord, ada: Person, told: bool, tmp_path: Path
) -> None:
    discord.max_file = len(noise()) // 3
    discord.claimed_limit = discord.max_file if told else 10 * len(noise())
    async with running(settings, Painter()) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("static")
        (message,) = await posted(discord)
    (file,) = message.files
    assert file.name.endswith((".webp", ".jpeg"))
    with Pillow.open(io.BytesIO(file.data)) as picture:
        assert picture.format in ("WEBP", "JPEG")
    refused = sum(request.endswith("@original") for request in discord.requests)
    assert refused >= (1 if told else 2)


async def test_a_message_that_arrived_unheard_is_not_sent_again(
    settings: Settings, engine: ScriptedEngine, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    for answered in (True, False):
        discord.hang = True
        discord.hanging.clear()
        async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
            number = None if answered else OLD
            await ada.command("imagine", [{"name": "prompt", "type": 3, "value": "a red apple"}], number)
            await discord.hanging.wait()
        discord.hang = False
        before = len(discord.pictures)
        async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
            await until_delivered(discord, ada, before)
        assert len(discord.pictures) == before


async def test_buttons_work_after_a_restart(
    settings: Settings, engine: ScriptedEngine, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a red apple", seed="7")
        (message,) = await posted(discord)
    async with running(settings, engine) as app, connected(discord, app.dispatcher, tmp_path):
        await ada.press(message, "Re-roll")
        await posted(discord, 2)
        await ada.press(message, "Parameters")
        await discord.until(lambda: "--seed 7" in discord.log[-1])
    first, second = (engine.orders[index].requests[0] for index in (0, -1))
    assert first.prompt == second.prompt
    assert first.seed != second.seed
    assert discord.messages[-1].flags & EPHEMERAL


async def test_pictures_of_another_channel_can_not_be_rerolled(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a red apple", seed="7")
        (message,) = await posted(discord)
        bob = Person(discord, 43)
        bob.channel = 71
        await bob.press(message, "Re-roll")
        await discord.until(lambda: "There is no job" in discord.log[-1])
    assert len(with_files(discord)) == 1


async def test_commands_are_taken_after_the_connection_broke(
    app: App, discord: FakeDiscord, ada: Person, tmp_path: Path
) -> None:
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await posted(discord)
        await discord.gateway.drop()
        await ada.imagine("a dog")
        await posted(discord, 2)


async def test_a_busy_discord_is_asked_again(app: App, discord: FakeDiscord, ada: Person, tmp_path: Path) -> None:
    discord.faults = [("@original", 429), ("@original", 429)]
    async with connected(discord, app.dispatcher, tmp_path):
        await ada.imagine("a cat")
        await posted(discord)
    assert discord.faults == []
    assert len(discord.pictures) == 1


async def test_a_wrong_token_is_a_setting_to_mend(app: App, discord: FakeDiscord, tmp_path: Path) -> None:
    async with discord.serving():
        settings = Settings(
            home=tmp_path, discord_token=SecretStr("MTAw.no.token"), discord_api=f"http://{discord.address}/api"
        )
        with pytest.raises(SettingsError, match="refuses the token"):
            await Discord(settings).run(app.dispatcher)
