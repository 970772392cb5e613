from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.safety.keywords import (
    CATEGORIES,
    DATA,
    DEFAULT_CATEGORY,
    OPERATOR,
    built_in_words,
    innocent_phrases,
    keyword_lexicon,
    titles,
)
from engine.safety.lexicon import Lexicon, Reader, canonical, sections
from engine.safety.normalise import views
from tests.engine.safety.evasions import EVASIONS

INNOCENT = Path(__file__).parents[2] / "data" / "safety" / "innocent.txt"
WORDS = sorted(word for group in built_in_words().values() for word in group)
REQUIRED = 0.99
SHARED = keyword_lexicon()


@pytest.fixture
def lexicon() -> Lexicon:
    return SHARED


def test_the_words_are_better_profanitys() -> None:
    from better_profanity.utils import get_complete_path_of_file, read_wordlist

    listed = {canonical(word) for word in read_wordlist(get_complete_path_of_file("profanity_wordlist.txt"))}
    lists = sections(DATA)
    spared = {canonical(word) for word in lists["everyday"]}
    assert spared <= listed
    assert all(canonical(word) in listed for category in CATEGORIES[1:] for word in lists[category])
    assert len(WORDS) > 0.75 * len(listed)


@pytest.mark.parametrize("evasion", EVASIONS)
def test_stops_its_own_words_in_disguise(lexicon: Lexicon, evasion: str) -> None:
    missed = [word for word in WORDS if not lexicon.find(f"a photo of {EVASIONS[evasion](word)} in the park")]
    assert len(missed) <= (1 - REQUIRED) * len(WORDS), f"{evasion}: {missed}"


def test_stops_every_word_by_itself(lexicon: Lexicon) -> None:
    assert [word for word in WORDS if not lexicon.find(word)] == []


def innocent_lines() -> list[str]:
    lines = INNOCENT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_there_are_enough_innocents() -> None:
    assert len(set(innocent_lines())) >= 250


@pytest.mark.parametrize("disguise", ["{}", "a painting of {}, oil on canvas", "({}:1.2), 8k", "'{}'", "“{}”!"])
def test_passes_innocents(lexicon: Lexicon, disguise: str) -> None:
    assert {line: found for line in innocent_lines() if (found := lexicon.find(disguise.format(line)))} == {}


def test_passes_innocents_in_capitals(lexicon: Lexicon) -> None:
    assert [line for line in innocent_lines() if lexicon.find(line.upper())] == []


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("porn", "sexual"),
        ("NSFW!", "sexual"),
        ("a woman with0ut any cl0thes", "sexual"),
        ("nazi salute", "hate"),
        ("heroin needle", "drugs"),
        ("shit", "profanity"),
    ],
)
def test_names_the_category(lexicon: Lexicon, text: str, category: str) -> None:
    assert lexicon.find(text) == {category}


def test_innocence_ends_with_the_phrase(lexicon: Lexicon) -> None:
    assert not lexicon.find("great tit")
    assert lexicon.find("great tit, big tits") == {DEFAULT_CATEGORY}


def test_what_a_phrase_leaves_behind_is_no_phrase() -> None:
    lexicon = Lexicon({"hate": ["night owl"]}, innocent=["blue"])
    assert lexicon.find("night owl, blue") == {"hate"}
    assert not lexicon.find("night blue owl")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["oak", "o.a.k", "blue oak", "cat", "c@t", "big cat", "an", "0ak", "the"]), max_size=8))
def test_lexicons_read_in_one_walk_find_what_each_finds(words: list[str]) -> None:
    first = Lexicon({"tree": ["oak"]}, innocent=["blue oak"])
    second = Lexicon({"animal": ["cat"], "tree": ["oak"]}, innocent=["big cat"])
    text = " ".join(words)
    both = Reader(first, second)
    assert both.find_in(both.views(text)) == (first.find(text), second.find(text))


STRANGE = "日本少裸漢жא٥½éŒß🍎🚀👩🎨☆…\u3000\u200b\u0301"
PIECES = st.one_of(
    st.sampled_from([*WORDS, *innocent_phrases(), *titles(), "f.u.c.k", "sh1t", "s h i t"]),
    st.text(alphabet=STRANGE, max_size=6),
    st.sampled_from([" ", ", ", "-", "...", "....", "🍎🍎🍎🍎🍎"]),
)
TEXTS = st.lists(PIECES, max_size=8).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda gap: gap.join(pieces))
)


@settings(deadline=None)
@given(TEXTS)
def test_unknown_letters_and_signs_may_be_taken_for_one(text: str) -> None:
    reader = SHARED._reader
    assert reader.find_in(reader.views(text)) == reader.find_in(views(text))


@settings(deadline=None)
@given(TEXTS.map(str.upper) | TEXTS)
def test_no_innocent_phrase_is_overlooked(text: str) -> None:
    read = SHARED._reader.views(text)
    if SHARED.without_innocent(read, spaced=True) != SHARED.without_innocent(read, spaced=False):
        assert SHARED._reader._walk(read).may_be_innocent


def test_the_operators_words_are_theirs_even_where_they_are_built_in() -> None:
    lexicon = keyword_lexicon(blocked=("nude", "Bitch"))
    assert lexicon.find("a nude woman") == {OPERATOR}
    assert lexicon.find("a b1tch, naked") == {OPERATOR, DEFAULT_CATEGORY}


def test_an_apostrophe_makes_the_difference(lexicon: Lexicon) -> None:
    assert not lexicon.find("the ones who're late, and who\u2019re early")
    assert lexicon.find("who-re") == {DEFAULT_CATEGORY}


def test_a_word_inside_spelled_out_text(lexicon: Lexicon) -> None:
    assert lexicon.find("p h o t o o f a f u c k i n g c a t") == {DEFAULT_CATEGORY}


@pytest.mark.parametrize("word", ["gargoyle", "Ωmega zone", "ёжик", "日本刀", "c4", "blue moon", "né"])
def test_stops_the_operators_words(word: str) -> None:
    lexicon = keyword_lexicon(blocked=(word,))
    assert lexicon.find(f"a {word} at night") == {OPERATOR}
    assert lexicon.find(f"a {word.upper()}, at night") == {OPERATOR}
    assert not lexicon.find("a quiet street at night, 2024")


def test_unspaced_scripts_need_no_word_boundary() -> None:
    assert keyword_lexicon(blocked=("刀",)).find("日本刀を持つ人") == {OPERATOR}


def test_passes_the_operators_allowed_words() -> None:
    assert keyword_lexicon().find("bondage of the will")
    assert not keyword_lexicon(allowed=("bondage",)).find("Bondage of the will")
    assert not keyword_lexicon(blocked=("gargoyle",), allowed=("gargoyle",)).find("gargoyle")
    assert keyword_lexicon(allowed=("of human bondage",)).find("bondage")
    assert not keyword_lexicon(allowed=("of human bondage",)).find("Of Human Bondage, first edition")
    assert not keyword_lexicon(allowed=("$5 bondage",)).find("A copy of $5 Bondage")


def test_numbers_are_no_words(lexicon: Lexicon) -> None:
    assert not lexicon.find("455 717 8008 A55 in 1984, 4.5.5, $455")


@settings(deadline=None)
@given(st.text(max_size=300))
def test_never_raises(text: str) -> None:
    SHARED.find(text)
    Lexicon({"word": [text[:20]]}, [text[20:40]]).find(text)


def count_calls(text: str) -> int:
    """Python function calls and returns of one search: the work that grows with a text."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    SHARED.find(text)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        SHARED.find(text)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("kind", ["prose", "spelled", "brackets", "symbols", "Cyrillic"])
def test_work_grows_no_faster_than_the_text(kind: str) -> None:
    units = {
        "prose": [f"word{n}ing" for n in range(100)],
        "spelled": list("abcdefgklmn"),
        "brackets": ["(a:1", "[b]", "c)", "{d:2}"],
        "symbols": ["a1!|l", "$$@", "x*y", "+"],
        "Cyrillic": ["кот", "сидит", "окно", "диск"],
    }[kind]
    short, long = " ".join(units * 40), " ".join(units * 400)
    assert count_calls(long) <= 11 * count_calls(short)


def test_words_that_are_left_out_have_a_reason() -> None:
    """Each group of [everyday] stands under a comment that says why."""
    from importlib.resources import files

    text = files("engine.safety").joinpath("data", DATA).read_text(encoding="utf-8")
    block = text.partition("\n[everyday]\n")[2].partition("\n[")[0].strip().splitlines()
    pairs = list(zip(block[::2], block[1::2], strict=True))
    assert all(reason.startswith("# ") and not words.startswith("#") for reason, words in pairs)
