"""The link that adds the bot to a server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import discord

from bot.adapters.discord import invite

PAGE = Path(__file__).parents[4] / "docs" / "discord.md"


def test_the_link_asks_for_exactly_what_is_needed() -> None:
    query = parse_qs(urlsplit(invite.link("1000")).query)
    assert query["client_id"] == ["1000"]
    assert query["scope"] == ["bot applications.commands"]
    asked = discord.Permissions(int(query["permissions"][0]))
    assert asked == discord.Permissions(
        view_channel=True,
        send_messages=True,
        send_messages_in_threads=True,
        attach_files=True,
        read_message_history=True,
    )


def test_administrators_lack_nothing() -> None:
    assert invite.missing(discord.Permissions(administrator=True).value) == ()
    assert invite.missing(0) == tuple(invite.NEEDED)


def test_the_page_has_the_link_and_names_every_permission() -> None:
    page = PAGE.read_text("utf-8")
    assert f"permissions={sum(invite.NEEDED.values())}" in page
    assert all(name in page for name in invite.NEEDED)
