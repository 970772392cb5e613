"""Word lists that find their words through disguises, in time linear in the text.

Every letter of an entry stands for the signs that can be read as it, and may be repeated as often as its writer liked.
An automaton walks through the text and names the entries that may end where it stands; a pattern has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from itertools import groupby

from engine.safety.automaton import Automaton, Place
from engine.safety.normalise import (
    AMBIGUOUS,
    FAR_APART,
    LEET,
    LONGEST_RUN,
    NEIGHBOURS,
    WIDEST_GAP,
    Views,
    fold,
    letters_of,
    views,
)

MASK = "*"
"""Written for any vowel."""
_GAP = " "
_VOWELS = "aeiou"
_GAPS = rf"\W{{0,{WIDEST_GAP}}}"
_LONG = 4
"""Letters of an entry that is looked for inside spelled-out text."""
_E = "e3"
_S = "s5$z"
"""Signs of a plural's ending."""
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Thai, Lao, Khmer, Han, kana, Hangul: scripts in which words aren't set apart by spaces."""
_OF_A_WORD_BEFORE = "少幼全"
"""Signs that take the first one of an innocent phrase for a word of theirs: a girl, a girl, all naked."""
_NUMBER = re.compile(r"[\d+]{1,4}|[^\W\d_]\d{1,2}")
"""Years, sums and model names such as A55, which could be read as letters."""
_ENTRY_WORD = re.compile(r"[^\W_@$!|+*]+(?:[@$!|+]+[^\W_@$!|+*]*)*|[@$!|+]+[^\W_]+")


def sections(name: str) -> dict[str, tuple[str, ...]]:
    """The lists of a data file: `[name]` begins one, commas and line ends part its entries, `#` begins a comment."""
    found: dict[str, tuple[str, ...]] = {}
    current = ""
    text = files("engine.safety").joinpath("data", name).read_text(encoding="utf-8")
    for line in (raw.partition("#")[0].strip() for raw in text.splitlines()):
        if line.startswith("["):
            current = line.strip("[]")
        elif line:
            found[current] = found.get(current, ()) + tuple(word.strip() for word in line.split(",") if word.strip())
    return found


def canonical(entry: str) -> str:
    """An entry as lists hold it: folded, one space for whatever parts its words, spelled-out letters joined."""
    parts = _ENTRY_WORD.findall(fold(entry))
    if len(parts) > 2 and all(len(part) == 1 for part in parts):
        return "".join(parts)
    return _GAP.join(parts)


def _plainly(phrase: str) -> str:
    """An innocent phrase, folded; an apostrophe in it stays, since who're is innocent and who-re isn't."""
    return "'".join(canonical(piece) for piece in fold(phrase).split("'"))


def _readings(letter: str) -> str:
    """Every sign that may be read as this letter, itself first."""
    signs = letter + LEET.get(letter, "") + AMBIGUOUS.get(letter, "") + (MASK if letter in _VOWELS else "")
    return signs + ("v" if letter == "u" else "")


@dataclass(frozen=True)
class Entry:
    """One entry of a list."""

    text: str
    category: str = field(compare=False)

    @cached_property
    def is_long(self) -> bool:
        """Whether it is looked for inside spelled-out text."""
        return len(self.text) >= _LONG

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Every way to write it, at the end of a text."""
        steps = (
            _GAPS if letter == _GAP else f"[{re.escape(_readings(letter))}]{{{count},{2 * LONGEST_RUN}}}"
            for letter, count in _runs(self.text)
        )
        plural = f"(?:[{_E}][{_S}])?" if self.text.endswith(_SIBILANTS) else f"[{_S}]?"
        return re.compile(rf"(?<!\w){''.join(steps)}{plural}\Z")

    @cached_property
    def _has_digits(self) -> bool:
        return any(letter.isdigit() for letter in self.text)

    def ends_at(self, text: str, end: int) -> bool:
        """Whether a word or phrase that ends at this index is this entry in disguise."""
        match = self.pattern.search(text, max(0, end - 2 * LONGEST_RUN * (len(self.text) + 2)), end)
        if match is None or (text[match.start() - 1 : match.start()] == MASK and match[0].endswith(MASK)):
            return False  # *stressed* is no hidden letter
        return self._has_digits or not _NUMBER.fullmatch(match[0])

    def places(self) -> list[Place]:
        """What `pattern` says, for the automaton."""
        return _places(self.text, _readings)


def _runs(text: str) -> tuple[tuple[str, int], ...]:
    """The letters of a text, each with how often it must stand there at least."""
    return tuple((letter, min(len(list(run)), LONGEST_RUN)) for letter, run in groupby(text))


def _places(text: str, readings: Callable[[str], str]) -> list[Place]:
    """A word or phrase for the automaton, each letter in any of its readings and as often as one likes."""
    places: list[Place] = []
    for letter, count in _runs(text):
        if letter == _GAP:
            skips = range(1, WIDEST_GAP + 1)
            places[-1] = Place(places[-1].signs, (*places[-1].follow, WIDEST_GAP + 1))
            places += [Place(None, (1, WIDEST_GAP + 1 - skip)) for skip in skips]
        else:
            signs = readings(letter)
            places += [Place(signs, (1,))] * (count - 1) + [Place(signs, (0, 1))]
    places[-1] = Place(places[-1].signs, places[-1].follow, final=True)
    plural = [Place(_E, (1,))] if text.endswith(_SIBILANTS) else []
    return [*places, *plural, Place(_S, (), final=True)]


def _phrase_pattern(phrases: Iterable[str]) -> re.Pattern[str] | None:
    """Plainly written words and phrases, each with an s or without."""
    by_first: dict[str, list[str]] = {}
    for phrase in sorted(phrases):
        by_first.setdefault(_with_gaps(phrase[0]), []).append(_with_gaps(phrase[1:]))
    firsts = "|".join(f"{first}(?:{'|'.join(rests)})" for first, rests in by_first.items())
    return re.compile(rf"(?<!\w)(?:{firsts})s?(?!\w)") if firsts else None


def _unspaced_pattern(phrases: Iterable[str]) -> re.Pattern[str] | None:
    """Words and phrases of scripts in which they stand anywhere."""
    anywhere = "|".join(map(re.escape, sorted(phrases)))
    return re.compile(rf"(?<![{_OF_A_WORD_BEFORE}])(?:{anywhere})") if anywhere else None


def _with_gaps(text: str) -> str:
    return re.escape(text).replace(re.escape(_GAP), rf"\W{{1,{WIDEST_GAP}}}")


class Lexicon:
    """Words by category, and the innocent phrases in which they mean something else."""

    def __init__(self, words: Mapping[str, Iterable[str]], innocent: Iterable[str] = ()) -> None:
        """`words`: category -> entries; `innocent`: words and phrases that are read over when written plainly."""
        entries = {Entry(canonical(word), name): None for name, group in words.items() for word in group}
        self.entries = tuple(entry for entry in entries if entry.text)
        plain = {_plainly(phrase) for phrase in innocent} - {""}
        unspaced = {phrase for phrase in plain if _UNSPACED.search(phrase)}
        self.innocent = tuple(sorted(plain - unspaced))
        """Those that are words by themselves."""
        self._innocent_spaced, self._innocent_unspaced = _phrase_pattern(self.innocent), _unspaced_pattern(unspaced)
        letters = frozenset().union(*(entry.text for entry in self.entries))
        self.signs = frozenset().union(_OF_A_WORD_BEFORE, *plain, *map(_readings, letters))
        """All that it knows, or may mistake for something that it knows."""

    @property
    def words(self) -> tuple[str, ...]:
        """All entries, cleaned, in order."""
        return tuple(sorted(entry.text for entry in self.entries))

    def without_innocent(self, text: Views, *, spaced: bool) -> Views:
        """A text without the phrases that are read over; `spaced` says whether there may be any of `innocent`."""
        return Views(self._left_of(text.plain, spaced), self._left_of(text.parted, spaced))

    def _left_of(self, text: str, spaced: bool) -> str:
        """What is left of a text when its innocent phrases are taken out."""
        left = self._innocent_spaced.sub(_GAP, text) if self._innocent_spaced and spaced else text
        if self._innocent_unspaced and not left.isascii() and _UNSPACED.search(left):
            left = self._innocent_unspaced.sub(_GAP, left)
        return left

    def find(self, text: str) -> frozenset[str]:
        """Categories of the words in a text as it was typed."""
        return self._reader.find_in(self._reader.views(text))[0]

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self)


class _Found:
    """What a walk has found, by the numbers of the lexicons."""

    def __init__(self, lexicons: int) -> None:
        self.categories: list[set[str]] = [set() for _ in range(lexicons)]
        """Of all words, innocent or not."""
        self.may_be_innocent = False
        """Whether there may be an innocent phrase."""


class Reader:
    """Finds the words of several lexicons in one walk through a text."""

    def __init__(self, *lexicons: Lexicon) -> None:
        self._lexicons = lexicons
        self._entries = [(number, entry) for number, lexicon in enumerate(lexicons) for entry in lexicon.entries]
        self._innocent = tuple(dict.fromkeys(phrase for lexicon in lexicons for phrase in lexicon.innocent))
        self._long = [(number, entry) for number, entry in self._entries if entry.is_long]
        self._unspaced = [(number, entry) for number, entry in self._entries if _UNSPACED.search(entry.text)]
        self._letters = letters_of(sign for lexicon in lexicons for sign in lexicon.signs)

    def views(self, text: str) -> Views:
        """A text as it was typed, with all that matters to this reader."""
        return views(text, self._letters)

    def find_in(self, text: Views) -> tuple[frozenset[str], ...]:
        """For each lexicon the categories of its words in a text."""
        found = self._walk(text)
        categories = found.categories[:]
        for number, lexicon in enumerate(self._lexicons):
            if categories[number]:
                kept = lexicon.without_innocent(text, spaced=found.may_be_innocent)
                if kept != text:
                    categories[number] = self._walk(kept).categories[number]
        return tuple(map(frozenset, categories))

    @cached_property
    def _reach(self) -> int:
        """Words of a phrase beside the first, at most."""
        return max((entry.text.count(_GAP) for _, entry in self._entries), default=0)

    @cached_property
    def _automaton(self) -> Automaton:
        """Of the entries, and behind them the innocent phrases."""
        innocent = (_places(phrase, str) for phrase in self._innocent)
        return Automaton([*(entry.places() for _, entry in self._entries), *innocent])

    @cached_property
    def _long_automaton(self) -> Automaton:
        return Automaton([entry.places() for _, entry in self._long], anywhere=True)

    def _walk(self, text: Views) -> _Found:
        found = _Found(len(self._lexicons))
        self._look_in(text.plain, found)
        self._look_in(text.changed if self._reach <= NEIGHBOURS else text.joined, found)
        self._look_in(text.parted, found)
        if text.letters:
            behind_articles = (stretch[1:] for stretch in text.letters if stretch[0] in "ai")
            self._look_in(FAR_APART.join((*text.letters, *behind_articles)), found)
            # Longer words anywhere in it, for nothing shows where a word begins.
            for which, _ in self._long_automaton.ends(FAR_APART.join(text.letters)):
                number, entry = self._long[which]
                found.categories[number].add(entry.category)
        return found

    def _look_in(self, text: str, found: _Found) -> None:
        """Add the categories of words and phrases; one that was found needn't be looked for again."""
        for which, end in self._automaton.ends(text):
            if which >= len(self._entries):
                found.may_be_innocent = True
                continue
            number, entry = self._entries[which]
            if entry.category not in found.categories[number] and entry.ends_at(text, end):
                found.categories[number].add(entry.category)
        if text.isascii():
            return
        for number, entry in self._unspaced:
            if entry.category not in found.categories[number] and entry.text in text:
                found.categories[number].add(entry.category)
