"""Asks Discord and Slack whether they take the configured tokens. The standard library's client is enough for that.

Sources: discord.com/developers/docs/resources/user (GET /users/@me), docs.slack.dev/reference/methods/auth.test.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bot.settings import Settings

Platform = Literal["discord", "slack"]
Verdict = Literal["unset", "valid", "refused", "unasked"]
TIMEOUT = 5.0
"""Seconds that a platform has to answer."""
MAX_ANSWER = 1_000_000
AGENT = "DiscordBot (easel, 0.1.0)"
"""Discord refuses requests whose user agent doesn't have this form."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a platform said; `detail` is the bot's name there, or why it could not be asked or was refused."""

    verdict: Verdict
    detail: str = ""


async def ask(platform: Platform, settings: Settings) -> Answer:
    """Ask one platform; never takes longer than its timeout."""
    return await asyncio.to_thread(_discord if platform == "discord" else _slack, settings)


def _discord(settings: Settings) -> Answer:
    if settings.discord_token is None:
        return Answer(verdict="unset")
    address = f"{settings.discord_api.rstrip('/')}/users/@me"
    status, content = _get(address, f"Bot {settings.discord_token.get_secret_value()}")
    if status == http.HTTPStatus.OK:
        return Answer(verdict="valid", detail=str(content.get("username", "")))
    return _refused(status, content.get("message"), by_status=True)


def discord(settings: Settings, path: str) -> Any:  # noqa: ANN401  (JSON)
    """What Discord's API answers to the bot at a path; None if it doesn't."""
    if settings.discord_token is None:
        return None
    address = f"{settings.discord_api.rstrip('/')}/{path}"
    status, content = _ask(address, f"Bot {settings.discord_token.get_secret_value()}")
    return content if status == http.HTTPStatus.OK else None


def _slack(settings: Settings) -> Answer:
    if settings.slack_bot_token is None:
        return Answer(verdict="unset")
    address = f"{settings.slack_api.rstrip('/')}/auth.test"
    status, content = _get(address, f"Bearer {settings.slack_bot_token.get_secret_value()}")
    if status == http.HTTPStatus.OK and content.get("ok"):
        return Answer(verdict="valid", detail=f"{content.get('user', '')} @ {content.get('team', '')}")
    return _refused(status, content.get("error"), by_status=False)


def _refused(status: int, reason: object, *, by_status: bool) -> Answer:
    """The token is wrong only if the platform says so; everything else is the network's or the platform's trouble."""
    known = status in (401, 403) if by_status else status == http.HTTPStatus.OK and bool(reason)
    return Answer(verdict="refused" if known else "unasked", detail=str(reason or status or "-"))


def _get(address: str, authorization: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of an address; status 0 and the reason under both error keys where nothing answered."""
    status, content = _ask(address, authorization)
    return status, content if isinstance(content, dict) else {}


def _ask(address: str, authorization: str) -> tuple[int, Any]:
    try:
        request = Request(address, headers={"Authorization": authorization, "User-Agent": AGENT})  # noqa: S310
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  (the operator's own setting)
            return answer.status, _parsed(answer.read(MAX_ANSWER))
    except HTTPError as error:
        return error.code, _parsed(error.read(MAX_ANSWER))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error))
        return 0, {"message": reason, "error": reason}


def _parsed(body: bytes) -> Any:  # noqa: ANN401  (JSON)
    try:
        return json.loads(body)
    except ValueError:
        return None
