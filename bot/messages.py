"""Every sentence that a person can see.

The sentences themselves are data: one file a language in `bot/languages`, all with the same keys and holes. `say`
fills one in; the functions below it build the answers that take more than that. Everything is plain text: mentions
and markup are the adapters' business. A locale that is not offered falls back to its language, then to that of another
country, then to English.
"""

from __future__ import annotations

import math
import re
import string
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from engine.types import BLOCKED_WORD, Cached, Image, ImageRequest, Layer, Note, Progress, Stage

ENGLISH = "en"
SHOWN = 40
"""Characters of what a person typed that an error repeats."""
MAX_ALT = 1024
"""Characters of alternative text that every platform takes (Discord's limit is the lowest)."""
BAR = 12
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that are shown escaped: they could move the cursor, turn the line around or hide."""
QUARANTINED = "quarantined"
"""The category of pictures that a moderator withholds."""
SPECIAL = (BLOCKED_WORD, QUARANTINED)
"""Categories whose refusals have a sentence of their own."""
NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
JOINERS = "\u200c\u200d"
"""Format characters that Persian, Indic scripts and emoji need, and that do no harm."""


class _Filler(string.Formatter):
    """Fills holes; `{n:one|many}` chooses by number, and # stands for the number.

    Args:
        singular: numbers that take the first form in this language.
    """

    def __init__(self, *singular: int) -> None:
        self._singular = singular

    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401  (the signature of string.Formatter)
        if "|" not in format_spec:
            return str(super().format_field(value, format_spec))
        one, many = format_spec.split("|")
        return (one if value in self._singular else many).replace("#", str(value))


FILLER = _Filler(1)
FILLERS = {"fr": _Filler(0, 1), "pt-BR": _Filler(0, 1)}
"""Locales with a rule of their own: a French or Brazilian zero is singular (Unicode CLDR, plural rules)."""


@cache
def offered() -> tuple[str, ...]:
    """Locales that have a file, such as `en`."""
    files = (resources.files("bot") / "languages").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


@cache
def catalogue(locale: str) -> dict[str, str]:
    """Sentences of an offered locale by key, `section.name`."""
    text = (resources.files("bot") / "languages" / f"{locale}.toml").read_text("utf-8")
    return {f"{section}.{name}": line for section, lines in tomllib.loads(text).items() for name, line in lines.items()}


@cache
def language(locale: str) -> str:
    """The offered locale that serves this one best: for `pt-PT` itself, then `pt`, then any `pt-…`, then English."""
    known = {name.casefold(): name for name in offered()}
    wanted = locale.casefold().replace("_", "-")
    spoken = wanted.partition("-")[0]
    related = (name for key, name in known.items() if key.partition("-")[0] == spoken)
    return known.get(wanted) or known.get(spoken) or next(related, ENGLISH)


def say(key: str, locale: str = ENGLISH, /, **values: object) -> str:
    """The sentence of this key, its holes filled.

    Raises:
        KeyError: there is no such sentence, or a hole is left open; both are faults of the caller.
    """
    chosen = language(locale)
    return FILLERS.get(chosen, FILLER).format(catalogue(chosen)[key], **values)


def choice(value: str, locale: str = ENGLISH) -> str:
    """What one of an option's values is called in a list to pick from; samplers and the like keep their names."""
    return catalogue(language(locale)).get(f"choice.{value}", value)


def printable(text: str, keep: str = "") -> str:
    """The text with every control, direction and private character escaped, except joiners and those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    kept = JOINERS + keep
    return "".join(c if c in kept or unicodedata.category(c) not in HIDDEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shorten(text: str, limit: int) -> str:
    """The text on one line, printable, cut to `limit` characters."""
    line = printable(" ".join(text[: 4 * limit + 4].split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def quote(given: object) -> str:
    """What a person gave, fit to be repeated in a sentence: printable, short, in quotation marks unless a number."""
    text = shorten(str(given), SHOWN)
    return text if NUMBER.fullmatch(text) else f'"{text}"'


def listed(names: Iterable[str]) -> str:
    """Names with commas between them."""
    return ", ".join(shorten(name, SHOWN) for name in names)


def duration(seconds: float, locale: str = ENGLISH) -> str:
    """A length of time in its largest unit, rounded up."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return say(f"duration.{unit}", locale, n=math.ceil(seconds / length))
    return say("duration.seconds", locale, n=max(1, math.ceil(seconds)))


def bytes_text(size: int) -> str:
    """A number of bytes in a unit that suits it."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def dollars(amount: float) -> str:
    """Money, in cents; less than a dollar in tenths of one, less than a cent in hundredths."""
    digits = 2 if amount >= 1 or not amount else 3 if amount >= 0.01 else 4
    return f"${amount:.{digits}f}"


def queued(job: str, pictures: int, position: int, eta_seconds: float | None = None, locale: str = ENGLISH) -> str:
    """The job is accepted, and its place in the queue."""
    key = "queued.waiting" if position else "queued.next"
    text = say(key, locale, job=job, pictures=pictures, position=position)
    return f"{text} {_eta(eta_seconds, locale)}".rstrip()


def working(progress: Progress, pictures: int = 1, eta_seconds: float | None = None, locale: str = ENGLISH) -> str:
    """How far a picture has come, with a bar made of text."""
    bar = text_bar(progress.step, progress.steps)
    text = say(f"working.{stage_name(progress)}", locale, bar=bar, step=progress.step, steps=progress.steps)
    if pictures > 1:
        text = say("working.of_many", locale, number=progress.index + 1, pictures=pictures, text=text)
    return f"{text} {_eta(eta_seconds, locale) if progress.stage is Stage.DRAWING else ''}".rstrip()


def stage_name(progress: Progress) -> str:
    """The stage as its sentences are named: `starting` while it isn't known how many steps there will be."""
    return "starting" if progress.stage is Stage.DRAWING and not progress.steps else progress.stage


def text_bar(step: int, steps: int, width: int = BAR) -> str:
    """A bar of `width` characters, filled as far as the steps are done."""
    done = width * min(step, steps) // max(steps, 1)
    return "█" * done + "░" * (width - done)


def _eta(seconds: float | None, locale: str) -> str:
    return "" if seconds is None else say("queued.eta", locale, duration=duration(seconds, locale))


def refusal(layer: Layer, categories: Sequence[str], index: int = 0, pictures: int = 1, locale: str = ENGLISH) -> str:
    """Which layer refused a picture, why, and what the person can do."""
    named = listed(categories) or say("refusal.unnamed", locale)
    special = next((category for category in SPECIAL if category in categories), layer)
    return _numbered(say(f"refusal.{special}", locale, categories=named), index, pictures, locale)


def failure(sentence: str, index: int = 0, pictures: int = 1, locale: str = ENGLISH) -> str:
    """A picture could not be drawn, and the engine's sentence on it."""
    return _numbered(say("failure.picture", locale, sentence=sentence), index, pictures, locale)


def _numbered(text: str, index: int, pictures: int, locale: str) -> str:
    if pictures == 1:
        return text
    return say("failure.of_many", locale, number=index + 1, pictures=pictures, text=text)


def note(remark: Note, locale: str = ENGLISH) -> str:
    """One remark of the engine on a picture, as a sentence."""
    return say(f"note.{remark.code}", locale, detail=shorten(remark.detail, 100))


def banned(reason: str, seconds_left: float | None, locale: str = ENGLISH) -> str:
    """The refusal that a banned person reads; None is a ban without an end."""
    why = shorten(reason, 200) or say("ban.no_reason", locale)
    if seconds_left is None:
        return say("ban.refused", locale, reason=why)
    return say("ban.refused_until", locale, reason=why, duration=duration(seconds_left, locale))


def caption(image: Image, locale: str = ENGLISH) -> str:
    """The quiet line under a picture: what it takes to get it again, and what it took to make."""
    request = image.request
    width, height = request.output_size
    parts = [
        say("caption.seed", locale, seed=request.seed),
        say("caption.size", locale, width=width, height=height),
        say("caption.steps", locale, steps=request.steps),
        shorten(request.model, SHOWN),
        *([shorten(request.style, SHOWN)] if request.style else []),
    ]
    if image.cached is not Cached.NONE:
        parts.append(say("caption.cached", locale))
    else:
        parts.append(say("caption.seconds", locale, seconds=f"{_spent(image):.1f}"))
    if image.cost is not None:
        parts.append(say("caption.cost", locale, dollars=dollars(image.cost.dollars)))
    return " · ".join(parts)


def _spent(image: Image) -> float:
    """Seconds from the order to the file; the sum of the stages where the engine gives no total."""
    return image.seconds.get("total") or sum(image.seconds.values())


def alt_text(request: ImageRequest, locale: str = ENGLISH) -> str:
    """What a screen reader says of a picture; at most 1024 characters."""
    return shorten(say("alt.prompt", locale, prompt=request.prompt), MAX_ALT)


def option_help(name: str, locale: str = ENGLISH) -> str:
    """What an option does. English comes from the declaration itself, other languages from their file."""
    field = ImageRequest.model_fields.get(name)
    fallback = field.description if field else None
    return catalogue(language(locale)).get(f"option.{name}") or fallback or ""


def setting_help(name: str, locale: str = ENGLISH) -> str:
    """What a community's setting does."""
    return say(f"setting_help.{name}", locale)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], locale: str = ENGLISH, width: int = 48) -> str:
    """Rows under translated headings, padded with spaces; each cell is one printable line of at most `width`."""
    head = [say(f"column.{column}", locale) for column in columns]
    cells = [head, *([shorten(str(cell), width) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
