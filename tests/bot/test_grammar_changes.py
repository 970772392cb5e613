from __future__ import annotations

from typing import Any

import pytest

from bot.errors import BadInputError
from bot.grammar.changes import take_changes
from engine.types import MAX_VARIATIONS, Variation


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"upscale": False, "variations": ""}, {}),
        ({"upscale": True}, {"upscale": 2}),
        ({"variations": "7:0.2"}, {"variations": (Variation(seed=7, strength=0.2),)}),
        (
            {"variations": "7:.2 18446744073709551615:1"},
            {"variations": (Variation(seed=7, strength=0.2), Variation(seed=2**64 - 1, strength=1))},
        ),
    ],
)
def test_changes_are_taken_out_of_the_options(options: dict[str, Any], changes: dict[str, Any]) -> None:
    given = {"prompt": "a cat", **options}
    assert take_changes(given) == changes
    assert given == {"prompt": "a cat"}


@pytest.mark.parametrize(
    "given", ["7", "7:", ":0.2", "7:0", "7:1.1", "-7:0.2", "18446744073709551616:0.2", "7:nan", "a:b"]
)
def test_a_variation_that_is_none_gets_one_sentence(given: str) -> None:
    with pytest.raises(BadInputError, match="--variation takes SEED:STRENGTH"):
        take_changes({"variations": given})


def test_there_is_an_end_to_variations() -> None:
    with pytest.raises(BadInputError, match="varied"):
        take_changes({"variations": " ".join(["7:0.2"] * (MAX_VARIATIONS + 1))})
