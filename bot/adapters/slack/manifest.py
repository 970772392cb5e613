"""The app's manifest (docs.slack.dev/reference/app-manifest): what Slack has to know of the app, from the code.

Free of slack_sdk, so that it can be written before anything is set up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bot.adapters.slack.incoming import GLOBAL_SHORTCUT, NAMING, PICTURE_SHORTCUT, REMIX_SHORTCUT, SLASH_COMMANDS
from bot.handlers.table import COMMANDS
from bot.messages import say

HEADING = "# Written by `easel slack manifest`; paste it at api.slack.com/apps, Create New App, From a manifest.\n"
SCOPES = (
    "app_mentions:read",
    "chat:write",
    "chat:write.public",
    "commands",
    "files:read",
    "files:write",
    "im:history",
    "im:write",
    "users:read",
)
"""What the bot may do; docs/slack.md says why it needs each."""
EVENTS = ("app_home_opened", "app_mention", "app_uninstalled", "message.im", "tokens_revoked")
SHORTCUTS = {
    "make": ("global", GLOBAL_SHORTCUT),
    "picture": ("message", PICTURE_SHORTCUT),
    "remix": ("message", REMIX_SHORTCUT),
}
EVENTS_PATH, REDIRECT_PATH = "/slack/events", "/slack/oauth_redirect"


def manifest(url: str | None = None) -> dict[str, Any]:
    """The manifest of an app in Socket Mode, or in HTTP mode at a public address such as `https://easel.example.org`."""
    events = f"{url}{EVENTS_PATH}" if url else None
    oauth = {"redirect_urls": [f"{url}{REDIRECT_PATH}"]} if url else {}
    reached = {"request_url": events} if events else {}
    return {
        "display_information": {
            "name": "Easel",
            "description": say("slack.app_description"),
            "background_color": "#4a148c",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "easel", "always_online": True},
            "shortcuts": [_shortcut(name, kind, callback) for name, (kind, callback) in SHORTCUTS.items()],
            "slash_commands": [_slash_command(slash, name, events) for slash, name in SLASH_COMMANDS.items()],
        },
        "oauth_config": {**oauth, "scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**reached, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **reached},
            "org_deploy_enabled": False,
            "socket_mode_enabled": url is None,
            "token_rotation_enabled": False,
        },
    }


def _shortcut(name: str, kind: str, callback: str) -> dict[str, Any]:
    return {
        "name": say(f"slack.shortcut_{name}"),
        "type": kind,
        "callback_id": callback,
        "description": say(f"slack.shortcut_{name}_description"),
    }


def _slash_command(slash: str, name: str, url: str | None) -> dict[str, Any]:
    hint = COMMANDS[name].usage.partition(" ")[2]
    shown = {"command": slash, "description": say(f"command.{name}"), "should_escape": name in NAMING}
    return shown | ({"url": url} if url else {}) | ({"usage_hint": hint} if hint else {})


def written(url: str | None = None) -> str:
    """The manifest as YAML."""
    return HEADING + "".join(f"{line}\n" for line in _lines(manifest(url)))


def _lines(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A mapping as YAML; texts are in quotation marks as in JSON, which YAML includes."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield f"{indent}{name}:"
            yield from _lines(inner, indent + "  ")
        elif isinstance(inner, list):
            yield f"{indent}{name}:"
            for item in inner:
                lines = list(_lines(item)) if isinstance(item, dict) else [json.dumps(item)]
                yield f"{indent}  - {lines[0]}"
                yield from (f"{indent}    {line}" for line in lines[1:])
        else:
            yield f"{indent}{name}: {json.dumps(inner, ensure_ascii=False)}"
