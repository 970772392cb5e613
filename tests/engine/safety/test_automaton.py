from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.safety import automaton
from engine.safety.automaton import Automaton, Place

CAT = [Place("ck", (1,)), Place("a4@", (0, 1)), Place("t", (), final=True)]
"""c or k, an a or more, t."""
IN_IT = [Place("i", (1,)), Place("n", (1, 2)), Place(None, (1,)), Place("i", (1,)), Place("t", (), final=True)]
"""Two words, in one or with a sign between them."""
PATTERNS = (r"[ck][a4@]+t", r"in\W?it")


def ends(text: str) -> set[tuple[int, int]]:
    """By regular expressions, what the automaton finds between signs of no word."""
    found = set()
    for number, pattern in enumerate(PATTERNS):
        ending = re.compile(rf"(?<!\w){pattern}\Z")
        for end in range(len(text) + 1):
            if (end == len(text) or not (text[end].isalnum() or text[end] == "_")) and ending.search(text[:end]):
                found.add((number, end))
    return found


@given(st.text(alphabet="ckat4@in -é", max_size=40))
def test_finds_what_regular_expressions_find(text: str) -> None:
    assert set(Automaton([CAT, IN_IT]).ends(text)) == ends(text)


@given(st.text(alphabet="ckat4@in", max_size=40))
def test_finds_patterns_anywhere(text: str) -> None:
    found = {end for number, end in Automaton([CAT, IN_IT], anywhere=True).ends(text) if number == 0}
    assert found == {end for end in range(len(text) + 1) if re.search(rf"{PATTERNS[0]}\Z", text[:end])}


def test_forgets_before_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "MAX_STEPS", 10)
    small = Automaton([CAT, IN_IT])
    text = " ".join(f"{letter}at in it {letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    assert set(small.ends(text)) == ends(text)
    assert set(small.ends(text)) == ends(text)


def test_knows_nothing_without_patterns() -> None:
    assert list(Automaton([]).ends("cat")) == []
    assert list(Automaton([[]], anywhere=True).ends("cat")) == []
