"""What is refused in every mode and can't be allowed away: sexual content that involves minors."""

from __future__ import annotations

import re
from functools import lru_cache

from engine.safety.automaton import Automaton
from engine.safety.keywords import innocent_phrases
from engine.safety.lexicon import Entry, Lexicon, canonical, sections
from engine.safety.normalise import Views

DATA = "zero_tolerance.txt"
CATEGORY = "sexual-minors"
NUDITY = "nudity"
"""Category of a prompt whose negative prompt takes the clothes off somebody; left to the policy."""

_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
)
_MINOR_AGE = rf"(?<![\w.])(?:1[0-7]|0?[1-9]|{_NUMBER_WORDS})"
# It begins with a set of characters, not with a look behind, so that the search skips all others.
_AGE = re.compile(
    rf"[0-9abefnostuy](?<![^\W_].)(?<=(?=(?:{_MINOR_AGE}[\W_]{{0,3}}(?:years?|yrs?|y|months?|weeks?)[\W_]{{0,3}}(?:old|olds|o|of[\W_]age)"
    rf"|ages?d?[\W_]{{0,3}}(?:of[\W_])?{_MINOR_AGE}"
    rf"|(?:under|below|younger[\W_]than)[\W_]{{0,3}}(?:the[\W_]age[\W_]of[\W_])?(?:18|eighteen)"
    rf"|{_MINOR_AGE}[\W_]?(?:yo|yr))(?![^\W_])).)"
)

GLUED = frozenset({"minor", "sexual"})
_ROOM_FOR_TWO = re.compile(r"\w{7,}")
_END = "\n"
_AGE_IN_WORD = re.compile(r"(?<!\d)(?:1[0-7]|0?[1-9])(?:years?|yrs?)old")
_A_MINOR = "child"
_OLD_IN_WORD = ("yearold", "yearsold", "yrold", "yrsold")
_AGE_WORDS = ("year", "yr", "month", "week", "age", "under", "below", "younger")
_AGE_LETTERS = re.compile(r"y[\W_]{0,3}o(?:lds?|f[\W_]age)?(?![^\W_])")


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The words by what they say: "alone", "minor", "sexual", "person", "adult", "covering".

    Raises:
        OSError: the list can't be read.
    """
    lists = sections(DATA)
    del lists["glued"]
    innocent = (*innocent_phrases(), *lists.pop("innocent"))
    return Lexicon(lists, innocent)


def classes(text: Views, words: frozenset[str]) -> frozenset[str]:
    """What a text says, by the `words` of the lexicon that it holds, the ages that it tells, and words in one."""
    found = words | {"minor"} if _tells_age(text.plain) else words
    return found | _glued(text.plain)


@lru_cache(maxsize=1)
def _parts() -> tuple[list[Entry], Automaton]:
    """Words of minors, phrases without their spaces, and sexual ones, of which two may be written as one."""
    minors = [Entry(entry.text.replace(" ", ""), "minor") for entry in lexicon().entries if entry.category == "minor"]
    parts = [*minors, *(Entry(canonical(word), "sexual") for word in sections(DATA)["glued"])]
    return parts, Automaton([entry.places() for entry in parts], anywhere=True)


def _glued(text: str) -> frozenset[str]:
    """Both classes where one word holds a word of each, as nakedchild does: models read it as two."""
    words = _END.join((*_ROOM_FOR_TWO.findall(text), ""))
    if _may_hold_age(words):
        words = _AGE_IN_WORD.sub(_A_MINOR, words)
    parts, automaton = _parts()
    word_end, first_ends = -1, dict[str, int]()
    for number, end in automaton.ends(words):
        if end > word_end:
            word_end, first_ends = words.index(_END, end), {}
        part = parts[number]
        if any(part.category != other and ended <= end - len(part.text) for other, ended in first_ends.items()):
            return GLUED
        first_ends.setdefault(part.category, end)
    return frozenset()


def _tells_age(text: str) -> bool:
    """Whether a text gives an age under 18; most hold nothing that could, which is quickly seen."""
    hinted = any(word in text for word in _AGE_WORDS) or _AGE_LETTERS.search(text)
    return bool((hinted and _AGE.search(text)) or (_may_hold_age(text) and _AGE_IN_WORD.search(text)))


def _may_hold_age(text: str) -> bool:
    """Whether a text could give an age within a word, which is quickly seen."""
    return any(word in text for word in _OLD_IN_WORD)


def judge(wanted: frozenset[str], unwanted: frozenset[str]) -> str | None:
    """CATEGORY for sexual content that involves minors, NUDITY for an adult without clothes by a detour, or None.

    `wanted` and `unwanted` are the classes of a prompt and of its negative prompt. A negative prompt is read for what
    its absence would make of the picture: naming what is unwanted there is protection, asking for "clothes" or "adult"
    to be absent isn't.
    """
    if "alone" in wanted or {"minor", "sexual"} <= wanted:
        return CATEGORY
    if ("minor" in wanted and "covering" in unwanted) or ("sexual" in wanted and "adult" in unwanted):
        return CATEGORY
    return NUDITY if "person" in wanted and "covering" in unwanted else None
