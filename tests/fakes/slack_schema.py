"""Blocks and views against the schema of `@slack/types`; see tests/data/slack/README.md."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft7Validator

FREE = frozenset(
    {"text", "value", "alt_text", "initial_value", "action_id", "block_id", "private_metadata", "fallback"}
)
DATA = Path(__file__).parent.parent / "data" / "slack" / "types.json"


def problems(item: dict[str, Any], kind: str) -> list[str]:
    """What is wrong with a `blocks` entry, a `modal` or a `home`."""
    if kind == "blocks":
        return list(_wrong(json.dumps(_blank(item)), "KnownBlock"))
    inside = [problem for block in item.get("blocks") or () for problem in problems(block, "blocks")]
    return [*inside, *_wrong(json.dumps(_blank(item | {"blocks": []})), kind.capitalize())]


def _blank(item: Any) -> Any:
    """The same without its words: the schema asks no more of them than to be strings, and so most items are alike."""
    if isinstance(item, list):
        return [_blank(inner) for inner in item]
    if not isinstance(item, dict):
        return item
    return {name: "" if name in FREE and isinstance(value, str) else _blank(value) for name, value in item.items()}


@lru_cache(maxsize=1000)
def _wrong(item: str, name: str) -> tuple[str, ...]:
    errors = _validator(name).iter_errors(json.loads(item))
    return tuple(f"{'/'.join(map(str, error.instance_path))} {error.message}"[:300] for error in errors)


@cache
def _validator(name: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"#/definitions/{name}", "definitions": _definitions()})


@cache
def _definitions() -> dict[str, Any]:
    """The definitions; alternatives that differ by their `type` are told apart by it, which is quick and says more."""
    read: dict[str, Any] = json.loads(DATA.read_text("utf-8"))["definitions"]
    return {name: _told_apart(definition, read) for name, definition in read.items()}


def _told_apart(definition: Any, read: dict[str, Any]) -> Any:
    if isinstance(definition, list):
        return [_told_apart(inner, read) for inner in definition]
    if not isinstance(definition, dict):
        return definition
    inner = {name: _told_apart(value, read) for name, value in definition.items()}
    kinds = [_kind(branch, read) for branch in definition.get("anyOf", ())]
    if len(kinds) < 2 or None in kinds or len(set(kinds)) < len(kinds):
        return inner
    pairs = zip(kinds, inner.pop("anyOf"), strict=True)
    choices = [{"if": {"properties": {"type": {"const": kind}}}, "then": branch} for kind, branch in pairs]
    return inner | {"required": ["type"], "properties": {"type": {"enum": kinds}}, "allOf": choices}


def _kind(branch: dict[str, Any], read: dict[str, Any]) -> str | None:
    """The `type` that all objects of an alternative have."""
    if "$ref" in branch:
        return _kind(read[branch["$ref"].rpartition("/")[2]], read)
    kinds = {_kind(inner, read) for inner in branch.get("anyOf", ())}
    if kinds:
        return kinds.pop() if len(kinds) == 1 else None
    kind = branch.get("properties", {}).get("type", {}).get("const")
    return kind if isinstance(kind, str) else None
