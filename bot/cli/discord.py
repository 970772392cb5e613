"""`easel discord …`, and what `easel doctor` can find out about the app from Discord's API.

Sources: discord.com/developers/docs/resources/application (the app's flags) and resources/user (the bot's servers).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import typer

from bot.adapters.discord import invite
from bot.cli import tokens
from bot.cli.outcome import Exit
from bot.cli.session import prepared
from bot.errors import SettingsError
from bot.messages import listed, say
from bot.settings import Settings

PRIVILEGED = {
    "Presence Intent": (1 << 12) | (1 << 13),
    "Server Members Intent": (1 << 14) | (1 << 15),
    "Message Content Intent": (1 << 18) | (1 << 19),
}
"""Switches of the page Bot, and the flags that tell of each: for verified apps and for small ones."""
NAMED = 5
"""Servers that a sentence names."""

Finding = tuple[str, dict[str, object]]
"""What a sentence of `doctor` is about, `discord_…`, and its holes."""

app = typer.Typer(help="Set Discord up.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keeps `invite` a command of its own while it is the only one."""


@app.command("invite")
def invite_link() -> int:
    """Write the link that adds the bot to a server, with exactly the permissions that it needs."""
    settings = prepared()
    if settings.discord_token is None:
        raise SettingsError(say("discord.no_token"))
    answer = asyncio.run(tokens.ask("discord", settings))
    if answer.verdict == "refused":
        raise SettingsError(say("discord.bad_token"))
    about = tokens.discord(settings, "applications/@me")
    if not isinstance(about, dict):
        raise SettingsError(say("discord.lost", reason=answer.detail))
    typer.echo(invite.link(str(about.get("id"))))
    return Exit.DELIVERED


async def findings(settings: Settings) -> tuple[Finding, ...]:
    """What is worth knowing or mending about an app whose token is good; nothing where Discord doesn't answer."""
    return await asyncio.to_thread(lambda: tuple(_findings(settings)))


def _findings(settings: Settings) -> Iterator[Finding]:
    about = tokens.discord(settings, "applications/@me")
    if not isinstance(about, dict):
        return
    yield from _app(about, settings)
    servers = tokens.discord(settings, "users/@me/guilds")
    if isinstance(servers, list):
        yield from _servers(servers, invite.link(str(about.get("id"))))


def _app(about: dict[str, Any], settings: Settings) -> Iterator[Finding]:
    posted = about.get("interactions_endpoint_url")
    if posted and settings.discord_public_key is None:
        yield "endpoint_wrong", {"url": posted}
    if not posted and settings.discord_public_key is not None:
        yield "no_endpoint_wrong", {}
    if about.get("bot_require_code_grant"):
        yield "grant_wrong", {}
    flags = int(about.get("flags") or 0)
    needless = [name for name, bits in PRIVILEGED.items() if flags & bits]
    if needless:
        yield "intents_note", {"names": listed(needless)}


def _servers(servers: list[Any], link: str) -> Iterator[Finding]:
    if not servers:
        yield "invite_note", {"link": link}
    lacking: dict[tuple[str, ...], list[str]] = {}
    for server in servers:
        missing = invite.missing(int(server.get("permissions") or 0))
        if missing:
            lacking.setdefault(missing, []).append(str(server.get("name")))
    for permissions, names in lacking.items():
        more = "" if len(names) <= NAMED else f", … ({len(names)})"
        yield "permissions_note", {"servers": listed(names[:NAMED]) + more, "names": listed(permissions), "link": link}
