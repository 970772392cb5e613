"""The slash commands as they are registered: derived from the options of a picture and the tables of commands.

Types and limits: discord.com/developers/docs/interactions/application-commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import discord

from bot import messages
from bot.adapters.discord import localise
from bot.adapters.discord.incoming import ATTACHMENT
from bot.chat import Role
from bot.grammar import OPTIONS, Option
from bot.handlers import cache, communities, moderation
from bot.handlers.base import Command
from bot.handlers.table import COMMANDS

SUBCOMMAND, STRING, INTEGER, BOOLEAN, USER, NUMBER = 1, 3, 4, 5, 6, 10
MESSAGE_MENU = 3
MAX_CHOICES = 25
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
SUGGESTED = frozenset({"prompt", "model", "sampler", "style"})
"""Options of a picture that are completed while they are typed."""
FROM_IMAGE = frozenset({"strength"})
"""Options of a picture that mean something only where people may send images."""
MENUS = ("show", "remix", "report")
"""What a message's own menu offers."""

PLACEHOLDER = re.compile(r"\[[^\]]+\]|[A-Z]+")
NAMES = {
    "JOB": "job",
    "NUMBER": "number",
    "REASON": "reason",
    "KEY": "target",
    "WORD": "target",
    "NAME": "name",
    "VALUE": "value",
}
"""What a placeholder of a command's usage is called by the command's handler."""
IDS = {"cache": "target", "moderation": "person"}
"""What an ID is called."""
NOBODYS = frozenset({"allow", "deny", "dismiss", "appeals", "reports"})
"""Actions whose ID isn't a person's."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "job": {"type": STRING, "max_length": 40},
    "number": {"type": INTEGER, "min_value": 1, "max_value": 20},
    "reason": {"type": STRING, "max_length": 300},
    "target": {"type": STRING, "max_length": 100},
    "name": {"type": STRING, "max_length": 100, "autocomplete": True},
    "value": {"type": STRING, "max_length": 400},
    "duration": {"type": STRING, "max_length": 10},
}
ACTIONS: dict[str, Mapping[str, Command]] = {
    "settings": communities.ACTIONS,
    "cache": cache.ACTIONS,
    "moderation": moderation.ACTIONS,
}
"""Commands with actions, which are subcommands here."""
FILES = {"verify": "file"}
"""Commands that take a file."""


def declared(*, images: bool = False) -> list[dict[str, Any]]:
    """The commands as Discord's API takes them; `images` says whether people may start from images of theirs."""
    return [*(_declared(name, row, images=images) for name, row in COMMANDS.items()), *map(_menu, MENUS)]


def _declared(name: str, row: Command, *, images: bool) -> dict[str, Any]:
    if name == "imagine":
        options = picture_options(images=images)
    elif name == "batch":
        options = []
    elif name in ACTIONS:
        options = [_subcommand(name, action, inner) for action, inner in ACTIONS[name].items()]
    elif name in FILES:
        options = [_argument_option(FILES[name], {"type": ATTACHMENT}, required=True)]
    else:
        options = _arguments(name, "", row.usage)
    where = MODERATED if row.role is not Role.MEMBER else EVERYWHERE
    about = localise.description(lambda locale: messages.say(f"command.{name}", locale))
    return {"type": 1, **localise.names(name), **about, "options": options, **where}


def _menu(name: str) -> dict[str, Any]:
    return {"type": MESSAGE_MENU, **localise.title(f"discord.menu_{name}"), **EVERYWHERE}


def menu_of(title: str) -> str | None:
    """The menu with this title."""
    return next((name for name in MENUS if messages.say(f"discord.menu_{name}") == title), None)


def picture_options(*, images: bool = False) -> list[dict[str, Any]]:
    """Every option of a picture that may be picked, the prompt first."""
    size = {"type": STRING, "choices": _choices(SIZES)}
    prompt, *others = (_picture_option(option) for option in OPTIONS.values() if images or not _needs_image(option))
    image = [_argument_option("image", {"type": ATTACHMENT})] if images else []
    return [prompt, _option("size", size, partial(messages.option_help, "size")), *image, *others]


def _needs_image(option: Option) -> bool:
    return option.name in FROM_IMAGE


def _picture_option(option: Option) -> dict[str, Any]:
    kind = KINDS.get(option.kind, STRING)
    if option.kind == "integer" and (option.high or 0) >= SAFE_INTEGER:
        kind = STRING
    shape: dict[str, Any] = {"type": kind}
    if kind in (INTEGER, NUMBER):
        shape |= {"min_value": option.low, "max_value": option.high}
    elif option.name in SUGGESTED:
        shape |= {"autocomplete": True, "max_length": option.limit}
    elif 0 < len(option.choices) <= MAX_CHOICES:
        shape |= {"choices": _choices(option.choices)}
    else:
        shape |= {"max_length": option.limit}
    shape = {name: value for name, value in shape.items() if value is not None}
    about = partial(messages.option_help, option.name)
    return _option(option.name, shape, about, required=option.name == "prompt")


def _choices(values: Iterable[str]) -> list[dict[str, Any]]:
    return [localise.choice(value) for value in values]


def _subcommand(command: str, action: str, row: Command) -> dict[str, Any]:
    about = localise.description(lambda locale: messages.say(f"action.{command}-{action}", locale))
    options = _arguments(command, action, row.usage)
    return {"type": SUBCOMMAND, **localise.names(action), **about, "options": options}


def _arguments(command: str, action: str, usage: str) -> list[dict[str, Any]]:
    """`KEY` and `[WORD]` in `/cache show KEY` and `/cache list [WORD]`; what is asked by a button is left out."""
    found = (_argument(command, action, placeholder) for placeholder in PLACEHOLDER.findall(usage))
    return [option for option in found if option is not None]


def _argument(command: str, action: str, placeholder: str) -> dict[str, Any] | None:
    inner = placeholder.strip("[]")
    required = inner == placeholder
    if inner == "ID":
        kind = {"type": STRING, "max_length": 40} if action in NOBODYS else {"type": USER}
        return _argument_option(IDS[command], kind, required=required)
    if inner in NAMES:
        return _argument_option(NAMES[inner], ARGUMENTS[NAMES[inner]], required=required)
    if inner[:1].isdigit():
        return _argument_option("duration", ARGUMENTS["duration"], required=required)
    words = inner.split("|")
    return _argument_option("strength", {"type": STRING, "choices": _choices(words)}) if len(words) > 1 else None


def _argument_option(name: str, shape: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    return _option(name, shape, lambda locale: messages.say(f"argument.{name}", locale), required=required)


def _option(
    name: str, shape: Mapping[str, Any], help_in: Callable[[str], str], *, required: bool = False
) -> dict[str, Any]:
    """One option; `help_in` says in a language what it is for."""
    return {**shape, **localise.names(name), **localise.description(help_in), "required": required}
