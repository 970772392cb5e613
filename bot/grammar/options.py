"""The options of a picture, read off ImageRequest, and the one sentence for each way of getting one wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from bot import messages
from bot.errors import BadInputError
from engine.types import Flags, ImageRequest

Kind = Literal["integer", "number", "choice", "boolean", "text", "color"]
Given = str | int | float | bool | None

MAX_TEXT = 60_000
"""Characters of one message that are read at all: the largest batch with room to spare."""
SIZE_FLAG = "--size"
SIZE = re.compile(r"\s*([0-9]{1,6})(?:\s*[x\u00d7*]\s*([0-9]{1,6}))?\s*", re.IGNORECASE)
EXAMPLE = "a red apple"
KINDS: dict[str, Kind] = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}
COLORS = frozenset({"watermark_color"})
INVISIBLE = messages.HIDDEN | {"Zs", "Mn", "Me"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option as people see it; bounds are None where it has none."""

    name: str
    flags: tuple[str, ...]
    """The canonical one first; empty for the prompt."""
    kind: Kind
    default: Any
    low: float | None = None
    high: float | None = None
    step: int | None = None
    limit: int | None = None
    """Characters."""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """How sentences name it."""
        return self.flags[0] if self.flags else self.name


def _declared() -> dict[str, Option]:
    schema = ImageRequest.model_json_schema()
    return {
        name: _option(name, schema["properties"][name], schema["$defs"])
        for name, field in ImageRequest.model_fields.items()
        if name == "prompt" or any(isinstance(mark, Flags) for mark in field.metadata)
    }


def _option(name: str, schema: dict[str, Any], shared: dict[str, Any]) -> Option:
    field = ImageRequest.model_fields[name]
    shape = schema | next((part for part in schema.get("anyOf", ()) if part != {"type": "null"}), {})
    if "$ref" in shape:
        shape |= shared[shape["$ref"].rpartition("/")[2]]
    kind: Kind = "choice" if "enum" in shape else "color" if name in COLORS else KINDS[shape["type"]]
    longest = [mark.max_length for mark in field.metadata if hasattr(mark, "max_length")]
    return Option(
        name=name,
        flags=next((mark.names for mark in field.metadata if isinstance(mark, Flags)), ()),
        kind=kind,
        default=field.default,
        low=shape.get("minimum"),
        high=shape.get("maximum"),
        step=shape.get("multipleOf"),
        limit=shape.get("maxLength", longest[0] if longest else None),
        choices=tuple(shape.get("enum", ())),
    )


OPTIONS: dict[str, Option] = _declared()
"""Every option that a person may write, by the name of its field, in the order of declaration.

What buttons and attachments set (variations, upscaling, a starting image) is none.
"""


def from_options(options: Mapping[str, Given], locale: str = messages.ENGLISH) -> ImageRequest:
    """Build a request from values by field name (and `size`), as platforms with typed options give them.

    Raises:
        BadInputError: with one sentence that names the option, its bounds and what was given.
    """
    values = {name: value for name, value in options.items() if value is not None}
    for name in values:
        if name not in OPTIONS and name != "size":
            raise BadInputError(messages.say("input.unknown_flag", locale, given=messages.quote(name)))
    if "size" in values:
        if "width" in values or "height" in values:
            raise BadInputError(size_twice(locale))
        values |= read_size(str(values.pop("size")), locale)
    return check(values, locale)


def batch_from_options(
    options: Mapping[str, Given], limit: int, locale: str = messages.ENGLISH
) -> tuple[ImageRequest, ...]:
    """Build the requests of a batch: `prompts` holds one a line, the other values are shared.

    Raises:
        BadInputError: no prompt, too many, or a mistake in one.
    """
    shared = {name: value for name, value in options.items() if name != "prompts"}
    prompts = lines(str(options.get("prompts") or ""))
    count_prompts(len(prompts), limit, locale)
    return tuple(from_options({**shared, "prompt": prompt}, locale) for prompt in prompts)


def lines(text: str) -> list[str]:
    """Lines that hold something, stripped."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return [line.strip() for line in unified.split("\n") if line.strip()]


def count_prompts(count: int, limit: int, locale: str) -> None:
    """Raise BadInputError unless a batch of so many prompts is allowed."""
    if count == 0:
        raise BadInputError(messages.say("input.no_prompts", locale))
    if count > limit:
        raise BadInputError(messages.say("input.too_many_prompts", locale, limit=limit, count=count))


def size_twice(locale: str) -> str:
    """The sentence for a size given in two ways."""
    names = {"size": SIZE_FLAG, "width": OPTIONS["width"].flag, "height": OPTIONS["height"].flag}
    return messages.say("input.size_twice", locale, **names)


def read_size(given: str, locale: str) -> dict[str, int]:
    """Read `512x768` (or with a multiplication sign) or `512` as width and height."""
    side = OPTIONS["width"]
    match = SIZE.fullmatch(given)
    sides = [int(part) for part in match.groups(match[1])] if match else []
    if not match or not all(_in_bounds(side, value) for value in sides):
        raise BadInputError(
            messages.say("input.size", locale, option=SIZE_FLAG, given=messages.quote(given), **_bounds(side))
        )
    return {"width": sides[0], "height": sides[1]}


def _in_bounds(option: Option, value: int) -> bool:
    return (option.low or 0) <= value <= (option.high or value) and value % (option.step or 1) == 0


def check(values: Mapping[str, Given], locale: str) -> ImageRequest:
    """Validate values by field name.

    Raises:
        BadInputError: with one sentence on the first mistake.
    """
    clean: dict[str, Given] = {}
    for option in OPTIONS.values():
        if option.name in values or option.name == "prompt":
            clean[option.name] = _cleaned(option, values.get(option.name, ""), locale)
    try:
        return ImageRequest.model_validate(clean)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = OPTIONS[str(problem["loc"][0])]
        raise BadInputError(_sentence(option, problem["input"], locale)) from error


def _cleaned(option: Option, value: Given, locale: str) -> Given:
    """Refuse what validation would let pass or would answer with a sentence of its own."""
    if option.kind == "boolean":
        return value.strip() if isinstance(value, str) else value
    if isinstance(value, bool):
        raise BadInputError(_sentence(option, value, locale))
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").strip()
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" for c in text):
        raise BadInputError(messages.say("input.control_characters", locale, option=_label(option, locale)))
    if not text and option.name not in ("prompt", "negative_prompt"):
        raise BadInputError(messages.say("input.missing_value", locale, option=option.flag))
    if option.name in ("prompt", "watermark_text") and not visible(text):
        raise BadInputError(_invisible(option, locale))
    return text.casefold() if option.kind == "choice" else text


def visible(text: str) -> bool:
    """Whether anything of it can be seen."""
    return any(unicodedata.category(c) not in INVISIBLE for c in text)


def _label(option: Option, locale: str) -> str:
    """How a sentence names the option; the prompt has no flag."""
    return option.flag if option.flags else messages.say("value.prompt", locale)


def _invisible(option: Option, locale: str) -> str:
    if option.name == "prompt":
        return messages.say("input.no_prompt", locale, example=EXAMPLE)
    return messages.say("input.invisible_text", locale, option=option.flag)


def _sentence(option: Option, given: object, locale: str) -> str:
    """What the option takes, and what was given."""
    if option.kind == "text" and isinstance(given, str):
        length = len(given.strip())
        return messages.say("input.text", locale, option=_label(option, locale), limit=option.limit, length=length)
    key = {"text": "text_kind", "integer": "multiple" if option.step else "integer"}.get(option.kind, option.kind)
    values = {"choices": messages.listed(option.choices), **_bounds(option)}
    label = _label(option, locale)
    return messages.say(f"input.{key}", locale, option=label, given=messages.quote(given), **values)


def _bounds(option: Option) -> dict[str, str]:
    parts = {"low": option.low, "high": option.high, "step": option.step}
    return {name: number(value) for name, value in parts.items() if value is not None}


def number(value: float) -> str:
    """A bound without needless decimals."""
    return str(value) if isinstance(value, int) else f"{value:g}"
