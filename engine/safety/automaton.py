"""Looks for many patterns at once, a step a character, however many there are and whatever the text.

The patterns' positions form a nondeterministic automaton (Glushkov 1961). The sets of positions that texts lead to are
its deterministic states (Rabin and Scott 1959), made when a text first leads there and kept, as in Thompson's lazy
construction; so no text can cost more than its length times the making of one state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from engine.safety.tables import Table

MAX_STEPS = 100_000
"""Steps between states that are kept, a hundred megabytes at worst; then all are forgotten and made anew."""
_LETTER = "\0"
"""Stands for all letters and digits that no pattern knows, and for the underscore."""
_GAP = " "
"""Stands for all other characters that no pattern knows."""


class Place(NamedTuple):
    """One place of a pattern."""

    signs: str | None
    """Characters that may stand there; None means any that is part of no word."""
    follow: tuple[int, ...]
    """Places that may come next, counted from this one; 0 is itself."""
    final: bool = False
    """Whether a pattern may end here."""


def _alphabet(known: Collection[str]) -> Table:
    """The characters that patterns know, one letter and one gap for all others: so texts lead to few states."""
    return Table(lambda sign: sign if sign in known else _LETTER if sign.isalnum() or sign == "_" else _GAP)


class _State(dict[str, "_State"]):
    """Where the patterns stand after some text; maps the next character to the next state."""

    __slots__ = ("_automaton", "ahead", "ended", "hits", "starts")

    def __init__(self, automaton: Automaton, places: frozenset[int], hits: tuple[int, ...], *, starts: bool) -> None:
        super().__init__()
        self._automaton = automaton
        self.ahead = automaton.ahead(places)
        self.ended = automaton.ended(places)
        self.hits = self.ended if automaton.anywhere else hits
        self.starts = starts

    def __missing__(self, sign: str) -> _State:
        return self._automaton.step(self, sign)


class Automaton:
    """Finds patterns in texts, between characters that are part of no word, or `anywhere`."""

    def __init__(self, patterns: Sequence[Sequence[Place]], *, anywhere: bool = False) -> None:
        self.anywhere = anywhere
        self._follow: list[tuple[int, ...]] = []
        self._pattern_of: dict[int, int] = {}
        firsts: set[int] = set()
        takes: dict[str, set[int]] = {_LETTER: set(), _GAP: set()}
        between: set[int] = set()
        for number, pattern in enumerate(patterns):
            first = len(self._follow)
            if pattern:
                firsts.add(first)
            for index, place in enumerate(pattern, first):
                self._follow.append(tuple(index + ahead for ahead in place.follow))
                if place.final:
                    self._pattern_of[index] = number
                if place.signs is None:
                    between.add(index)
                for sign in place.signs or "":
                    takes.setdefault(sign, set()).add(index)
        self._alphabet = _alphabet(frozenset(takes))
        self._takes = {sign: frozenset(at if _in_word(sign) else at | between) for sign, at in takes.items()}
        self._starts = {sign: at & firsts for sign, at in self._takes.items()}
        self._forget()

    def ends(self, text: str) -> Iterator[tuple[int, int]]:
        """A pattern's number and the index behind its end, each time one ends."""
        state = self._start
        for index, sign in enumerate(text.translate(self._alphabet)):
            state = state[sign]
            if state.hits:
                for number in state.hits:
                    yield number, index + self.anywhere
        if not self.anywhere:
            for number in state[_GAP].hits:
                yield number, len(text)

    def ahead(self, places: frozenset[int]) -> frozenset[int]:
        """Where the patterns may stand one character after these places."""
        return frozenset(place for before in places for place in self._follow[before])

    def ended(self, places: frozenset[int]) -> tuple[int, ...]:
        """The patterns that may end at these places."""
        return tuple(sorted({self._pattern_of[place] for place in places if place in self._pattern_of}))

    def step(self, state: _State, sign: str) -> _State:
        """The state that a character leads to, made if no text has led there before."""
        in_word = _in_word(sign)
        reached = state.ahead & self._takes[sign]
        if state.starts:
            reached |= self._starts[sign]
        hits = () if in_word or self.anywhere else state.ended
        key = (reached, hits, in_word)
        if self._steps >= MAX_STEPS:
            self._forget()
        self._steps += 1
        following = self._states.get(key)  # in one look: texts are read in several threads, and any may forget
        if following is None:
            following = _State(self, reached, hits, starts=self.anywhere or not in_word)
            self._states[key] = following
        state[sign] = following
        return following

    def _forget(self) -> None:
        self._steps = 0
        self._states: dict[tuple[frozenset[int], tuple[int, ...], bool], _State] = {}
        self._start = _State(self, frozenset(), (), starts=True)


def _in_word(sign: str) -> bool:
    return sign.isalnum() or sign == _LETTER
