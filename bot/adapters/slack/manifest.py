"""The app's manifest (docs.slack.dev/reference/app-manifest): what Slack has to know of the app, from the code.

Free of slack_sdk, so that it can be written before anything is set up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bot.adapters.slack.incoming import SHORTCUT, SLASH_COMMANDS
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
    "users:read",
)
"""What the bot may do; docs/slack.md says why it needs each."""
EVENTS = ("app_mention", "message.im")


def manifest() -> dict[str, Any]:
    """The manifest of an app that runs in Socket Mode."""
    return {
        "display_information": {
            "name": "Easel",
            "description": say("slack.app_description"),
            "background_color": "#4a148c",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "easel", "always_online": True},
            "shortcuts": [
                {
                    "name": say("slack.shortcut"),
                    "type": "message",
                    "callback_id": SHORTCUT,
                    "description": say("slack.shortcut_description"),
                }
            ],
            "slash_commands": [_slash_command(slash, name) for slash, name in SLASH_COMMANDS.items()],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {"bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True},
            "org_deploy_enabled": False,
            "socket_mode_enabled": True,
            "token_rotation_enabled": False,
        },
    }


def _slash_command(slash: str, name: str) -> dict[str, Any]:
    hint = COMMANDS[name].usage.partition(" ")[2]
    shown = {"command": slash, "description": say(f"command.{name}"), "should_escape": False}
    return shown | ({"usage_hint": hint} if hint else {})


def written() -> str:
    """The manifest as YAML."""
    return HEADING + "".join(f"{line}\n" for line in _lines(manifest()))


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
