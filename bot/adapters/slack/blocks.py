"""Updates as Block Kit (docs.slack.dev/reference/block-kit/blocks); pure functions.

Whatever a person may have typed stands in plain_text objects, or in rich text's literal `text` elements: Slack reads
neither mentions nor links nor markup in them.
"""

from __future__ import annotations

from typing import Any

from bot import messages
from bot.adapters.slack.text import shown
from bot.chat import Delivery, Picture

Block = dict[str, Any]
MAX_TEXT = 3000
"""Characters of a text object."""
MAX_BLOCKS = 50
"""Blocks of a message."""
MAX_INPUT = 3000
"""Characters of an input."""
BATCH_VIEW = "easel_batch"
PROMPTS = "prompts"
BUTTON = "easel_button"
VERSION = "v1"


def plain_text(text: str) -> Block:
    """A text object in which nothing comes alive, emoji codes neither."""
    return {"type": "plain_text", "text": text, "emoji": False}


def answer(text: str) -> list[Block]:
    """A sentence as a section; several lines, which are columns, in a fixed-width font."""
    printable = shown(text) or " "
    if "\n" not in printable:
        return [{"type": "section", "text": plain_text(piece)} for piece in pieces(printable)]
    return [_fixed_width(piece) for piece in pieces(printable)]


def pieces(text: str) -> list[str]:
    """A text in pieces that Slack takes, cut at line ends where there are any; what is over is left out."""
    cut: list[str] = []
    while text and len(cut) < MAX_BLOCKS:
        end = len(text) if len(text) <= MAX_TEXT else text.rfind("\n", 1, MAX_TEXT) + 1 or MAX_TEXT
        cut.append(text[:end])
        text = text[end:]
    return cut


def _fixed_width(text: str) -> Block:
    line = {"type": "text", "text": text.strip("\n") or " "}
    return {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": [line]}]}


def under_pictures(delivery: Delivery, locale: str) -> list[Block]:
    """For each picture its parameters and its buttons."""
    return [block for picture in delivery.pictures for block in _under(delivery.job, picture, locale)]


def _under(job: str, picture: Picture, locale: str) -> list[Block]:
    line = " · ".join((picture.caption, *picture.notes))
    return [
        {"type": "context", "elements": [plain_text(shown(line)[:MAX_TEXT])]},
        {"type": "actions", "elements": [_button(name, job, picture.image.index, locale) for name in ACTIONS]},
    ]


ACTIONS = ("reroll", "show")
"""Buttons under a picture, each named like the command that it gives."""


def _button(action: str, job: str, index: int, locale: str) -> Block:
    return {
        "type": "button",
        "action_id": f"{BUTTON}_{action}_{index}",
        "text": plain_text(messages.say(f"slack_button.{action}", locale)),
        "value": f"{VERSION}:{action}:{job}:{index}",
    }


def batch_view(address: str, locale: str, prompts: str = "") -> Block:
    """The modal of a batch: a prompt on each line. `address` comes back with what is submitted."""
    field: Block = {
        "type": "plain_text_input",
        "action_id": PROMPTS,
        "multiline": True,
        "max_length": MAX_INPUT,
        "placeholder": plain_text(messages.say("slack.batch_placeholder", locale)),
    }
    if prompts:
        field["initial_value"] = prompts[:MAX_INPUT]
    return {
        "type": "modal",
        "callback_id": BATCH_VIEW,
        "private_metadata": address,
        "title": plain_text(messages.say("slack.batch_title", locale)),
        "submit": plain_text(messages.say("slack.batch_submit", locale)),
        "close": plain_text(messages.say("slack.batch_close", locale)),
        "blocks": [
            {
                "type": "input",
                "block_id": PROMPTS,
                "optional": True,
                "label": plain_text(messages.say("slack.batch_label", locale)),
                "hint": plain_text(messages.say("slack.batch_hint", locale)),
                "element": field,
            }
        ],
    }
