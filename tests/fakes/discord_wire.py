"""How the fake Discord reads a request's first line, and writes an answer."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_values import Refused

UNAUTHORISED = ("/webhooks/", "/interactions/")
"""What the token in the path is enough for."""


def check_token(path: str, header: str | None) -> None:
    """Refuse a request without the bot's token where one is needed."""
    if not path.startswith(UNAUTHORISED) and header != f"Bot {TOKEN}":
        raise Refused(401, 0, "401: Unauthorized")


def plain_json(answer: Any, status: int, headers: dict[str, str]) -> web.Response:
    """JSON with the bare media type that Discord gives, which discord.py looks for."""
    headers |= {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(answer).encode(), status=status, headers=headers)


def named(parts: list[str], line: str) -> int | None:
    """The place of the first part that a request's `METHOD path` holds."""
    return next((place for place, part in enumerate(parts) if part in line), None)
