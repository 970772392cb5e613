"""Updates as Block Kit (docs.slack.dev/reference/block-kit/blocks); pure functions.

Whatever a person may have typed stands in plain_text objects, or in rich text's literal `text` elements: Slack reads
neither mentions nor links nor markup in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bot.adapters.slack import buttons
from bot.adapters.slack.text import plain_text, shown
from bot.chat import Button, Delivery, Picture
from bot.messages import say

Block = dict[str, Any]
MAX_TEXT = 3000
"""Characters of a text object."""
MAX_BLOCKS = 50
"""Blocks of a message."""
MAX_BUTTONS = 25
"""Buttons in a row."""


def answer(text: str) -> list[Block]:
    """A sentence as a section; several lines, which are columns, in a fixed-width font."""
    printable = shown(text) or " "
    if "\n" not in printable:
        return [section(piece) for piece in pieces(printable)]
    return [fixed_width(piece) for piece in pieces(printable)]


def section(text: str) -> Block:
    """A paragraph."""
    return {"type": "section", "text": plain_text(text)}


def context(text: str, block_id: str | None = None) -> Block:
    """A quiet line."""
    line = {"type": "context", "elements": [plain_text(shown(text)[:MAX_TEXT] or " ")]}
    return line | ({"block_id": block_id} if block_id else {})


def pieces(text: str) -> list[str]:
    """A text in pieces that Slack takes, cut at line ends where there are any; what is over is left out."""
    cut: list[str] = []
    while text and len(cut) < MAX_BLOCKS - 1:
        end = len(text) if len(text) <= MAX_TEXT else text.rfind("\n", 1, MAX_TEXT) + 1 or MAX_TEXT
        cut.append(text[:end])
        text = text[end:]
    return cut


def fixed_width(text: str) -> Block:
    """Lines in columns."""
    line = {"type": "text", "text": text.strip("\n") or " "}
    return {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": [line]}]}


def progress(text: str, job: str, locale: str, preview: str | None = None) -> list[Block]:
    """How far a job has come, with a way to stop it; `preview` is the id of a file that shows it."""
    image: list[Block] = []
    if preview is not None:
        image = [{"type": "image", "slack_file": {"id": preview}, "alt_text": text}]
    return [*answer(text), *image, buttons.row([buttons.about("cancel", job, 0, locale)])]


def refusal(text: str, job: str, index: int, locale: str) -> list[Block]:
    """A refusal that a moderator can decide otherwise."""
    return [*answer(text), buttons.row([buttons.about("appeal", job, index, locale)])]


def modal(message: list[Block], locale: str) -> Block:
    """A message as a modal."""
    title, close = plain_text(say("slack_form.answer_title", locale)), plain_text(say("slack_form.close", locale))
    return {"type": "modal", "title": title, "close": close, "blocks": message}


def notice(text: str, given: Iterable[Button]) -> list[Block]:
    """A message with buttons that give commands."""
    made = [buttons.giving(button, number) for number, button in enumerate(given)][:MAX_BUTTONS]
    return [*answer(text), *([buttons.row(made)] if made else [])]


def under_pictures(delivery: Delivery, locale: str) -> list[Block]:
    """For each picture its parameters and its buttons."""
    return [block for picture in delivery.pictures for block in _under(delivery.job, picture, locale)]


def _under(job: str, picture: Picture, locale: str) -> list[Block]:
    index = picture.image.index
    made = [buttons.about(action, job, index, locale) for action in buttons.UNDER_PICTURES]
    line = " · ".join((picture.caption, *picture.notes))
    return [context(line, f"line_{job}_{index}"), buttons.row(made, f"buttons_{job}_{index}")]


def without(message: Block, job: str, left: Iterable[int]) -> list[Block]:
    """The blocks of a message under pictures, as Slack sends them back, for the pictures that are left alone."""
    kept = {f"{part}_{job}_{index}" for index in left for part in ("line", "buttons")}
    return [block for block in message.get("blocks") or () if block.get("block_id") in kept]
