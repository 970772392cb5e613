"""Slack by Socket Mode: slash commands, mentions, direct messages, a message shortcut, a modal and buttons."""

from __future__ import annotations

from bot.adapters.base import Adapter
from bot.errors import SettingsError
from bot.messages import say
from bot.settings import Settings


def make(settings: Settings) -> Adapter | None:
    """The adapter, or None where Slack is not set up.

    Raises:
        SettingsError: half of it is set up.
        ModuleNotFoundError: its packages are not installed.
    """
    bot, app = settings.slack_bot_token, settings.slack_app_token
    if bot is None and app is None:
        return None
    if bot is None or app is None:
        raise SettingsError(say("slack.half", missing="EASEL_SLACK_APP_TOKEN" if bot else "EASEL_SLACK_BOT_TOKEN"))
    from bot.adapters.slack.adapter import Slack

    return Slack(bot_token=bot.get_secret_value(), app_token=app.get_secret_value(), base_url=settings.slack_api)
