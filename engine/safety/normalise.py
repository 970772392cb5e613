"""What a text reads like once its disguises are off: look-alike letters, marks, prompt weights, spelling out.

Two levels. `fold` undoes what Unicode allows (one letter for every letter that looks like it); `views` undoes what
people do with punctuation. Symbols that can stand for several letters (1 for i and l) stay as they are: `LEET` and
`AMBIGUOUS` list them, and `engine.safety.lexicon` tries every reading. All of it takes time linear in the text.
"""

# ruff: noqa: RUF001  (a table of characters that are mistaken for others holds such characters)

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

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

_DROPPED_CATEGORIES = frozenset({"Mn", "Me", "Cf", "Cc"})
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"


class _Marks(dict[int, int | None]):
    """A table for str.translate that drops marks, format characters and whatever else can't be seen."""

    def __missing__(self, code: int) -> int | None:
        letter = chr(code)
        hidden = unicodedata.category(letter) in _DROPPED_CATEGORIES and not letter.isspace()
        kept = None if hidden or letter in _INVISIBLE_LETTERS else code
        if code < 0x10000:  # bounded, whatever people write
            self[code] = kept
        return kept


_MOST_PASSES = 4
"""A letter's look-alike may have a decomposition in its turn; two passes settle all that exist."""
_MARKS = _Marks()
_LETTERS = str.maketrans({look: letter for letter, looks in LOOKALIKES.items() for look in looks})


def _fold_once(text: str) -> str:
    bare = unicodedata.normalize("NFKD", text.translate(_LETTERS)).translate(_MARKS)
    return unicodedata.normalize("NFKC", bare).translate(_LETTERS).casefold().translate(_LETTERS)


@lru_cache(maxsize=8192)
def _fold_letter(letter: str) -> str:
    folded = letter
    for _ in range(_MOST_PASSES):
        folded, before = _fold_once(folded), folded
        if folded == before:
            break
    return folded


def fold(text: str) -> str:
    """The text in small Latin letters as far as it looks like them; other scripts stay, without their marks."""
    if text.isascii():
        return text.lower().translate(_MARKS)
    # Marks go before anything is composed: Python sorts a run of n marks in n^2 steps.
    composed = unicodedata.normalize("NFKC", text.translate(_MARKS))
    return composed.translate({ord(letter): _fold_letter(letter) for letter in set(composed)})


_WEIGHT = re.compile(r":\s{0,3}[+-]?\d{0,3}(?:\.\d{0,5})?(?=\s{0,3}[)\]}>])|(?<=[)\]}>])\d{0,2}\.\d{1,4}")
_LONG_RUN = re.compile(rf"(.)\1{{{LONGEST_RUN},}}")
_INNER = re.compile(r"(?<=[^\s,;/?])(?:[^\w\s,;/?@$!|+*]|_)+(?=[^\s,;/?])")
_SYMBOLS = "@$!|+"
_UNIT = rf"(?<![^\W_])(?:[^\W_]|[{_SYMBOLS}])(?![^\W_])"
_SPELLED = re.compile(rf"{_UNIT}(?:(?:[^\w{_SYMBOLS}]|_){{1,3}}{_UNIT}){{2,}}")
_SPELLED_APART = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]{1,3}[^\W_](?![^\W_])){2,}")
_SYMBOL = re.compile(f"[{re.escape(_SYMBOLS)}]")
_GAPS = re.compile(rf"[^\w{_SYMBOLS}]|_")
_ALL_GAPS = re.compile(r"[\W_]")


def _cut_runs(text: str) -> str:
    return _LONG_RUN.sub(r"\1" * LONGEST_RUN, text)


@dataclass(frozen=True)
class Views:
    """One text as it can be read; a word is looked for in all of them."""

    plain: str
    """Folded, without prompt weights, runs cut to three, words where the writer put them."""

    @cached_property
    def joined(self) -> str:
        """The same without punctuation inside words: f.oo-b(ar) is foobar."""
        return _cut_runs(_INNER.sub("", self.plain))

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """What is spelled out letter by letter, each stretch in one piece."""
        spelled = {_GAPS.sub("", m[0]) for m in _SPELLED.finditer(self.plain)}
        if _SYMBOL.search(self.plain):
            spelled |= {_ALL_GAPS.sub("", m[0]) for m in _SPELLED_APART.finditer(self.plain)}
        return tuple(sorted(_cut_runs(stretch) for stretch in spelled))


def views(text: str) -> Views:
    """All readings of a text, in time linear in its length."""
    return Views(_cut_runs(" ".join(_WEIGHT.sub("", fold(text)).split())))


_PLAIN_LEET = str.maketrans({"4": "a", "@": "a", "8": "b", "3": "e", "1": "i", "!": "i", "0": "o", "5": "s", "$": "s"})
_LEET_WORD = re.compile(r"[@$]?[^\W_]+(?:[@$!]{1,3}[^\W_]+)*")
_BRACKETS = re.compile(r"[()\[\]{}<>\"]")
_TRIPLE = re.compile(r"(.)\1{2,}")


def _decode(word: re.Match[str]) -> str:
    text = word[0]
    return text.translate(_PLAIN_LEET) if any(c.isalpha() for c in text) else text


def _readable_once(text: str) -> str:
    plain = " ".join(_BRACKETS.sub("", _WEIGHT.sub("", fold(text))).split())
    joined = _SPELLED.sub(lambda m: _GAPS.sub("", m[0]), _TRIPLE.sub(r"\1\1", plain))
    return _TRIPLE.sub(r"\1\1", _LEET_WORD.sub(_decode, joined))


def normalise(text: str) -> str:
    """The likeliest reading of a text, for checkers that read sentences; normalising again changes nothing."""
    for _ in range(_MOST_PASSES):
        text, before = _readable_once(text), text
        if text == before:
            break
    return text
