# ruff: noqa: RUF001  (look-alikes are what this is about)

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.safety.normalise import LONGEST_RUN, fold, normalise, views

TEXT = st.text(max_size=200)
TRICKY = st.text(alphabet="ab1!|@$*+.-_ ()[]:{}\"'\u0301\u200bЁйηfucké０ﬁİß", max_size=80)


@settings(deadline=None)
@given(TEXT | TRICKY)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@settings(deadline=None)
@given(TEXT | TRICKY)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None)
@given(TEXT | TRICKY)
def test_views_hold_no_marks_no_invisible_signs_and_no_long_runs(text: str) -> None:
    plain = views(text).plain
    assert not {unicodedata.category(letter) for letter in plain} & {"Mn", "Me", "Cf", "Cc", "Cn", "Co", "Cs"}
    assert not any(letter * (LONGEST_RUN + 1) in plain for letter in set(plain))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), max_size=300))
def test_ascii_grows_no_longer(text: str) -> None:
    assert len(normalise(text)) <= len(text)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("A  Red\tAPPLE", "a red apple"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("𝔣𝔯𝔞𝔨𝔱𝔲𝔯", "fraktur"),
        ("s\u0336t\u0336r\u0336u\u0336c\u0336k", "struck"),
        ("zero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("f.o.x and a h e n", "fox and ahen"),
        ("(masterpiece:1.3), [best], {quality}", "masterpiece, best, quality"),
        ("w1ld h0r$e in 1984", "wild horse in 1984"),
        ("coooool", "cool"),
        ("сосоа", "cocoa"),
        ("Straße", "strasse"),
        ("who´re in ϲapitals", "who're in capitals"),
        ("pri\ue000vate, un\U000e1234assigned, ha\ud800lf", "private, unassigned, half"),
        ("\U00020bb7野家", "\U00020bb7野家"),
        ("", ""),
    ],
)
def test_reads_what_is_meant(written: str, read: str) -> None:
    assert normalise(written) == read


def test_views_of_spelled_and_split_words() -> None:
    text = views("a (f)o[x] and h-e-n, c.a.t")
    assert text.joined == "a (fox] and hen, cat"
    assert {"hen", "cat"} <= {part for stretch in text.letters for part in (stretch, stretch[:3], stretch[3:])}


def test_what_nobody_sees_and_digits_part_letters() -> None:
    text = views("a na\u200bked 7\u200b, red2fox, 85mm, appe\u0301tit, 1girl, 350g, cat7")
    assert text.plain == "a naked 7, red2fox, 85mm, appetit, 1girl, 350g, cat7"
    assert text.parted == "a na ked 7 , red fox, 85mm, appetit, 1girl, 350g, cat "
    assert views("one two three four red2fox five six seven eight").parted == "two three four red fox five six seven"
    assert views("a plain text, 1984, 4k, 3d, 2girls").parted == ""
    assert views("80lions and 4cats").parted == " lions and  cats"


def test_marks_in_any_order_take_no_quadratic_time() -> None:
    """Python sorts combining marks by insertion, which at this length would take minutes."""
    assert normalise("a" + "\u0323\u0301" * 100_000 + "b") == "ab"
