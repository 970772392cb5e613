"""`easel discord invite`, and what the doctor finds out about the app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.adapters.discord import invite
from bot.cli import discord
from bot.cli.main import run
from bot.messages import say
from bot.settings import Settings
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_values import APPLICATION

ENOUGH = str(sum(invite.NEEDED.values()))


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord().serving() as fake:
        fake.servers = [{"id": "7", "name": "Zoo", "permissions": ENOUGH}]
        yield fake


def settings(fake: FakeDiscord, **more: Any) -> Settings:
    return Settings(discord_token=SecretStr(TOKEN), discord_api=f"http://{fake.address}/api", **more)


async def test_an_app_that_is_set_up_right(fake: FakeDiscord) -> None:
    assert await discord.findings(settings(fake)) == ()


@pytest.mark.parametrize(
    ("about", "more", "name"),
    [
        ({"interactions_endpoint_url": "https://example.org"}, {}, "endpoint_wrong"),
        ({}, {"discord_public_key": "0" * 64}, "no_endpoint_wrong"),
        ({"bot_require_code_grant": True}, {}, "grant_wrong"),
        ({"flags": 1 << 18}, {}, "intents_note"),
        ({"flags": 1 << 15}, {}, "intents_note"),
    ],
)
async def test_what_is_set_up_wrong(fake: FakeDiscord, about: dict[str, Any], more: dict[str, str], name: str) -> None:
    fake.about = about
    ((found, values),) = await discord.findings(settings(fake, **more))
    assert found == name
    assert say(f"doctor.discord_{name}", **values)
    assert say(f"doctor.discord_{name.rpartition('_')[0]}_mend", **values)


async def test_servers_on_which_it_lacks_something(fake: FakeDiscord) -> None:
    fake.servers += [{"id": str(number), "name": f"Farm {number}", "permissions": "1024"} for number in range(7)]
    fake.servers.append({"id": "9", "name": "Own", "permissions": str(invite.ADMINISTRATOR)})
    ((name, values),) = await discord.findings(settings(fake))
    text = say(f"doctor.discord_{name}", **values)
    assert text == (
        "On Farm 0, Farm 1, Farm 2, Farm 3, Farm 4, … (7), the bot lacks: "
        "Send Messages, Send Messages in Threads, Attach Files, Read Message History."
    )


async def test_a_bot_that_nobody_has_invited(fake: FakeDiscord) -> None:
    fake.servers = []
    ((name, values),) = await discord.findings(settings(fake))
    assert (name, values) == ("invite_note", {"link": invite.link(str(APPLICATION))})


async def test_nothing_is_said_where_discord_is_down() -> None:
    down = Settings(discord_token=SecretStr(TOKEN), discord_api="http://127.0.0.1:9")
    assert await discord.findings(down) == ()


@pytest.mark.parametrize(
    ("token", "code", "said"),
    [
        (TOKEN, 0, f"https://discord.com/oauth2/authorize?client_id={APPLICATION}&"),
        ("MTAw.no.token", 2, "Discord refuses the token"),
        ("", 2, "No Discord token is set"),
    ],
)
async def test_the_link_is_written(
    fake: FakeDiscord,
    *,
    token: str,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    monkeypatch.setenv("EASEL_DISCORD_TOKEN", token)
    monkeypatch.setenv("EASEL_DISCORD_API", f"http://{fake.address}/api")
    assert await asyncio.to_thread(run, ["discord", "invite"]) == code
    out, err = capsys.readouterr()
    assert (out or err).startswith(said)
