"""The slash commands as they are registered: derived from the options of a picture and the tables of commands.

Types and limits: discord.com/developers/docs/interactions/application-commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import discord

from bot import messages
from bot.grammar import OPTIONS, Option
from bot.handlers import cache, moderation
from bot.handlers.base import Command

SUBCOMMAND, STRING, INTEGER, BOOLEAN, USER, NUMBER = 1, 3, 4, 5, 6, 10
MAX_CHOICES = 25
MAX_DESCRIPTION = 100
SAFE_INTEGER = 2**53
"""Discord's integers are JavaScript's: a larger bound needs a string."""
SIZES = ("256x256", "512x512", "512x768", "768x512", "768x768", "1024x1024")
EVERYWHERE: dict[str, Any] = {"integration_types": [0, 1], "contexts": [0, 1, 2]}
"""Servers and people may install it; it works in servers, in messages with the bot, and in other ones."""
MODERATED: dict[str, Any] = {
    "integration_types": [0],
    "contexts": [0, 1],
    "default_member_permissions": discord.Permissions(manage_guild=True).value,
}
"""Shown to moderators; what they may do is checked at run time."""
KINDS = {"integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN}
PLACEHOLDER = re.compile(r"\[[^\]]+\]|[A-Z]+")
PERSON = "ID"
NAMES: dict[str, dict[str, str]] = {
    "cache": {"KEY": "target", "WORD": "target", PERSON: "target"},
    "moderation": {"REASON": "reason", PERSON: "person"},
}
"""What a placeholder of a command's usage is called by the command's handler; any other one is a length of time."""


def declared(styles: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The commands as Discord's API takes them."""
    job = _option("job", STRING, required=True, max_length=40)
    return [
        {**_command("imagine", picture_options(tuple(styles))), **EVERYWHERE},
        {**_command("batch"), **EVERYWHERE},
        {**_command("reroll", [job, _option("number", STRING, max_length=2)]), **EVERYWHERE},
        {**_command("history"), **EVERYWHERE},
        {**_command("show", [job]), **EVERYWHERE},
        {**_command("cancel", [job]), **EVERYWHERE},
        {**_command("quota"), **EVERYWHERE},
        {**_command("help"), **EVERYWHERE},
        {**_command("cache", _subcommands("cache", cache.ACTIONS)), **MODERATED},
        {**_command("moderation", _subcommands("moderation", moderation.ACTIONS)), **MODERATED},
    ]


def picture_options(styles: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Every option of a picture, the prompt first; `styles` are the names that this installation offers."""
    offered = {"style": styles}
    size = _option("size", STRING, messages.option_help("size"), choices=_choices(SIZES))
    options = [_picture_option(option, offered.get(option.name, option.choices)) for option in OPTIONS.values()]
    return [options[0], size, *options[1:]]


def _picture_option(option: Option, choices: tuple[str, ...]) -> dict[str, Any]:
    kind = KINDS.get(option.kind, STRING)
    if option.kind == "integer" and (option.high or 0) >= SAFE_INTEGER:
        kind = STRING
    bounds: dict[str, Any] = {}
    if kind in (INTEGER, NUMBER):
        bounds = {"min_value": option.low, "max_value": option.high}
    elif kind == STRING and 0 < len(choices) <= MAX_CHOICES:
        bounds = {"choices": _choices(choices)}
    elif option.limit:
        bounds = {"max_length": option.limit}
    bounds = {name: value for name, value in bounds.items() if value is not None}
    return _option(option.name, kind, messages.option_help(option.name), required=option.name == "prompt", **bounds)


def _choices(values: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": value, "value": value} for value in values]


def _subcommands(command: str, actions: Mapping[str, Command]) -> list[dict[str, Any]]:
    return [
        {
            "type": SUBCOMMAND,
            "name": name,
            "description": messages.say(f"action.{command}-{name}"),
            "options": [_argument(command, placeholder) for placeholder in _placeholders(row.usage)],
        }
        for name, row in actions.items()
    ]


def _placeholders(usage: str) -> list[str]:
    """`KEY` and `[WORD]` in `/cache show KEY` and `/cache list [WORD]`."""
    return PLACEHOLDER.findall(usage)


def _argument(command: str, placeholder: str) -> dict[str, Any]:
    inner = placeholder.strip("[]")
    name = NAMES[command].get(inner, "duration")
    return _option(name, USER if inner == PERSON else STRING, required=inner == placeholder)


def _command(name: str, options: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    description = messages.say(f"command.{name}")[:MAX_DESCRIPTION]
    return {"type": 1, "name": name, "description": description, "options": options or []}


def _option(name: str, kind: int, text: str | None = None, *, required: bool = False, **more: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    description = (text or messages.say(f"argument.{name}"))[:MAX_DESCRIPTION]
    return {"type": kind, "name": name, "description": description, "required": required, **more}
