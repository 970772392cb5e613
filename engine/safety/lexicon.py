"""Word lists that find their words through disguises, in time linear in the text.

Every list is indexed by keys: what is left of a word when signs that can be taken for each other count as one and runs
count once. A text's words are brought to their keys all at once and looked up; the few that hit are compared letter by
letter, every letter standing for the signs that can be read as it, and repeated as often as its writer liked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from itertools import groupby

from engine.safety.normalise import AMBIGUOUS, LEET, LONGEST_RUN, Views, fold, views

MASK = "*"
"""Written for any vowel."""
_GAP = " "
_VOWELS = "aeiou"
_PREFIX = 4
"""Letters that must fit before a longer word is looked for inside spelled-out text."""
_SYMBOLS = "@$!|+*"
_PLURAL = "[s5$z]?"
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Thai, Lao, Khmer, Han, kana, Hangul: scripts in which words aren't set apart by spaces."""
_NUMBER = re.compile(r"[\d+]{1,4}|[^\W\d_]\d{1,2}")
"""Years, sums and model names such as A55, which could be read as letters."""
_WORD = re.compile(r"[^\W_]+")
_REPEAT = re.compile(r"(.)\1+")
_PUNCTUATION = "!|+*"
"""Symbols that end a sentence or stress a word more often than they stand for its last letter."""
_TOKEN = re.compile(rf"(?:[^\W_]|[{_SYMBOLS}])+")
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


def _classes(pairs: Iterable[str]) -> dict[int, str]:
    """A table for str.translate that brings signs to one sign of their class; each of `pairs` lists signs of one."""
    classes: dict[str, set[str]] = {}
    for signs in pairs:
        merged = set(signs).union(*(classes.get(sign, ()) for sign in signs))
        classes.update(dict.fromkeys(merged, merged))
    return {
        ord(sign): max(merged, key=lambda each: (each.isascii() and each.isalpha(), each))
        for sign, merged in classes.items()
    }


_FINE = _classes([*(letter + leet for letter, leet in LEET.items()), "uv"])
"""Signs that everybody writes for each other."""
_COARSE = _classes([*map(_readings, "abcdefghijklmnopqrstuvwxyz")])
"""Every sign that could be read as one letter; so wide that only words with such signs are looked up by it."""
_UNCERTAIN = re.compile(f"[{MASK}{''.join(sorted(set(''.join(AMBIGUOUS.values()))))}]")


def _keys(words: Sequence[str], table: Mapping[int, str]) -> list[str]:
    """The words' keys in order, made in one go."""
    return _REPEAT.sub(r"\1", "\n".join(words).translate(table)).split("\n") if words else []


def _spellings(text: str) -> dict[str, None]:
    """The words of a text, symbols taken once for letters and once for punctuation."""
    words = dict.fromkeys(_TOKEN.findall(text))
    for word in [word for word in words if not word.isalnum()]:
        words[word.rstrip(_PUNCTUATION)] = None
        words.update(dict.fromkeys(_WORD.findall(word)))
    return words


def _steps(entry: str) -> Iterator[str]:
    for letter, run in groupby(entry):
        count = min(len(list(run)), LONGEST_RUN)
        yield r"[\W_]{0,3}" if letter == _GAP else f"[{re.escape(_readings(letter))}]{{{count},{2 * LONGEST_RUN}}}"


@dataclass(frozen=True)
class _Entry:
    """One entry of a list; its pattern is made when something comes near it."""

    text: str
    category: str = field(compare=False)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Every way to write it."""
        plural = f"(?:[e3]{_PLURAL[:-1]})?" if self.text.endswith(_SIBILANTS) else _PLURAL
        return re.compile("".join(_steps(self.text)) + plural)

    @cached_property
    def _has_digits(self) -> bool:
        return any(letter.isdigit() for letter in self.text)

    @cached_property
    def phrase(self) -> re.Pattern[str]:
        """Its words with whatever stands between them."""
        return re.compile(rf"(?<![^\W_])(?:{self.pattern.pattern})(?![^\W_])")

    def forms(self) -> tuple[str, ...]:
        """Its spellings in one word."""
        joined = self.text.replace(_GAP, "")
        return joined, joined + ("es" if joined.endswith(_SIBILANTS) else "s")

    def is_word(self, word: str) -> bool:
        """Whether a word is this entry in disguise."""
        if self.pattern.fullmatch(word) is None:
            return False
        return self._has_digits or not _NUMBER.fullmatch(word)


Index = dict[str, tuple[_Entry, ...]]


def _index(entries: Iterable[_Entry], table: Mapping[int, str]) -> Index:
    index: Index = {}
    for entry in entries:
        for key in set(_keys(entry.forms(), table)):
            index[key] = (*index.get(key, ()), entry)
    return index


PhraseKeys = list[tuple[frozenset[str], _Entry]]


def _phrase_keys(entries: Iterable[_Entry], table: Mapping[int, str]) -> PhraseKeys:
    """Entries of several words with the keys of all of these, without which they needn't be looked for."""
    return [(frozenset(_keys(e.text.split(_GAP), table)), e) for e in entries if _GAP in e.text]


def _phrase_pattern(phrases: Iterable[str]) -> re.Pattern[str] | None:
    """Plainly written words and phrases, each with an s or without."""
    gaps = [re.escape(phrase).replace(re.escape(_GAP), r"[\W_]{1,3}") for phrase in sorted(phrases)]
    by_first: dict[str, list[str]] = {}
    for pattern in gaps:
        by_first.setdefault(pattern[0], []).append(pattern[1:])
    firsts = "|".join(f"{first}(?:{'|'.join(rests)})" for first, rests in by_first.items())
    return re.compile(rf"(?<![^\W_])(?:{firsts})s?(?![^\W_])") if gaps else None


class Lexicon:
    """Words by category, and the innocent phrases in which they mean something else."""

    def __init__(self, words: Mapping[str, Iterable[str]], innocent: Iterable[str] = ()) -> None:
        """`words`: category -> entries; `innocent`: words and phrases that are read over when written plainly."""
        entries = {_Entry(canonical(word), name): None for name, group in words.items() for word in group}
        self._entries = [entry for entry in entries if entry.text]
        self._unspaced = [entry for entry in self._entries if _UNSPACED.search(entry.text)]
        self._phrases = _phrase_keys(self._entries, _FINE)
        self._fine = _index(self._entries, _FINE)
        self._innocent = _phrase_pattern({_plainly(phrase) for phrase in innocent} - {""})

    @property
    def words(self) -> tuple[str, ...]:
        """All entries, cleaned, in order."""
        return tuple(sorted(entry.text for entry in self._entries))

    @cached_property
    def _coarse(self) -> Index:
        return _index(self._entries, _COARSE)

    @cached_property
    def _coarse_phrases(self) -> PhraseKeys:
        return _phrase_keys(self._entries, _COARSE)

    @cached_property
    def _prefixes(self) -> frozenset[str]:
        return frozenset(key[:_PREFIX] for key in self._fine if len(key) >= _PREFIX)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._fine), default=0)

    def find(self, text: str) -> frozenset[str]:
        """Categories of the words in a text as it was typed."""
        return self.find_in(views(text))

    def find_in(self, text: Views) -> frozenset[str]:
        """Categories of the words in a text of which the views are known."""
        if self._innocent and (kept := self._innocent.sub(_GAP, text.plain)) != text.plain:
            text = Views(kept)
        found = set(self._in_words(text.plain, text.joined))
        for stretch in text.letters:
            found.update(self._in_words(stretch), self._inside(stretch))
            if stretch[0] in "ai":  # an article before the word
                found.update(self._in_words(stretch[1:]))
        return frozenset(entry.category for entry in found)

    def _in_words(self, *texts: str) -> Iterator[_Entry]:
        words = list({word: None for text in texts for word in _spellings(text)})
        keys = _keys(words, _FINE)
        for word, key in zip(words, keys, strict=True):
            yield from (entry for entry in self._fine.get(key, ()) if entry.is_word(word))
        present = set(keys)
        near = [entry for needed, entry in self._phrases if needed <= present]
        yield from (entry for entry in near if any(entry.phrase.search(text) for text in texts))
        yield from (entry for entry in self._unspaced if any(entry.text in text for text in texts))
        if any(_UNCERTAIN.search(text) for text in texts):
            yield from self._uncertain(words, texts)

    def _uncertain(self, words: list[str], texts: tuple[str, ...]) -> Iterator[_Entry]:
        """Words and phrases with signs that can be read in many ways."""
        keys = _keys(words, _COARSE)
        for word, key in zip(words, keys, strict=True):
            if _UNCERTAIN.search(word):
                yield from (entry for entry in self._coarse.get(key, ()) if entry.is_word(word))
        present = set(keys)
        near = [entry for needed, entry in self._coarse_phrases if needed <= present]
        yield from (entry for entry in near if any(entry.phrase.search(text) for text in texts))

    def _inside(self, stretch: str) -> Iterator[_Entry]:
        """Longer words anywhere in spelled-out text, where nothing shows where a word begins."""
        (key,) = _keys([stretch], _FINE)
        near: set[_Entry] = set()
        for start in range(len(key) - _PREFIX + 1):
            if key[start : start + _PREFIX] in self._prefixes:
                ends = range(start + _PREFIX, min(len(key), start + self._longest) + 1)
                near.update(*(self._fine.get(key[start:end], ()) for end in ends))
        yield from (entry for entry in near if len(entry.text) >= _PREFIX and entry.pattern.search(stretch))
