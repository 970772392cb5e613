"""Buttons: what they carry, and what pressing one asks for. Pure functions.

A button about a picture carries `v1:<action>:<job>:<index>` and nothing else; one of a notice carries its command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bot.adapters.slack.text import plain_text, shown
from bot.chat import Button
from bot.messages import say, shorten

Block = dict[str, Any]
ACTION_ID = "easel_button"
"""Every action_id begins so."""
ACTIONS: dict[str, str] = {
    "reroll": "reroll {job} {number}",
    "subtle": "vary {job} {number} subtle",
    "strong": "vary {job} {number} strong",
    "upscale": "upscale {job} {number}",
    "remix": "remix {job} {number}",
    "show": "show {job}",
    "send": "send {job} {number}",
    "delete": "delete {job} {number}",
    "appeal": "appeal {job} {number}",
    "cancel": "cancel {job}",
}
"""What pressing each means, as a command; `remix` opens a form."""
UNDER_PICTURES = ("reroll", "subtle", "strong", "upscale", "remix", "show", "send", "delete")
VALUE = re.compile(rf"v1:({'|'.join(ACTIONS)}):([0-9a-z]{{1,16}}):([0-9]{{1,2}})")
COMMAND = re.compile(r"command:([a-z][a-z-]{0,30}) ?([^\x00-\x1f]{0,1000})")
FILE_NAME = re.compile(r"([0-9a-z]{1,16})-([0-9]{1,2})\.(?:png|jpe?g)")
MAX_LABEL = 75


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """A command that a button gives."""

    command: str
    text: str
    job: str = ""
    number: int = 1


def about(action: str, job: str, index: int, locale: str) -> Block:
    """A button about a picture of a job, `index` from 0."""
    made: Block = {
        "type": "button",
        "action_id": f"{ACTION_ID}_{action}_{job}_{index}",
        "text": plain_text(say(f"slack_button.{action}", locale)),
        "value": f"v1:{action}:{job}:{index}",
    }
    if action == "delete":
        made |= {"style": "danger", "confirm": _sure("delete", locale)}
    return made


def giving(button: Button, number: int) -> Block:
    """A button of a notice; `number` tells it from the others there."""
    return {
        "type": "button",
        "action_id": f"{ACTION_ID}_command_{number}",
        "text": plain_text(shorten(button.label, MAX_LABEL) or "…"),
        "value": f"command:{button.command} {shown(button.text)}"[:1000],
    }


def _sure(action: str, locale: str) -> Block:
    """The question before something that can't be undone."""
    parts = ("title", "text", "confirm", "deny")
    return {part: plain_text(say(f"slack_confirm.{action}_{part}", locale)) for part in parts}


def row(buttons: list[Block], block_id: str | None = None) -> Block:
    """Buttons in a row."""
    return {"type": "actions", "elements": buttons} | ({"block_id": block_id} if block_id else {})


def read(value: str) -> Pressed | None:
    """What a button's value asks for; None if it is none of ours."""
    if given := COMMAND.fullmatch(value):
        return Pressed(command=given[1], text=given[2])
    pressed = VALUE.fullmatch(value)
    if pressed is None:
        return None
    action, job, number = pressed[1], pressed[2], int(pressed[3]) + 1
    command, _, text = ACTIONS[action].format(job=job, number=number).partition(" ")
    return Pressed(command=command, text=text, job=job, number=number)


def picture_in(message: Block) -> tuple[str, int]:
    """Job and number of the first picture of ours in a message; an empty job if there is none."""
    named = (FILE_NAME.fullmatch(str(file.get("name"))) for file in message.get("files") or ())
    found = next(((name[1], int(name[2])) for name in named if name), None)
    carried = (read(value) for value in _values(message.get("blocks") or ()))
    return found or next(((pressed.job, pressed.number) for pressed in carried if pressed and pressed.job), ("", 1))


def _values(blocks: Any) -> Iterator[str]:  # noqa: ANN401  (blocks as Slack sends them back)
    for block in blocks:
        for element in block.get("elements") or ():
            if isinstance(element, dict) and "value" in element:
                yield str(element["value"])
