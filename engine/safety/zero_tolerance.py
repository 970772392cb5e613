"""What is refused in every mode and can't be allowed away: sexual content that involves minors."""

from __future__ import annotations

import re
from functools import lru_cache

from engine.safety.keywords import innocent_phrases
from engine.safety.lexicon import Lexicon, sections
from engine.safety.normalise import Views

DATA = "zero_tolerance.txt"
CATEGORY = "sexual-minors"
NUDITY = "nudity"
"""Category of a prompt whose negative prompt takes the clothes off somebody; left to the policy."""

_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
)
_MINOR_AGE = rf"(?<![\w.])(?:1[0-7]|0?[1-9]|{_NUMBER_WORDS})"
_AGE = re.compile(
    rf"{_MINOR_AGE}[\W_]{{0,3}}(?:years?|yrs?|y|months?|weeks?)[\W_]{{0,3}}(?:old|olds|o|of[\W_]age)(?![^\W_])"
    rf"|(?<![^\W_])ages?d?[\W_]{{0,3}}(?:of[\W_])?{_MINOR_AGE}(?![^\W_])"
    rf"|(?<![^\W_])(?:under|below|younger[\W_]than)[\W_]{{0,3}}(?:the[\W_]age[\W_]of[\W_])?(?:18|eighteen)(?![^\W_])"
    rf"|{_MINOR_AGE}[\W_]?(?:yo|yr)(?![^\W_])"
)

_AGE_WORDS = ("year", "yr", "month", "week", "age", "under", "below", "younger")
_AGE_LETTERS = re.compile(r"y[\W_]{0,3}o")


@lru_cache(maxsize=1)
def _lexicon() -> Lexicon:
    lists = sections(DATA)
    innocent = (*innocent_phrases(), *lists.pop("innocent"))
    return Lexicon(lists, innocent)


def _classes(text: Views) -> frozenset[str]:
    found = _lexicon().find_in(text)
    return found | {"minor"} if _tells_age(text.plain) else found


def _tells_age(text: str) -> bool:
    """Whether a text gives an age under 18; most hold nothing that could, which is quickly seen."""
    hinted = any(word in text for word in _AGE_WORDS) or _AGE_LETTERS.search(text)
    return bool(hinted and _AGE.search(text))


def judge(prompt: Views, negative: Views) -> str | None:
    """CATEGORY for sexual content that involves minors, NUDITY for an adult without clothes by a detour, or None.

    A negative prompt is read for what its absence would make of the picture: naming what is unwanted there is
    protection, asking for "clothes" or "adult" to be absent isn't.
    """
    wanted, unwanted = _classes(prompt), _classes(negative)
    if "alone" in wanted or {"minor", "sexual"} <= wanted:
        return CATEGORY
    if ("minor" in wanted and "covering" in unwanted) or ("sexual" in wanted and "adult" in unwanted):
        return CATEGORY
    return NUDITY if "person" in wanted and "covering" in unwanted else None
