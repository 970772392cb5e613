"""The vocabulary knows frequent words whole and any other text in pieces."""

from collections import Counter
from pathlib import Path

import pytest

from engine.sd.tokenizer import END, START, Tokenizer
from training.emoji.vocabulary import train_merges, vocabulary, write_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    counts = Counter({"apple": 50, "apples": 20, "pizza": 30, "é": 10})
    write_tokenizer(train_merges(counts, 100), tmp_path)
    return Tokenizer.load(tmp_path)


def test_frequent_words_are_one_token(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.tokenize("apple apples pizza é")) == 4


def test_any_text_has_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.tokenize("größe 漢字 🍎 \u200d")


def test_start_and_end_are_the_last_two_ids() -> None:
    tokens = vocabulary(train_merges(Counter({"tree": 3}), 10))
    assert sorted(tokens.values()) == list(range(len(tokens)))
    assert (tokens[START], tokens[END]) == (len(tokens) - 2, len(tokens) - 1)


def test_merges_stop_when_nothing_is_left_to_join() -> None:
    assert train_merges(Counter({"ab": 1}), 10) == [("a", "b</w>")]
