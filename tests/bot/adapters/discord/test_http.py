"""Discord's interactions by HTTP: who may knock, and that everything behind the door is the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import hypothesis
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.adapters.discord import http
from bot.adapters.discord.http import REMEMBERED, Answer, DiscordByHTTP, Signatures
from bot.app import App
from bot.errors import SettingsError
from bot.settings import Settings
from tests.bot.workbench import NOON, ManualClock
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_door import PUBLIC_KEY, Door, signed
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_person import Person
from tests.fakes.engine_client import ScriptedEngine

BODY = b'{"type": 1}'
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


def signatures() -> Signatures:
    return Signatures(PUBLIC_KEY, ManualClock())


def settings(**values: Any) -> Settings:
    return Settings(discord_token=SecretStr(TOKEN), discord_public_key=PUBLIC_KEY, **values)


@pytest.mark.parametrize("age", [0, 299, -299])
def test_what_discord_signed_just_now_is_taken_once(age: int) -> None:
    gate, headers = signatures(), signed(BODY, int(NOON) - age)
    assert gate.sound(headers, BODY)
    assert not gate.sound(headers, BODY), "a replay"
    assert not gate.sound(headers | {"x-signature-ed25519": headers["x-signature-ed25519"].upper()}, BODY)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(BODY, int(NOON)) | {"x-signature-ed25519": ""},
        signed(BODY, int(NOON)) | {"x-signature-ed25519": "0" * 128},
        signed(BODY, int(NOON)) | {"x-signature-ed25519": "zz" * 64},
        signed(BODY, int(NOON)) | {"x-signature-ed25519": "é" * 128},
        signed(BODY, int(NOON)) | {"x-signature-timestamp": str(int(NOON) + 1)},
        signed(BODY, int(NOON), STRANGER),
        signed(b'{"type": 2}', int(NOON)),
        signed(BODY, int(NOON) - 301),
        signed(BODY, int(NOON) + 301),
        signed(BODY, f"{int(NOON)} "),
        signed(BODY, f"+{int(NOON)}"),
        signed(BODY, ""),
        signed(BODY, "١٧٩٠٠٧٨٤٠٠"),
        signed(BODY, "9" * 400),
    ],
)
def test_everything_else_is_not(headers: dict[str, str]) -> None:
    assert not signatures().sound(headers, BODY)


@hypothesis.settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["x-signature-ed25519", "x-signature-timestamp"]), st.text()), st.binary())
def test_nothing_that_a_stranger_sends_is_more_than_refused(headers: dict[str, str], body: bytes) -> None:
    assert not signatures().sound(headers, body)


def test_what_is_remembered_is_bounded() -> None:
    gate = signatures()
    for number in range(REMEMBERED + 10):
        assert gate._is_new(str(number))
    assert len(gate._seen) == REMEMBERED


async def taken(body: bytes, **changes: str) -> Answer:
    return await DiscordByHTTP(settings(), clock=ManualClock()).taken(signed(body, int(NOON)) | changes, body)


async def test_a_ping_is_answered_in_place() -> None:
    assert await taken(BODY) == Answer(200, {"type": 1})


async def test_a_stranger_is_told_nothing() -> None:
    assert await taken(BODY, **{"x-signature-ed25519": "0" * 128}) == Answer(401)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"\xff", b'{"type": "x"', b"7"])
async def test_what_is_signed_but_no_interaction_is_refused(body: bytes) -> None:
    assert await taken(body) == Answer(400)


async def test_before_it_runs_discord_is_asked_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LOGIN_SECONDS", 0.01)
    assert await taken(b'{"type": 2}') == Answer(503)


def test_a_key_that_is_none_is_said_so() -> None:
    with pytest.raises(SettingsError, match="EASEL_DISCORD_PUBLIC_KEY"):
        Signatures("00" * 31, ManualClock())
    with pytest.raises(SettingsError, match="EASEL_DISCORD_PUBLIC_KEY"):
        DiscordByHTTP(Settings(discord_token=SecretStr(TOKEN)))


@asynccontextmanager
async def behind_the_door(discord: FakeDiscord, app: App) -> AsyncIterator[Door]:
    async with discord.serving():
        adapter = DiscordByHTTP(settings(discord_api=f"http://{discord.address}/api"), pace=0.0)

        async def post(headers: Mapping[str, str], body: bytes) -> int:
            return (await adapter.taken(headers, body)).status

        door = Door(post)
        discord.gateway = door  # type: ignore[assignment]
        task = asyncio.create_task(adapter.run(app.dispatcher))
        door.ready.set()
        await discord.until(lambda: bool(discord.commands))
        try:
            yield door
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_command_is_acknowledged_drawn_and_delivered(
    discord: FakeDiscord, ada: Person, app: App, engine: ScriptedEngine
) -> None:
    async with behind_the_door(discord, app) as door:
        number, prompt = discord.snowflake(), [{"name": "prompt", "type": 3, "value": "a red apple"}]
        await ada.command("imagine", prompt, number)
        await discord.until(lambda: len(discord.pictures) == 1)
        await ada.command("imagine", prompt, number)
        assert door.statuses == [202, 401], "the very same request again is a replay"
    assert len(engine.orders) == 1
    assert not discord.violations


async def test_buttons_work_as_from_the_gateway(
    discord: FakeDiscord, ada: Person, app: App, engine: ScriptedEngine
) -> None:
    async with behind_the_door(discord, app):
        await ada.imagine("a red apple")
        await discord.until(lambda: len(discord.pictures) == 1)
        await ada.press(discord.messages[-1], "Re-roll")
        await discord.until(lambda: len(discord.pictures) == 2)
    assert len(engine.orders) == 2
