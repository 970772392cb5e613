"""Looks for many patterns at once, a step a character, however many there are and whatever the text.

The patterns' positions form a nondeterministic automaton (Glushkov 1961). The sets of positions that texts lead to are
its deterministic states (Rabin and Scott 1959), made when a text first leads there and kept, as in Thompson's lazy
construction; so no text can cost more than its length times the making of one state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_STEPS = 100_000
"""Steps between states that are kept, some ten megabytes; then all are forgotten and made anew as they are needed."""


class Place(NamedTuple):
    """One place of a pattern."""

    signs: str | None
    """Characters that may stand there; None means any that is part of no word."""
    follow: tuple[int, ...]
    """Places that may come next, counted from this one; 0 is itself."""
    final: bool = False
    """Whether a pattern may end here."""


class _State(dict[str, "_State"]):
    """Where the patterns stand after some text; maps the next character to the next state."""

    __slots__ = ("_automaton", "hits", "places", "starts")

    def __init__(self, automaton: Automaton, places: frozenset[int], hits: tuple[int, ...], *, starts: bool) -> None:
        super().__init__()
        self._automaton = automaton
        self.places = places
        self.hits = hits
        self.starts = starts

    def __missing__(self, sign: str) -> _State:
        return self._automaton.step(self, sign)


class Automaton:
    """Finds patterns in texts, between characters that are part of no word, or `anywhere`."""

    def __init__(self, patterns: Sequence[Sequence[Place]], *, anywhere: bool = False) -> None:
        self._anywhere = anywhere
        self._signs: list[str | None] = []
        self._follow: list[tuple[int, ...]] = []
        self._pattern_of: dict[int, int] = {}
        self._firsts: dict[str, set[int]] = {}
        for number, pattern in enumerate(patterns):
            first = len(self._signs)
            for sign in (pattern[0].signs or "") if pattern else "":
                self._firsts.setdefault(sign, set()).add(first)
            for index, place in enumerate(pattern, first):
                self._signs.append(place.signs)
                self._follow.append(tuple(index + ahead for ahead in place.follow))
                if place.final:
                    self._pattern_of[index] = number
        self._forget()

    def ends(self, text: str) -> Iterator[tuple[int, int]]:
        """A pattern's number and the index behind its end, each time one ends."""
        state = self._start
        for index, sign in enumerate(text):
            state = state[sign]
            if state.hits:
                for number in state.hits:
                    yield number, index + self._anywhere
        if not self._anywhere:
            for number in state[" "].hits:
                yield number, len(text)

    def step(self, state: _State, sign: str) -> _State:
        """The state that a character leads to, made if no text has led there before."""
        in_word = sign.isalnum() or sign == "_"
        reached = {
            place
            for before in state.places
            for place in self._follow[before]
            if (not in_word if (signs := self._signs[place]) is None else sign in signs)
        }
        if state.starts:
            reached.update(self._firsts.get(sign, ()))
        ended = reached if self._anywhere else () if in_word else state.places
        hits = tuple(sorted({self._pattern_of[place] for place in ended if place in self._pattern_of}))
        key = (frozenset(reached), hits, in_word)
        if self._steps >= MAX_STEPS:
            self._forget()
        self._steps += 1
        if key not in self._states:
            self._states[key] = _State(self, key[0], hits, starts=self._anywhere or not in_word)
        state[sign] = following = self._states[key]
        return following

    def _forget(self) -> None:
        self._steps = 0
        self._states: dict[tuple[frozenset[int], tuple[int, ...], bool], _State] = {}
        self._start = _State(self, frozenset(), (), starts=True)
