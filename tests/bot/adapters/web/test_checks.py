from __future__ import annotations

import pytest

from bot.adapters.web.checks import verification
from engine.types import ContentCredentials, CredentialState, InvisibleMark, Verification
from tests.bot.adapters.web.test_html import read

WHOLE = Verification(
    made_here=True,
    intact=True,
    visible_mark="Easel",
    invisible_mark=InvisibleMark(number=7, score=30.3, cropped=False),
    credentials=ContentCredentials(
        state=CredentialState.OWN, signer="Easel installation", generator="Easel", source_type="trainedAlgorithmicMedia"
    ),
    parameters={"prompt": "a <b>cat</b>", "steps": 20, "strict": False, "upscale": True, "seed": 0},
)


def test_what_a_file_tells_is_said_in_sentences() -> None:
    markup = verification(WHOLE, "en")
    text = read(markup).text
    for told in (
        "It was made by this installation.",
        "visible mark",
        "installation number 7",
        "signed by this installation",
        "trainedAlgorithmicMedia",
        "a <b>cat</b>",
        "Steps",
        "Seed0",
    ):
        assert told in text
    assert "ez-missing" not in markup
    assert "False" not in text
    assert "30.3" not in text


def test_what_is_missing_is_said_quietly() -> None:
    bare = Verification(made_here=False, intact=True, parameters=None, visible_mark=None)
    markup = verification(bare, "de")
    assert markup.count("ez-missing") == 2
    read(markup)


@pytest.mark.parametrize("made_here", [True, False, None])
def test_a_damaged_file_has_no_marks(made_here: bool | None) -> None:
    damaged = WHOLE.model_copy(update={"intact": False, "made_here": made_here, "parameters": None})
    markup = verification(damaged, "en")
    assert "damaged" in markup
    assert "ez-mark" not in markup
