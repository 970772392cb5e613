"""Slack's way of writing text, both ways.

What people type arrives with `& < >` as entities, and with mentions, channels and links as `<…>`
(docs.slack.dev/messaging/formatting-message-text). What goes out is plain_text wherever Slack takes an object, and
escaped where it takes nothing but a string.
"""

from __future__ import annotations

import html
import re
from typing import Any

from bot import messages

MAX_FALLBACK = 300
"""Characters of a notification."""
CONTROL = re.compile(r"<(@(?=[UW])|#(?=[CDG])|!(?=[a-z])|(?=[a-z]{1,10}:))([^<>|\s]+)(?:\|([^<>]*))?>")
"""`<@U7>`, `<#C7|general>`, `<!here>`, `<https://example.org|label>`."""
SPECIAL = {"here": "@here", "channel": "@channel", "everyone": "@everyone"}


def plain(text: str, bot: str = "", *, ids: bool = False) -> str:
    """What the person sees of what they typed; a mention of `bot` (a user id) at the start is left out.

    With `ids`, people, channels and groups are their ids instead, by which commands know them.
    """
    return html.unescape(CONTROL.sub(_identified if ids else _seen, addressed(text, bot)))


def addressed(text: str, bot: str) -> str:
    """What follows a mention of `bot` at the start of a text, as Slack sends it."""
    start = re.match(rf"\s*<@{re.escape(bot)}(?:\|[^<>]*)?>[\s:,]*", text) if bot else None
    return text[start.end() :] if start else text


def _seen(match: re.Match[str]) -> str:
    """A link, mention or channel as Slack shows it."""
    sign, target, label = match[1], match[2], match[3]
    if sign == "!":
        return label or SPECIAL.get(target, f"@{target.partition('^')[0]}")
    shown = label or target
    return sign + shown.removeprefix(sign) if sign else shown.removeprefix("mailto:")


def _identified(match: re.Match[str]) -> str:
    """The id in a mention, or a link as Slack shows it."""
    sign, (kind, _, group) = match[1], match[2].partition("^")
    if sign == "!" and kind == "subteam":
        return str(group)
    return str(match[2]) if sign in ("@", "#") else _seen(match)


def shown(text: str) -> str:
    """A text for a plain_text object: nothing hidden in it can turn the line around or command a terminal."""
    return messages.printable(text, keep="\n")


def fallback(text: str) -> str:
    """A text for the notification, where Slack reads markup: one line, with `& < >` as entities."""
    line = messages.shorten(text, MAX_FALLBACK)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain_text(text: str) -> dict[str, Any]:
    """A text object in which nothing comes alive, emoji codes neither."""
    return {"type": "plain_text", "text": text, "emoji": False}
