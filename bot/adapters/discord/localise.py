"""The names and descriptions of commands and options in Discord's own languages, from whatever catalogues there are.

Discord picks by the language of each person's client (discord.com/developers/docs/reference, Locales).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import discord

from bot import messages

MAX_DESCRIPTION = 100
NAME = re.compile(r"[\w'-]{1,32}")
"""What Discord takes for the name of a command or an option; lower case where its script has two cases."""


@cache
def locales() -> dict[str, str]:
    """Discord's codes of languages that have a catalogue of their own, and that catalogue's name."""
    found = {locale.value: messages.language(locale.value) for locale in discord.Locale}
    return {code: name for code, name in found.items() if name != messages.ENGLISH}


def is_name(text: str) -> bool:
    """Whether Discord takes a text for the name of a command or an option."""
    return NAME.fullmatch(text) is not None and text == text.lower()


def names(name: str) -> dict[str, Any]:
    """The name of a command or an option, and what it is called in other languages."""
    found = {
        code: text
        for code, locale in locales().items()
        if (text := messages.catalogue(locale).get(f"discord_name.{name.replace('-', '_')}", name)) != name
    }
    return {"name": name} | ({"name_localizations": found} if found else {})


def title(key: str) -> dict[str, Any]:
    """The name of a context menu, which is a sentence."""
    return {"name": messages.say(key)} | _others("name", lambda locale: messages.say(key, locale))


def choice(value: str) -> dict[str, Any]:
    """A value to pick, and what it is called in other languages."""
    english = messages.choice(value)
    found = {code: text for code, locale in locales().items() if (text := messages.choice(value, locale)) != english}
    return {"name": english, "value": value} | ({"name_localizations": found} if found else {})


def description(of: Callable[[str], str]) -> dict[str, Any]:
    """What a command or an option is for; `of` says it in a language."""
    english = {"description": messages.shorten(of(messages.ENGLISH), MAX_DESCRIPTION)}
    return english | _others("description", lambda locale: messages.shorten(of(locale), MAX_DESCRIPTION))


def _others(field: str, of: Callable[[str], str]) -> dict[str, Any]:
    found = {code: of(locale) for code, locale in locales().items()}
    return {f"{field}_localizations": found} if found else {}
