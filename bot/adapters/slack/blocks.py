"""Updates as Block Kit (docs.slack.dev/reference/block-kit/blocks); pure functions.

Whatever a person may have typed stands in plain_text objects, or in rich text's literal `text` elements: Slack reads
neither mentions nor links nor markup in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bot.adapters.slack import buttons
from bot.adapters.slack.text import plain_text, shown
from bot.chat import Button, Delivery
from bot.messages import say

Block = dict[str, Any]
MAX_TEXT = 3000
"""Characters of a text object."""
MAX_MESSAGE = 9000
"""Characters of a message's blocks: beyond 11,000 or so Slack answers `msg_blocks_too_long`, and documents no limit."""
MAX_PAGES = 4
"""Messages that one answer may fill."""
MAX_BUTTONS = 25
"""Buttons in a row."""


def answer(text: str) -> list[Block]:
    """A sentence as a section; several lines, which are columns, in a fixed-width font. What is too long is cut."""
    return pages(text)[0]


def pages(text: str) -> list[list[Block]]:
    """The same in as many messages as it takes, up to a few."""
    printable = shown(text) or " "
    kind = fixed_width if "\n" in printable else section
    cut = [pieces(page, MAX_TEXT) for page in pieces(printable, MAX_MESSAGE)]
    if len(cut) > MAX_PAGES:
        cut[MAX_PAGES - 1].append("…")
    return [[kind(piece) for piece in page] for page in cut[:MAX_PAGES]]


def section(text: str) -> Block:
    """A paragraph."""
    return {"type": "section", "text": plain_text(text)}


def context(text: str, block_id: str | None = None) -> Block:
    """A quiet line."""
    line = {"type": "context", "elements": [plain_text(shown(text)[:MAX_TEXT] or " ")]}
    return line | ({"block_id": block_id} if block_id else {})


def pieces(text: str, limit: int) -> list[str]:
    """A text in pieces of at most so many characters, cut at line ends where there are any."""
    cut: list[str] = []
    while text:
        end = len(text) if len(text) <= limit else text.rfind("\n", 1, limit) + 1 or limit
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


def lines(delivery: Delivery) -> dict[int, str]:
    """What is to stand under each picture, by its place in the job: its parameters, and remarks."""
    return {picture.image.index: " · ".join((picture.caption, *picture.notes)) for picture in delivery.pictures}


def under(job: str, texts: Mapping[int, str | None], locale: str) -> list[Block]:
    """For each picture its line, if that is known, and its buttons."""
    return [block for index, line in texts.items() for block in _under(job, index, line, locale)]


def _under(job: str, index: int, line: str | None, locale: str) -> list[Block]:
    made = [buttons.about(action, job, index, locale) for action in buttons.UNDER_PICTURES]
    quiet = [] if line is None else [context(line, f"line_{job}_{index}")]
    return [*quiet, buttons.row(made, f"buttons_{job}_{index}")]
