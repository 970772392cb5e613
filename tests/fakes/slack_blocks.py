"""What Slack says of blocks, views and texts: slack_sdk's own models, then the counts and lengths of its documentation.

docs.slack.dev/reference/block-kit and /reference/views/modal-views
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

LIVE = re.compile(r"<[^>]*>?|&(?!(?:amp|lt|gt);)")
LENGTHS = {
    "action_id": 255,
    "block_id": 255,
    "callback_id": 255,
    "private_metadata": 3000,
    "value": 2000,
}
TEXTS = {"title": 24, "submit": 24, "close": 24, "label": 2000, "hint": 2000, "placeholder": 150}
"""Lengths of text objects by the field that they stand in; `text` of a button 75, otherwise 3000."""


def problems(blocks: Sequence[dict[str, Any]], limit: int = 50) -> list[str]:
    """Everything that Slack would refuse."""
    found = [f"{len(blocks)} blocks"] if not 0 < len(blocks) <= limit else []
    for block, model in zip(blocks, map(Block.parse, blocks), strict=True):
        found += [f"unknown block {block.get('type')}"] if model is None else list(_by_model(model))
    objects = list(walk(blocks))
    found += [problem for item in objects for problem in _object_problems(item)]
    actions = [item["action_id"] for item in objects if "action_id" in item]
    return found + (["an action_id twice"] if len(set(actions)) < len(actions) else [])


def view_problems(view: dict[str, Any]) -> list[str]:
    """Everything that Slack would refuse of a modal."""
    found = list(_by_model(View(**view))) + problems(view["blocks"], limit=100)
    found += _object_problems(view)
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
    for name, limit in (TEXTS | {"text": 75 if kind == "button" else 3000}).items():
        text = item.get(name)
        words = text["text"] if isinstance(text, dict) else None
        if words is not None and not 0 < len(words) <= limit:
            found.append(f"{name} of {len(words)} characters")
    counts = {"context": 10, "actions": 25}
    if kind in counts and not 0 < len(item["elements"]) <= counts[kind]:
        found.append(f"{len(item['elements'])} elements")
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
        for item in walk([block for block in blocks if block["type"] != "actions"])
        if item.get("type") in ("plain_text", "mrkdwn", "text")
    ]


def live(message: dict[str, Any]) -> list[str]:
    """Texts in which Slack would find a mention, a link or markup: a mrkdwn object, or a `text` that isn't escaped."""
    found = [item["text"] for item in walk(message.get("blocks") or []) if item.get("type") == "mrkdwn"]
    text = message.get("text") or ""
    return found + ([text] if LIVE.search(text) else [])
