"""Parity of the tokenizer with that of transformers, over one small vocabulary."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from engine.sd.tokenizer import END, MAX_CHARACTERS, START, Tokenizer, read_merges
from tests.engine.sd.siblings import MERGES, reference_tokenizer, vocabulary, write_tokenizer

OURS = {pad: Tokenizer(vocabulary(), MERGES, pad=pad) for pad in (END, "!")}
THEIRS: dict[str, Any] = {pad: reference_tokenizer(pad=pad) for pad in (END, "!")}


def expected(text: str, pad: str) -> list[int]:
    ids: list[int] = THEIRS[pad](text, padding="max_length", max_length=77, truncation=True)["input_ids"]
    return ids


def check(text: str) -> None:
    for pad in (END, "!"):
        assert OURS[pad]([text]) == [expected(text, pad)], text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "the red apple",
        "The CAT's book, it's they've I'm we'll he'd don't",
        "o'shea ''s !'s 's's",
        "a\tb\nc\r\nd\x85e\u00a0f\u2003g\u3000h",
        "a\x1cb\x1fc\x00d",
        "cafe\u0301 café naïve Ångström",
        "ΑΣ Σ οδός ΟΔΟΣ İstanbul ǅ ﬁ ß ẞ",
        "日本語 한국어 עברית العربية हिन्दी ไทย",
        "😀👩‍👩‍👧‍👦🇩🇪 ✨a✨",
        "\uff11\uff12 ⅷ 3.14 x²",
        "soft\u00adhyphen zero\u200bwidth joiner\u200d",
        "a<|endoftext|>b <|startoftext|>!! <|ENDOFTEXT|>!! !!<|EndOfText|>",
        "&amp; &lt;b&gt;",
        "!!! wow! a!b",
        "aaaa" * 20,
        "the " * 100,
        "x" * 500,
        "(masterpiece:1.2), [red|blue], {a}, --no #tag @you",
    ],
)
def test_chosen_texts(text: str) -> None:
    check(text)


ASSIGNED = st.characters(exclude_categories=("Cs", "Cn", "Co"))


@settings(max_examples=150, deadline=None)
@given(st.text(ASSIGNED, max_size=60))
def test_any_text(text: str) -> None:
    check(text)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("aceh tr'splnd!.,<|>😀é\u0301 12\n\x1cΣI\u0307"), max_size=80))
def test_texts_of_awkward_letters(text: str) -> None:
    check(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([START, END, END.upper(), "the", "'s", "!", " ", "apple", "<|", "|>"]), max_size=12))
def test_texts_of_special_tokens(pieces: list[str]) -> None:
    check("".join(pieces))


def test_unknown_bytes_become_the_end_token() -> None:
    poor = {"a": 0, "a</w>": 1, START: 2, END: 3}
    assert Tokenizer(poor, []).tokenize("aé a") == [0, 3, 3, 1]


def test_lone_surrogates_are_no_obstacle() -> None:
    assert OURS[END].tokenize("a\ud800b")


def test_rows_are_of_the_model_s_length() -> None:
    short = Tokenizer(vocabulary(), MERGES, length=9)
    for row in short(["", "the cat", "the " * 40]):
        assert len(row) == 9
        assert row[0] == short.start
        assert row[-1] == short.end


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    loaded = Tokenizer.load(tmp_path, pad="!")
    assert (loaded.length, loaded.pad) == (77, vocabulary()["!"])


def test_padding_tokens_are_written_in_two_ways(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    config = {"model_max_length": 10**30, "pad_token": {"content": "!", "__type": "AddedToken"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.length, loaded.pad) == (77, vocabulary()["!"])


@pytest.mark.parametrize("written", ["!", {"content": "!", "lstrip": False}], ids=["plain", "as an object"])
@pytest.mark.parametrize("config", [{}, {"added_tokens_decoder": {}}], ids=["old", "with added tokens"])
def test_where_two_files_name_padding_tokens_transformers_decides(
    tmp_path: Path, written: object, config: dict[str, object]
) -> None:
    write_tokenizer(tmp_path, pad=END)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": written}))
    theirs = CLIPTokenizer.from_pretrained(tmp_path)
    ids = theirs("the cat", padding="max_length", max_length=77, truncation=True)["input_ids"]
    assert Tokenizer.load(tmp_path)(["the cat"]) == [ids]


def test_a_map_of_special_tokens_without_a_configuration_is_read(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    assert Tokenizer.load(tmp_path).pad == vocabulary()["!"]


def test_merges_keep_their_order_and_lose_the_version() -> None:
    assert read_merges(["#version: 0.2", "a b", "", "ab c</w>\r\n"]) == [("a", "b"), ("ab", "c</w>")]


@pytest.mark.parametrize("letters", ["a", "th", "anap"])
def test_long_words_take_near_linear_time(letters: str) -> None:
    word = (letters * MAX_CHARACTERS)[:MAX_CHARACTERS]
    begin = time.process_time()
    OURS[END].tokenize(word)
    assert time.process_time() - begin < 0.5


def test_endless_texts_are_cut() -> None:
    text = "the " * (MAX_CHARACTERS // 4)
    assert OURS[END].tokenize(text + "cat " * 1_000_000) == OURS[END].tokenize(text)


def test_composed_text_is_what_counts() -> None:
    assert OURS[END].tokenize(unicodedata.normalize("NFD", "é")) == OURS[END].tokenize("é")
