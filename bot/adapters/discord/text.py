"""Our sentences as Discord shows them: nothing in them is markup, a mention or too long."""

from __future__ import annotations

import re

from bot.chat import Reply
from bot.messages import printable

MAX_CONTENT = 2000
"""Characters of one message (discord.com/developers/docs/resources/message)."""
CHUNK = 1900
"""Characters of text in one message, with room for a code block's fences."""
MARKUP = re.compile(r"([\\*_~|`<>@#\[\]])")
FENCE = "```"
NOTHING = "…"
"""Stands for an empty text, which Discord doesn't take."""


def plain(text: str) -> str:
    """The text with every character escaped that Discord would take for markup or the start of a mention."""
    return MARKUP.sub(r"\\\1", printable(text, keep="\n"))


def quiet(text: str) -> str:
    """One line in Discord's small grey letters."""
    return f"-# {plain(text)}"


def blocks(text: str) -> list[str]:
    """The text as the contents of one message or several: a sentence as it is, lines as blocks of even letters."""
    return spoken(text) if "\n" not in text else fenced(text)


def spoken(text: str) -> list[str]:
    """The text as it is, in blocks of even letters only if it is too long for one message."""
    return [plain(text) or NOTHING] if len(plain(text)) <= MAX_CONTENT else fenced(text)


def fenced(text: str) -> list[str]:
    """The text in blocks of even letters, each of which fits into a message."""
    safe = printable(text, keep="\n").replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")
    return [f"{FENCE}\n{chunk}\n{FENCE}" for chunk in chunks(safe, CHUNK)]


def copies(reply: Reply) -> list[str]:
    """The messages of a reply; commands in it stand alone in blocks, which a phone copies by one touch."""
    commands = reply.data.get("commands")
    if not isinstance(commands, list):
        return blocks(reply.text)
    lines = [line for line in reply.text.split("\n") if not any(line.endswith(command) for command in commands)]
    pieces = [*spoken("\n".join(lines)), *(block for command in commands for block in fenced(command))]
    packed = pieces[:1]
    for piece in pieces[1:]:
        if len(packed[-1]) + 1 + len(piece) <= MAX_CONTENT:
            packed[-1] += f"\n{piece}"
        else:
            packed.append(piece)
    return packed


def chunks(text: str, limit: int) -> list[str]:
    """The text in pieces of at most `limit` characters, cut at the ends of lines where that is possible."""
    pieces = [""]
    for line in text.split("\n"):
        for start in range(0, max(len(line), 1), limit):
            part = line[start : start + limit]
            if len(pieces[-1]) + 1 + len(part) > limit:
                pieces.append(part)
            else:
                pieces[-1] = f"{pieces[-1]}\n{part}" if pieces[-1] else part
    return [piece for piece in pieces if piece] or [NOTHING]
