"""What Slack says of blocks, views and texts: its schema, slack_sdk's own models, then documented counts and lengths.

docs.slack.dev/reference/block-kit and /reference/views
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from tests.fakes import slack_schema

LIVE = re.compile(r"<[^>]*>?|&(?!(?:amp|lt|gt);)")
LENGTHS = {
    "action_id": 255,
    "alt_text": 2000,
    "block_id": 255,
    "callback_id": 255,
    "private_metadata": 3000,
    "value": 2000,
    "initial_value": 3000,
}
TEXTS = {"title": 24, "submit": 24, "close": 24, "label": 2000, "hint": 2000, "placeholder": 150}
"""Lengths of text objects by the field that they stand in; `title` is that of a view."""
LONGEST = {"button": 75, "header": 150, None: 75}
"""Lengths of `text` by kind; None is an entry of a list. Otherwise 3000."""
QUESTION = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
"""Lengths in the question before something that can't be undone."""
COUNTS = {"context": ("elements", 10), "actions": ("elements", 25), "static_select": ("options", 100)}
COUNTS |= {"checkboxes": ("options", 10)}


def problems(blocks: Sequence[dict[str, Any]], limit: int = 50) -> list[str]:
    """Everything that Slack would refuse."""
    found = [f"{len(blocks)} blocks"] if not 0 < len(blocks) <= limit else []
    found += [problem for block in blocks for problem in slack_schema.problems(block, "blocks")]
    if found:
        return found
    for block, model in zip(blocks, map(Block.parse, blocks), strict=True):
        found += [f"unknown model {block.get('type')}"] if model is None else list(_by_model(model))
    found += [problem for item in walk(blocks) for problem in _object_problems(item)]
    named = [block["block_id"] for block in blocks if "block_id" in block]
    actions = [item["action_id"] for block in blocks for item in walk(block) if "action_id" in item]
    twice = [name for names in (named, actions) for name in names if names.count(name) > 1]
    return found + [f"{name} twice" for name in twice if not _of_rows(name)]


def _of_rows(name: str) -> bool:
    """Ids of buttons must differ within their block alone; those of notices are numbered there."""
    return name.startswith("easel_button_command_")


def view_problems(view: dict[str, Any]) -> list[str]:
    """Everything that Slack would refuse of a modal or an App Home."""
    found = slack_schema.problems(view, str(view.get("type")))
    found += list(_by_model(View(**view))) + problems(view["blocks"], limit=100)
    found += _object_problems({name: value for name, value in view.items() if name != "blocks"})
    return found + (["view over 250 kB"] if len(json.dumps(view)) > 250_000 else [])


def _by_model(model: Any) -> Iterator[str]:
    try:
        model.to_dict()
    except SlackObjectFormationError as error:
        yield str(error)


def _object_problems(item: dict[str, Any]) -> list[str]:
    kind = item.get("type")
    lengths = {name: limit for name, limit in LENGTHS.items() if len(str(item.get(name) or "")) > limit}
    found = [f"{name} over {limit}" for name, limit in lengths.items()]
    texts = QUESTION if kind is None and "confirm" in item else TEXTS | {"text": LONGEST.get(kind, 3000)}
    for name, limit in texts.items():
        text = item.get(name)
        words = text["text"] if isinstance(text, dict) else None
        if words is not None and not 0 < len(words) <= limit:
            found.append(f"{name} of {len(words)} characters")
    field, most = COUNTS.get(str(kind), ("", 0))
    if field and not 0 < len(item[field]) <= most:
        found.append(f"{len(item[field])} {field}")
    return found


def walk(item: Any) -> Iterator[dict[str, Any]]:
    """Every object inside."""
    if isinstance(item, dict):
        yield item
        for value in item.values():
            yield from walk(value)
    elif isinstance(item, list | tuple):
        for value in item:
            yield from walk(value)


def words(blocks: Sequence[dict[str, Any]]) -> list[str]:
    """What a person reads, buttons left out."""
    return [
        item["text"]
        for item in walk([block for block in blocks if block["type"] not in ("actions", "input")])
        if item.get("type") in ("plain_text", "mrkdwn", "text")
    ]


def live(message: dict[str, Any]) -> list[str]:
    """Texts in which Slack would find a mention, a link or markup: a mrkdwn object, or a `text` that isn't escaped."""
    found = [item["text"] for item in walk(message.get("blocks") or []) if item.get("type") == "mrkdwn"]
    text = message.get("text") or ""
    return found + ([text] if LIVE.search(text) else [])
