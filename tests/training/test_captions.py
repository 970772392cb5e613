"""Captions are what a person might type, and never empty unless asked."""

from dataclasses import replace
from random import Random

from training.emoji.captions import (
    EMPTY_SHARE,
    SHARED_SHARE,
    article,
    caption,
    captioned,
    glyph,
    phrase,
    plural,
    shared_words,
)
from training.emoji.data import Emoji, bare, own_tags, words

APPLE = Emoji(
    hexcode="1F34E",
    label="red apple",
    names=("apple",),
    tags=("apple", "fruit", "red", "ripe"),
    colour="red",
    own=("apple", "ripe"),
)
PLAIN = Emoji(hexcode="2764-FE0F", label="red heart", names=(), tags=(), colour=None)


def test_every_kind_of_caption_is_drawn() -> None:
    drawn = {caption(APPLE, Random(seed)) for seed in range(2_000)}
    assert {"red apple", "a red apple", "apple", "the red apple", "red apple emoji", "red apples", "🍎"} <= drawn
    assert any(text.startswith("red apple, ") for text in drawn)
    assert "" not in drawn


def test_an_emoji_without_tags_and_names_has_captions() -> None:
    assert all(caption(PLAIN, Random(seed)) for seed in range(500))


def test_a_word_alone_means_one_of_those_that_share_it() -> None:
    alone = {text for text in (caption(APPLE, Random(seed)) for seed in range(4_000)) if " " not in text}
    assert {"apple", "ripe"} <= alone
    assert not {"fruit", "red"} & alone


def described(label: str, *tags: str, names: tuple[str, ...] = ()) -> Emoji:
    return Emoji(hexcode="1", label=label, names=names, tags=tags, colour=None)


def test_the_nearest_owns_a_shared_word() -> None:
    drawn = [
        described("christmas tree", "tree", "winter"),
        described("palm tree", "tree", "beach"),
        described("beach", "sand"),
        described("night in winter", "winter"),
        described("snow", "winter"),
        described("automobile", "car", names=("car",)),
        described("police car", "car"),
    ]
    assert own_tags(drawn) == [("tree",), (), ("sand",), ("winter",), (), ("car",), ()]


def test_shared_words_are_listed_for_the_one_that_they_mean() -> None:
    fir = replace(described("fir tree", "tree", "green"), own=("tree",))
    palm = replace(described("palm tree", "tree", "beach"), own=("beach",))
    assert shared_words((palm, fir)) == ((1, "tree"),) * 2


def test_a_tenth_is_empty_and_a_quarter_of_the_rest_shares_a_word() -> None:
    drawn = captioned([0] * 10_000, (APPLE, PLAIN), ((1, "love"),), Random(0))
    empty = sum(not text for _, text in drawn)
    shared = sum(number == 1 for number, _ in drawn)
    assert all("love" in text for number, text in drawn if number == 1)
    assert abs(empty / 10_000 - EMPTY_SHARE) < 0.02
    assert abs(shared / (10_000 - empty) - SHARED_SHARE) < 0.02
    assert {number for number, _ in captioned([0] * 100, (APPLE,), (), Random(0))} == {0}


def test_phrases_of_labels_with_a_colon() -> None:
    flags = {phrase("flag: chad", Random(seed)) for seed in range(100)}
    assert flags == {"flag: chad", "flag of chad", "chad flag", "the flag of chad"}
    assert "woman with red hair" in {phrase("woman: red hair", Random(seed)) for seed in range(100)}


def test_articles_and_plurals() -> None:
    assert (article("apple"), article("pizza")) == ("an apple", "a pizza")
    assert [plural(word) for word in ("dog", "fox", "cherry", "toy", "glasses")] == [
        "dogs",
        "foxes",
        "cherries",
        "toys",
        "glasses",
    ]


def test_codes_and_words_are_normalised() -> None:
    assert bare("2764-FE0F") == "2764"
    assert glyph(PLAIN) == "❤️"
    assert words("heart_eyes_cat") == "heart eyes cat"
    assert words("rescue worker\u2019s helmet") == "rescue worker's helmet"
