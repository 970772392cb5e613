"""Discord's own OpenAPI document as a judge of what is sent: every request's body is held against it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jsonschema_rs import Draft202012, Draft202012Validator, Registry

DOCUMENT = Path(__file__).parents[3] / "shared" / "data" / "discord-openapi.json"
"""Not part of this repository; without it, nothing is judged."""
NAME = "urn:discord"


@cache
def _document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DOCUMENT.read_text("utf-8"))
    return loaded


@cache
def _registry() -> Registry:
    return Registry([(NAME, _document())], draft=Draft202012)


@cache
def _paths() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns of all paths, those with the fewest holes first."""
    templates = sorted(_document()["paths"], key=lambda path: path.count("{"))
    return tuple((re.compile(re.sub(r"\{[^}]+\}", "[^/]+", template)), template) for template in templates)


@cache
def _validator(template: str, method: str, media: str) -> Draft202012Validator:
    pointer = f"paths/{template.replace('~', '~0').replace('/', '~1')}/{method}/requestBody/content/"
    schema = {"$ref": f"{NAME}#/{quote(pointer + media.replace('/', '~1'), safe='/~')}/schema"}
    return Draft202012Validator(schema, registry=_registry())


def violations(method: str, path: str, media: str, body: Any) -> list[str]:
    """What is wrong with a request; nothing if there is no document to hold it against."""
    if not DOCUMENT.exists():
        return []
    template = next((template for pattern, template in _paths() if pattern.fullmatch(path)), None)
    operation = _document()["paths"].get(template, {}).get(method.lower()) if template else None
    if template is None or operation is None:
        return [f"{method} {path}: there is no such operation"]
    if body is None:
        return []
    if media not in operation.get("requestBody", {}).get("content", {}):
        return [f"{method} {path}: takes no {media}"]
    errors = _validator(template, method.lower(), media).iter_errors(_as_documented(body))
    return [f"{method} {path}: {'/'.join(map(str, error.instance_path))} {error.message[:300]}" for error in errors]


def _as_documented(body: Any) -> Any:
    """discord.py sends some ids as numbers; the document has them as strings, the servers take both."""
    if isinstance(body, list):
        return [_as_documented(value) for value in body]
    if not isinstance(body, dict):
        return body
    copy = {name: _as_documented(value) for name, value in body.items()}
    if isinstance(copy.get("recipient_id"), int):
        copy["recipient_id"] = str(copy["recipient_id"])
    for file in copy.get("attachments") or ():
        file["id"] = str(file["id"])
    return copy
