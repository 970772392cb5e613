"""Slack by Socket Mode or HTTP: slash commands, mentions, direct messages, shortcuts, modals, buttons, App Home."""

from __future__ import annotations

from bot.adapters.base import Adapter
from bot.errors import SettingsError
from bot.messages import say
from bot.settings import Settings


def make(settings: Settings) -> Adapter | None:
    """The adapter, or None where Slack is not set up.

    Raises:
        SettingsError: a part of it is missing, or two ways are set up at once.
        ModuleNotFoundError: its packages are not installed.
    """
    given = {name for name in NEEDED if getattr(settings, name) is not None}
    if not given and not settings.slack_http:
        return None
    _check(settings, given)
    from bot.adapters.slack.adapter import Slack

    return Slack(settings)


NEEDED = ("slack_bot_token", "slack_app_token", "slack_signing_secret", "slack_client_id", "slack_client_secret")


def _check(settings: Settings, given: set[str]) -> None:
    many = given & {"slack_client_id", "slack_client_secret"}
    if many and not settings.slack_http:
        raise SettingsError(say("slack.many_by_http"))
    if many and "slack_bot_token" in given:
        raise SettingsError(say("slack.one_or_many"))
    if settings.slack_http:
        tokens = ("slack_client_id", "slack_client_secret") if many else ("slack_bot_token",)
        needed = ("slack_signing_secret", *tokens)
    else:
        needed = ("slack_bot_token", "slack_app_token")
    missing = [f"EASEL_{name.upper()}" for name in needed if name not in given]
    if missing:
        raise SettingsError(say("slack.half", missing=", ".join(missing)))
