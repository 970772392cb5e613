"""What a text reads like once its disguises are off: look-alike letters, marks, prompt weights, spelling out.

Two levels. `fold` undoes what Unicode allows (one letter for every letter that looks like it); `views` undoes what
people do with punctuation. Symbols that can stand for several letters (1 for i and l) stay as they are: `LEET` and
`AMBIGUOUS` list them, and `engine.safety.lexicon` tries every reading. All of it takes time linear in the text.
"""

# ruff: noqa: RUF001  (a table of characters that are mistaken for others holds such characters)

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, count
from operator import ne

from engine.safety.tables import Table

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
FAR_APART = " " * (WIDEST_GAP + 1)
"""Keeps pieces of text from being read as one phrase."""

_DROPPED_CATEGORIES = frozenset({"Mn", "Me", "Cf", "Cc", "Cn", "Co", "Cs"})
"""Marks, format and control characters, and what has no form of its own: unassigned, private, half a character."""
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _DROPPED_CATEGORIES and not letter.isspace()


_MOST_PASSES = 4
"""A letter's look-alike may have a decomposition in its turn; two passes settle all that exist."""
_MARKS = Table(lambda letter: None if _is_hidden(letter) else letter)
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
_STRANGE_LETTER = "X"
"""Stands for all letters that a reader doesn't know; nothing else is folded to a capital."""
_STRANGE_SIGNS = "".join(map(chr, [*range(1, 9), *range(14, 28), 127]))
"""Stand for signs that a reader doesn't know, of which equal ones stay equal; `fold` leaves no control character."""


def _folded(letter: str) -> str:
    return _UNSEEN if _is_hidden(letter) else _settled(_fold_once, letter)


_FOLDED = Table(_folded)


def fold(text: str) -> str:
    """The text in small Latin letters as far as it looks like them; other scripts stay, without their marks."""
    return _without_unseen(text.translate(_FOLDED), "")


def letters_of(known: Iterable[str]) -> Table:
    """A table for `views` by which all unknown letters are one, and all unknown signs: ASCII is read far faster."""
    kept = frozenset("".join(sign + unicodedata.normalize("NFD", sign) for sign in known))

    def plainer(sign: str) -> str:
        if sign.isascii() or sign in kept or sign.isspace() or sign.isdecimal():
            return sign
        return _STRANGE_LETTER if sign.isalnum() else _STRANGE_SIGNS[ord(sign) % len(_STRANGE_SIGNS)]

    return Table(lambda letter: "".join(map(plainer, _folded(letter))))


def _without_unseen(folded: str, instead: str) -> str:
    # Marks go before anything is composed: Python sorts a run of n marks in n^2 steps.
    return unicodedata.normalize("NFC", folded.replace(_UNSEEN, instead))


_WEIGHT = re.compile(r":\s{0,3}[+-]?\d{0,3}(?:\.\d{0,5})?(?=\s{0,3}[)\]}>])")
_WEIGHT_BEHIND = re.compile(r"([)\]}>])\d{0,2}\.\d{1,4}")
_LONG_RUN = re.compile(f"([^{_STRANGE_LETTER}])" + r"\1" * LONGEST_RUN + "+")
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
_ACCENT = re.compile(r"[\u0300-\u036f](?<=[^\W\d_].)(?![\u0300-\u036f])")
_END = "\n"
"""Parts stretches of spelled-out text from each other; `views` leaves no line end in a text."""


def _gaps_but(symbols: str) -> Table:
    """A table that drops what parts letters, but for these symbols and `_END`."""
    return Table(lambda sign: sign if sign.isalnum() or sign in symbols or sign == _END else None)


_GAPS_BUT_SYMBOLS = _gaps_but(_SYMBOLS)
_ALL_GAPS = _gaps_but("")


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
    return FAR_APART.join(" ".join(after[begin:end]) for begin, end in stretches)


def _spelled(pattern: re.Pattern[str], text: str, gaps: Table) -> set[str]:
    stretches = _END.join(match[0] for match in pattern.finditer(text))
    return set(_cut_runs(stretches.translate(gaps)).split(_END)) if stretches else set()


def views(text: str, letters: Table = _FOLDED) -> Views:
    """All readings of a text, in time linear in its length; `letters` folds, or makes plainer still."""
    folded = text.translate(letters)
    plain = _laid_out(_without_unseen(folded, ""))
    if not _UNSEEN_BETWEEN.search(folded):
        parted = _PARTING.sub(_UNSEEN, plain)
        changed = _stretches(plain.split(" "), parted.split(" ")) if parted != plain else ""
        return Views(plain, changed.replace(_UNSEEN, " "))
    composed = _composed(text)
    if composed != text:
        folded = composed.translate(letters)
    return Views(plain, _PARTING.sub(" ", _laid_out(_without_unseen(folded, " "))))


def _composed(text: str) -> str:
    """A text in which no accent is a mark of its own: such a mark parts nothing, for models read it composed."""
    pieces: list[str] = []
    done = 0
    for accent in _ACCENT.finditer(text):
        letter, end = accent.start() - 1, accent.end()
        pieces += text[done:letter], unicodedata.normalize("NFC", text[letter:end])
        done = end
    return "".join((*pieces, text[done:]))


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
