"""What moderators type as the value of a community setting -> the value, or one sentence on the mistake."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bot import messages
from bot.community import MAX_LISTED, MAX_PICTURES, Community, Nsfw
from bot.errors import BadInputError
from bot.grammar.options import OPTIONS, check
from bot.grammar.text import nearest, parse

NAMES = tuple(Community.model_fields)
MENTION = re.compile(r"<(?:#|@&|!subteam\^)([\w.-]{1,64})(?:\|[^>]*)?>")
"""A channel, role or group as Discord and Slack write them into a text."""
WORD = re.compile(r"[^\s,]{1,200}")
NAME = ("#", "@", "<")
"""How a name begins that a chat shows, and knows nothing by."""
YES, NO = frozenset({"on", "yes", "true", "1"}), frozenset({"off", "no", "false", "0"})
PERSONAL = frozenset({"seed", "force", "private", "spoiler", "watermark"})
"""Options that make no sense as a default for everybody, or have a setting of their own."""


def setting_name(given: str, locale: str) -> str:
    """The name of a setting as it was typed.

    Raises:
        BadInputError: there is no such setting.
    """
    name = given.strip().casefold().replace("-", "_")
    if name in NAMES:
        return name
    near = nearest(name, NAMES)
    if near is None:
        known = ", ".join(NAMES)
        raise BadInputError(messages.say("setting.unknown", locale, given=messages.quote(given), known=known))
    raise BadInputError(messages.say("setting.unknown_near", locale, given=messages.quote(given), near=near))


def setting_value(name: str, given: str, locale: str) -> Any:  # noqa: ANN401  (whatever JSON holds)
    """The value of a setting as it was typed, ready to be stored as JSON.

    Raises:
        BadInputError: with one sentence that names the setting, what it takes and what was given.
    """
    text = given.strip()
    if not text:
        raise BadInputError(messages.say("setting.no_value", locale, name=name))
    reader = READERS.get(name)
    if reader is None:  # one of the visible mark, which the grammar of pictures knows
        return check({"prompt": "-", name: text}, locale).model_dump(mode="json")[name]
    return reader(name, text, locale)


def _options(_: str, text: str, locale: str) -> dict[str, Any]:
    """Flags without a prompt, as after /imagine."""
    try:
        request = parse(f". {text}", locale)
    except BadInputError as error:
        raise BadInputError(messages.say("setting.option", locale, sentence=error.sentence)) from error
    if request.prompt != ".":
        raise BadInputError(messages.say("setting.option_prompt", locale, given=messages.quote(request.prompt[1:])))
    given = request.model_dump(mode="json", exclude_unset=True, exclude={"prompt"})
    for name in given:
        if name in PERSONAL or name.startswith("watermark_"):
            raise BadInputError(messages.say("setting.option_personal", locale, option=OPTIONS[name].flag))
    return given


def _names(name: str, text: str, locale: str) -> list[str]:
    found = list(dict.fromkeys(WORD.findall(MENTION.sub(r"\1", text))))
    if not found or len(found) > MAX_LISTED:
        raise BadInputError(messages.say("setting.names", locale, name=name, limit=MAX_LISTED, count=len(found)))
    return found


def _ids(name: str, text: str, locale: str) -> list[str]:
    found = _names(name, text, locale)
    for word in found:
        _check_id(name, word, locale)
    return found


def _one(name: str, text: str, locale: str) -> str:
    found: list[str] = WORD.findall(MENTION.sub(r"\1", text))
    if len(found) != 1:
        raise BadInputError(messages.say("setting.one_name", locale, name=name, given=messages.quote(text)))
    _check_id(name, found[0], locale)
    return found[0]


def _check_id(name: str, word: str, locale: str) -> None:
    """Refuse a name, which would be like no id: with it for a channel, nobody could ask for pictures any more.

    Raises:
        BadInputError: it is one.
    """
    if word.startswith(NAME):
        raise BadInputError(messages.say("setting.by_name", locale, name=name, given=messages.quote(word)))


def _switch(name: str, text: str, locale: str) -> bool:
    word = text.casefold()
    if word not in YES | NO:
        raise BadInputError(messages.say("input.boolean", locale, option=name, given=messages.quote(text)))
    return word in YES


def _count(name: str, text: str, locale: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > MAX_PICTURES:
        values = {"low": 0, "high": MAX_PICTURES, "given": messages.quote(text)}
        raise BadInputError(messages.say("input.integer", locale, option=name, **values))
    return int(text)


def _nsfw(name: str, text: str, locale: str) -> str:
    word = text.casefold()
    if word not in tuple(Nsfw):
        values = {"choices": messages.listed(Nsfw), "given": messages.quote(text)}
        raise BadInputError(messages.say("input.choice", locale, option=name, **values))
    return word


READERS: dict[str, Callable[[str, str, str], Any]] = {
    "options": _options,
    "nsfw": _nsfw,
    "log_channel": _one,
    "models": _names,
    **dict.fromkeys(("channels", "roles"), _ids),
    **dict.fromkeys(("strict", "private", "spoiler", "previews"), _switch),
    **dict.fromkeys(("daily_pictures", "community_pictures"), _count),
}
