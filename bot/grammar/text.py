r"""The text grammar: a prompt with flags around it, as people type it after a command.

    a red apple --size 512x768 --steps 20 --negative blurry, dark --no-watermark

A value that is a text runs to the next flag, or stands in quotation marks; in those, \" and \\ are a mark and a
backslash. A prompt that is one quotation is taken without its marks, so that any prompt can be written down. What
chat clients make of quotes and dashes is understood: “smart quotes”, and —steps for --steps.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot import messages
from bot.errors import BadInputError
from bot.grammar.options import (
    MAX_TEXT,
    OPTIONS,
    SIZE_FLAG,
    Given,
    Option,
    check,
    count_prompts,
    lines,
    read_size,
    size_twice,
)
from engine.types import ImageRequest

LONG_DASHES = "\N{EM DASH}\N{EN DASH}\N{MINUS SIGN}\N{HORIZONTAL BAR}\N{FIGURE DASH}"
DASHES = f"[{LONG_DASHES}-]"
CURLY = "“”„«»"
QUOTED = rf'"(?:[^"\\]++|\\.)*+"|[{CURLY}][^{CURLY}]*+[{CURLY}]|\'[^\']*+\'|\u2018[^\u2018\u2019]*+\u2019'
WORD = re.compile(rf"(?:{DASHES}{{1,3}}[A-Za-z][\w{LONG_DASHES}-]*+=)?(?:{QUOTED})(?!\S)|\S+", re.DOTALL)
FLAG = re.compile(rf"({DASHES}{{1,3}})([^\W\d_][^=]*)(=.*)?", re.DOTALL)
ESCAPED = re.compile(r'\\(["\\])')
BARE = re.compile(r"[^\W_][\w ,.;:()]*")
BARE_NAME = re.compile(r"\w[\w./-]*")

MAX_NAME = 40
"""Characters of a name that are compared with the known ones; longer ones are no typing errors."""
FREE_TEXT = frozenset({"negative_prompt", "watermark_text"})
"""Options whose value may be several words without quotation marks."""
VALUED: dict[str, Option] = {flag: option for option in OPTIONS.values() for flag in option.flags}
NEGATED: dict[str, Option] = {
    f"--no-{flag.removeprefix('--')}": option
    for option in OPTIONS.values()
    if option.kind == "boolean"
    for flag in option.flags
}
KNOWN = (SIZE_FLAG, *VALUED, *NEGATED)
FAMILIAR = frozenset(near for flag in KNOWN for near in (flag, f"{flag}s", flag[:-1] if len(flag) > 5 else flag))
"""Flags, and those with an s too many or a letter too few."""


def parse(text: str, locale: str = messages.ENGLISH) -> ImageRequest:
    """Read one picture from command text.

    Raises:
        BadInputError: with one sentence on the first mistake.
    """
    reader = _Reader(locale=locale).read(text)
    return check({"prompt": reader.prompt, **reader.values}, locale)


def parse_batch(text: str, limit: int, locale: str = messages.ENGLISH) -> tuple[ImageRequest, ...]:
    """Read a batch: one prompt a line, each with flags of its own; a first line of flags alone holds for all.

    Raises:
        BadInputError: no prompt, too many, or a mistake; a mistake in a prompt's line names the line.
    """
    rows = lines(_bounded(text, locale))
    first = _Reader(locale=locale).read(rows[0]) if rows else _Reader(locale=locale)
    shared = first.values if rows and not first.prompt else {}
    prompts = rows[1:] if shared else rows
    count_prompts(len(prompts), limit, locale)
    return tuple(_row(line, number, shared, locale) for number, line in enumerate(prompts, 1))


def _row(line: str, number: int, shared: dict[str, Given], locale: str) -> ImageRequest:
    try:
        reader = _Reader(locale=locale).read(line)
        return check({**shared, "prompt": reader.prompt, **reader.values}, locale)
    except BadInputError as error:
        sentence = messages.say("input.batch_line", locale, line=number, sentence=error.sentence)
        raise BadInputError(sentence) from error


def render(request: ImageRequest) -> str:
    """Write a request as command text; `parse` gives the same request back."""
    parts = [request.prompt if BARE.fullmatch(request.prompt) else _quoted(request.prompt)]
    for name, option in OPTIONS.items():
        value = getattr(request, name)
        if name != "prompt" and value != option.default:
            parts.append(_rendered(option, value))
    return " ".join(parts)


def _rendered(option: Option, value: object) -> str:
    if option.kind == "boolean":
        return option.flag if value else next(flag for flag, other in NEGATED.items() if other is option)
    text = str(value)
    bare = option.kind not in ("text", "color") or (option.name not in FREE_TEXT and BARE_NAME.fullmatch(text))
    return f"{option.flag} {text if bare else _quoted(text)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like what was given, if any does."""
    return next(iter(difflib.get_close_matches(given[:MAX_NAME].casefold(), list(known), n=1, cutoff=0.6)), None)


@dataclass(frozen=True, kw_only=True)
class _Token:
    text: str
    start: int
    end: int

    @property
    def quoted(self) -> bool:
        return re.fullmatch(QUOTED, self.text, re.DOTALL) is not None

    @property
    def flag(self) -> str | None:
        """The flag as it would be spelt if a chat client hadn't touched it; None for a word.

        One long dash before a word is common in prose, so it counts only before a flag's name, or nearly that.
        """
        match = FLAG.fullmatch(self.text)
        if match is None or match[1] == "-":
            return None
        name = re.sub(DASHES, "-", match[2]).replace("_", "-").casefold()
        prose = len(match[1]) == 1 and f"--{name}" not in FAMILIAR
        return None if prose else f"--{name}"

    @property
    def value(self) -> str | None:
        """What follows the = of a flag."""
        match = FLAG.fullmatch(self.text)
        return unquoted(match[3][1:]) if match and match[3] else None


def unquoted(text: str) -> str:
    """The text inside its quotation marks, or the text itself."""
    if not re.fullmatch(QUOTED, text, re.DOTALL):
        return text
    return ESCAPED.sub(r"\1", text[1:-1]) if text[0] == '"' else text[1:-1]


def _bounded(text: str, locale: str) -> str:
    if len(text) > MAX_TEXT:
        raise BadInputError(messages.say("input.too_long", locale, limit=MAX_TEXT))
    return text


@dataclass(kw_only=True)
class _Reader:
    """Walks over the words of a text once, and sorts them into prompt and values."""

    locale: str
    values: dict[str, Given] = field(default_factory=dict)
    prompt: str = ""
    _text: str = ""
    _sized: bool = False

    def read(self, text: str) -> _Reader:
        """Read everything; returns itself."""
        self._text = _bounded(text, self.locale)
        tokens = [_Token(text=m[0], start=m.start(), end=m.end()) for m in WORD.finditer(text)]
        loose: list[_Token] = []
        position = 0
        while position < len(tokens):
            token = tokens[position]
            position += 1
            name = token.flag
            if name is None:
                loose.append(token)
            elif token.value is not None:
                self._take(name, token.value)
            else:
                words = self._words_of(name, tokens, position)
                position += len(words)
                self._take(name, self._joined(words, value=True) if words else None)
        self.prompt = self._joined(loose)
        return self

    def _words_of(self, name: str, tokens: Sequence[_Token], start: int) -> Sequence[_Token]:
        """The words that are the value of the flag before them."""
        option = VALUED.get(name)
        if name not in KNOWN or name in NEGATED or (option and option.kind == "boolean"):
            return ()
        end = start
        while end < len(tokens) and tokens[end].flag is None:
            end += 1
            if tokens[start].quoted or option is None or option.name not in FREE_TEXT:
                break
        return tokens[start:end]

    def _joined(self, tokens: Sequence[_Token], *, value: bool = False) -> str:
        """The words with the spaces that stood between neighbours; one quotation loses its marks."""
        if len(tokens) == 1:
            return unquoted(tokens[0].text)
        if value:
            return self._text[tokens[0].start : tokens[-1].end]
        parts: list[str] = []
        for before, token in zip((None, *tokens), tokens, strict=False):
            gap = self._text[before.end : token.start] if before else ""
            parts += [gap if gap.isspace() else " " if before else "", token.text]
        return "".join(parts)

    def _take(self, name: str, value: str | None) -> None:
        """Note down one flag and its value, under the name of its field."""
        taken = self._understood(name, value)
        if self.values.keys() & taken.keys():
            twice = self._sized != (name == SIZE_FLAG) and bool({"width", "height"} & taken.keys())
            raise BadInputError(
                size_twice(self.locale) if twice else messages.say("input.repeated", self.locale, option=name)
            )
        self.values |= taken
        self._sized |= name == SIZE_FLAG

    def _understood(self, name: str, value: str | None) -> dict[str, Given]:
        if name not in KNOWN:
            raise BadInputError(self._unknown(name))
        option = VALUED.get(name) or NEGATED.get(name)
        if option is not None and option.kind == "boolean":
            if value is not None:
                raise BadInputError(
                    messages.say("input.no_value", self.locale, option=name, given=messages.quote(value))
                )
            return {option.name: name not in NEGATED}
        if value is None:
            raise BadInputError(messages.say("input.missing_value", self.locale, option=name))
        return {option.name: value} if option else dict(read_size(value, self.locale))

    def _unknown(self, name: str) -> str:
        near = nearest(name, KNOWN)
        if near is None:
            return messages.say("input.unknown_flag", self.locale, given=messages.quote(name))
        return messages.say("input.unknown_flag_near", self.locale, given=messages.quote(name), near=near)
