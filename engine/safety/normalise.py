"""What a text reads like once its disguises are off: look-alike letters, marks, prompt weights, spelling out.

Two levels. `fold` undoes what Unicode allows (one letter for every letter that looks like it); `views` undoes what
people do with punctuation. Symbols that can stand for several letters (1 for i and l) stay as they are: `LEET` and
`AMBIGUOUS` list them, and `engine.safety.lexicon` tries every reading. All of it takes time linear in the text.
"""

# ruff: noqa: RUF001  (a table of characters that are mistaken for others holds such characters)

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, count
from operator import ne

LOOKALIKES = {
    "a": "аαɑᴀɐⱥᗅ🅐🅰🇦ᎪꭺА",
    "b": "вьЬᴃʙƀɓβƅᏴ🅑🅱🇧ꮟᛒ",
    "c": "сϲᴄƈȼɔᏟ🅒🅲🇨ⲥꮯ",
    "d": "ԁᴅđɖɗƌᎠ🅓🅳🇩ⅾꭰ",
    "e": "еєэεɛəɘᴇɇҽᎬ🅔🅴🇪℮ꭼ∈",
    "f": "ƒꜰғɟϝẝ🅕🅵🇫ꬵꞙ",
    "g": "ԍɡɢǥɠցᏀ🅖🅶🇬ꮐ",
    "h": "һнħʜɦհђћᎻН🅗🅷🇭Η",
    "i": "іιıɪɨӀꙇᎥ🅘🅸🇮Ι",
    "j": "јʝɉᴊյᎫ🅙🅹🇯ϳ",
    "k": "кκᴋƙқҡᏦ🅚🅺🇰ⲕ",
    "l": "ӏłʟƚɭɫᏞ🅛🅻🇱ⅼ",
    "m": "мᴍɱᎷ🅜🅼🇲ⅿΜ",
    "n": "ոɴɲŋƞղռ🅝🅽🇳Ν",
    "o": "оοօᴏøɵס๐ⲟ🅞🅾🇴Ο",
    "p": "рρᴘƥᴩᏢ🅟🅿🇵ⲣΡ",
    "q": "ԛզɋʠգ🅠🆀🇶",
    "r": "ʀɍɾɼᴦᴙᏒ🅡🆁🇷ꭇ",
    "s": "ѕꜱʂȿᏕ🅢🆂🇸ꮪ",
    "t": "тτᴛŧƭʈᎢ🅣🆃🇹ⲧ",
    "u": "ᴜʉսʊցџ🅤🆄🇺",
    "v": "ѵᴠʋⱱᏙ🅥🆅🇻ⅴ",
    "w": "ԝᴡʍաᎳ🅦🆆🇼ⱳѡ",
    "x": "хχᕁ×ⅹ🅧🆇🇽",
    "y": "ʏγɏƴყүỿ🅨🆈🇾Υ",
    "z": "ᴢʐƶȥζᏃ🅩🆉🇿",
    "ae": "æ",
    "oe": "œ",
    " ": "\u2800",
    "'": "‘’‛ʼ`´",
    '"': "“”„«»",
    "-": "‐‑‒–—―−",
}
"""Letters that are drawn like a Latin one and like no other; the compatibility forms are Unicode's own business."""

LEET = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "69",
    "i": "1!|",
    "l": "1!|",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
}
"""Digits and symbols that are written for a letter."""

AMBIGUOUS = {
    "a": "λ",
    "b": "б6",
    "c": "ςσ",
    "d": "δд",
    "e": "зξ",
    "f": "φ",
    "h": "η",
    "l": "λ",
    "m": "μ",
    "n": "ηνπпи",
    "o": "σθφ",
    "p": "п",
    "r": "гя",
    "s": "σς",
    "u": "υμуци",
    "v": "νυ",
    "w": "ωшщ",
    "y": "υу",
}
"""Letters that can be taken for more than one Latin letter."""

LONGEST_RUN = 3
"""Equal characters in a row that `views` keeps; no word has more."""
NEIGHBOURS = 3
"""Words on either side that `Views.changed` keeps: those of a phrase of four."""
WIDEST_GAP = 3
"""Characters that may stand between two words of a phrase."""

_DROPPED_CATEGORIES = frozenset({"Mn", "Me", "Cf", "Cc", "Cn", "Co", "Cs"})
"""Marks, format and control characters, and what has no form of its own: unassigned, private, half a character."""
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"
_KEPT = 0x20000
"""Code points below are remembered in tables, the rest are rare and many."""


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _DROPPED_CATEGORIES and not letter.isspace()


class _Marks(dict[int, int | None]):
    """A table for str.translate that drops marks, format characters and whatever else can't be seen."""

    def __missing__(self, code: int) -> int | None:
        kept = None if _is_hidden(chr(code)) else code
        if code < _KEPT:
            self[code] = kept
        return kept


_MOST_PASSES = 4
"""A letter's look-alike may have a decomposition in its turn; two passes settle all that exist."""
_MARKS = _Marks()
_LETTERS = str.maketrans({look: letter for letter, looks in LOOKALIKES.items() for look in looks})
_LETTERS.update(str.maketrans(dict.fromkeys(_INVISIBLE_LETTERS, "")))


def _fold_once(text: str) -> str:
    bare = unicodedata.normalize("NFKD", text.translate(_LETTERS)).translate(_MARKS)
    return unicodedata.normalize("NFKC", bare).translate(_LETTERS).casefold().translate(_LETTERS)


def _settled(step: Callable[[str], str], text: str) -> str:
    """What a step makes of a text once it changes nothing any more."""
    for _ in range(_MOST_PASSES):
        text, before = step(text), text
        if text == before:
            break
    return text


_UNSEEN = "\0"
"""Stands for what can't be seen until it is known whether it parts words; `fold` leaves none."""


class _Letters(dict[int, str]):
    """A table for str.translate that folds letter by letter, each the first time it is met."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        if _is_hidden(letter):
            folded = _UNSEEN
        elif code >= _KEPT and not unicodedata.decomposition(letter):
            folded = letter  # Han, without case
        else:
            folded = _settled(_fold_once, letter)
        if code < _KEPT:
            self[code] = folded
        return folded


_FOLDED = _Letters()


def fold(text: str) -> str:
    """The text in small Latin letters as far as it looks like them; other scripts stay, without their marks."""
    return _without_unseen(text.translate(_FOLDED), "")


def _without_unseen(folded: str, instead: str) -> str:
    # Marks go before anything is composed: Python sorts a run of n marks in n^2 steps.
    return unicodedata.normalize("NFC", folded.replace(_UNSEEN, instead))


_WEIGHT = re.compile(r":\s{0,3}[+-]?\d{0,3}(?:\.\d{0,5})?(?=\s{0,3}[)\]}>])")
_WEIGHT_BEHIND = re.compile(r"([)\]}>])\d{0,2}\.\d{1,4}")
_LONG_RUN = re.compile("(.)" + r"\1" * LONGEST_RUN + "+")
# It begins with a set of characters, not with a look behind, so that the search skips all others.
_INNER = re.compile(r"[^\w\s,;/?@$!|+*](?<=[^\s,;/?].)[^\w\s,;/?@$!|+*]*(?=[^\s,;/?])")
_SYMBOLS = "@$!|+"
_GAPS = re.compile(rf"[^\w{_SYMBOLS}]+")
_NEXT_UNIT = rf"[^\w{_SYMBOLS}]{{1,3}}[\w{_SYMBOLS}](?!\w)"
_SPELLED = re.compile(rf"(?<!\w)[\w{_SYMBOLS}]{_NEXT_UNIT}(?:{_NEXT_UNIT})+")
_SPELLED_APART = re.compile(r"(?<!\w)\w(?:\W{1,3}\w(?!\w)){2,}")
_SYMBOL = re.compile(f"[{re.escape(_SYMBOLS)}]")
_COUNTED = r"(?:[^\W\d_]{1,2}|girls?|boys?)(?!\w)"
_PARTING = re.compile(rf"\d(?<=[^\W\d_].)\d*|\d(?<!\w.)\d*(?=[^\W\d_])(?!{_COUNTED})")
"""Digits beside letters, but for those of 350g, 85mm, 3d and 1girl."""
_UNSEEN_BETWEEN = re.compile(rf"{_UNSEEN}(?<=[^\W_].){_UNSEEN}*(?=[^\W_])")
_ACCENTED = re.compile(r"[^\W\d_][\u0300-\u036f](?![\u0300-\u036f])")
_END = "\n"
"""Parts stretches of spelled-out text from each other; `views` leaves no line end in a text."""


class _Gaps(dict[int, int | None]):
    """A table for str.translate that drops what parts letters, but for these symbols and `_END`."""

    def __init__(self, symbols: str) -> None:
        super().__init__((ord(kept), ord(kept)) for kept in symbols + _END)

    def __missing__(self, code: int) -> int | None:
        kept = code if chr(code).isalnum() else None
        if code < _KEPT:
            self[code] = kept
        return kept


_GAPS_BUT_SYMBOLS = _Gaps(_SYMBOLS)
_ALL_GAPS = _Gaps("")


def _cut_runs(text: str) -> str:
    return _LONG_RUN.sub(r"\1" * LONGEST_RUN, text)


def _unweighted(folded: str) -> str:
    """A folded text without prompt weights, underscores read as hyphens."""
    text = _WEIGHT.sub("", folded).replace("_", "-")
    return _WEIGHT_BEHIND.sub(r"\1", text)


def _laid_out(folded: str) -> str:
    return _cut_runs(" ".join(_unweighted(folded).split()))


@dataclass(frozen=True)
class Views:
    """One text as it can be read; a word is looked for in all of them."""

    plain: str
    """Folded, without prompt weights, runs cut to three, words where the writer put them."""
    parted: str = ""
    """What models read where unseen characters or digits part letters, as naked1child is naked child to them; of a text
    without unseen characters only the words with such digits and their neighbours. Empty where it would be `plain`."""

    @cached_property
    def joined(self) -> str:
        """The same without punctuation inside words: f.oo-b(ar) is foobar."""
        inner = _INNER.sub("", self.plain)
        return self.plain if inner == self.plain else _cut_runs(inner)

    @cached_property
    def changed(self) -> str:
        """The words of `joined` that aren't so in `plain`, with their neighbours; far apart where others stood."""
        if self.joined == self.plain:
            return ""
        before, after = self.plain.split(" "), self.joined.split(" ")
        return _stretches(before, after) if len(before) == len(after) else self.joined

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """What is spelled out letter by letter, each stretch in one piece."""
        spelled = _spelled(_SPELLED, self.plain, _GAPS_BUT_SYMBOLS)
        if _SYMBOL.search(self.plain):
            spelled |= _spelled(_SPELLED_APART, self.plain, _ALL_GAPS)
        return tuple(sorted(spelled))


def _stretches(before: list[str], after: list[str]) -> str:
    """The words that have changed, with their neighbours; far apart where others stood."""
    stretches: list[list[int]] = []
    for index in compress(count(), map(ne, before, after)):
        begin, end = max(0, index - NEIGHBOURS), index + NEIGHBOURS + 1
        if stretches and begin <= stretches[-1][1]:
            stretches[-1][1] = end
        else:
            stretches.append([begin, end])
    return (" " * (WIDEST_GAP + 1)).join(" ".join(after[begin:end]) for begin, end in stretches)


def _spelled(pattern: re.Pattern[str], text: str, gaps: _Gaps) -> set[str]:
    stretches = _END.join(match[0] for match in pattern.finditer(text))
    return set(_cut_runs(stretches.translate(gaps)).split(_END)) if stretches else set()


def views(text: str) -> Views:
    """All readings of a text, in time linear in its length."""
    folded = text.translate(_FOLDED)
    plain = _laid_out(_without_unseen(folded, ""))
    if not _UNSEEN_BETWEEN.search(folded):
        parted = _PARTING.sub(_UNSEEN, plain)
        changed = _stretches(plain.split(" "), parted.split(" ")) if parted != plain else ""
        return Views(plain, changed.replace(_UNSEEN, " "))
    # An accent that is a mark of its own parts nothing: models read it composed.
    composed = _ACCENTED.sub(lambda letter: unicodedata.normalize("NFC", letter[0]), text)
    spaced = _laid_out(_without_unseen(composed.translate(_FOLDED), " "))
    return Views(plain, _PARTING.sub(" ", spaced))


_PLAIN_LEET = str.maketrans({"4": "a", "@": "a", "8": "b", "3": "e", "1": "i", "!": "i", "0": "o", "5": "s", "$": "s"})
_LEET_WORD = re.compile(r"[@$]?\w+(?:[@$!]{1,3}\w+)*")
_BRACKETS = re.compile(r"[()\[\]{}<>\"]")
_TRIPLE = re.compile(r"(.)\1{2,}")


def _decode(word: re.Match[str]) -> str:
    text = word[0]
    return text.translate(_PLAIN_LEET) if any(c.isalpha() for c in text) else text


def _readable_once(text: str) -> str:
    plain = " ".join(_BRACKETS.sub("", _unweighted(fold(text))).split())
    joined = _SPELLED.sub(lambda m: _GAPS.sub("", m[0]), _TRIPLE.sub(r"\1\1", plain))
    return _TRIPLE.sub(r"\1\1", _LEET_WORD.sub(_decode, joined))


def normalise(text: str) -> str:
    """The likeliest reading of a text, for checkers that read sentences; normalising again changes nothing."""
    return _settled(_readable_once, text)
