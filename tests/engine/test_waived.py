"""What a moderator allowed passes the layer that refused it, for whom it was allowed, and nothing else does."""

from __future__ import annotations

import pytest

from engine.types import BLOCKED_WORD, Cached, Image, Layer, NoteCode, Refused
from tests.engine.ordering import Open, endings, order, picture, request
from tests.engine.scripted_pipeline import ScriptedPipeline

WAIVED = ("keywords",)


async def test_a_waived_layer_lets_the_prompt_pass(open_engine: Open) -> None:
    async with open_engine(strict=True) as engine:
        (refused,) = await endings(engine, order(request("porn")))
        assert isinstance(refused, Refused)
        assert refused.layer is Layer.KEYWORDS
        drawn = await picture(engine, order(request("porn", waived=WAIVED)))
        assert NoteCode.STEERED not in {note.code for note in drawn.notes}
        (other,) = await endings(engine, order(request("porn", waived=("toxicity",))))
        assert isinstance(other, Refused)


async def test_a_word_that_the_operator_blocked_is_never_waived(open_engine: Open) -> None:
    async with open_engine(blocked_words=("gargoyle",)) as engine:
        (refused,) = await endings(engine, order(request("a gargoyle", waived=WAIVED)))
    assert isinstance(refused, Refused)
    assert refused.categories == (BLOCKED_WORD,)


@pytest.mark.parametrize("free", [False, True])
async def test_an_allowed_picture_is_given_to_nobody_else(
    open_engine: Open, pipeline: ScriptedPipeline, free: bool
) -> None:
    async with open_engine(blocked_words=()) as engine:
        allowed = await picture(engine, order(request("a garden", waived=WAIVED), owner="x:1"))
        other = await picture(engine, order(request("a garden", seed=8 if free else 7), owner="x:2", free=free))
        again = await picture(engine, order(request("a garden", waived=WAIVED), owner="x:1"))
    assert other.cached is Cached.NONE
    assert other.generation_key != allowed.generation_key
    assert again.cached is Cached.FINISHED
    assert b"waived" not in allowed.data


async def test_zero_tolerance_is_never_waived(open_engine: Open) -> None:
    async with open_engine() as engine:
        both = request("nude child", waived=("keywords", "toxicity"))
        (ending,) = await endings(engine, order(both))
    assert isinstance(ending, Refused)
    assert ending.layer is Layer.ZERO_TOLERANCE


async def test_the_finished_picture_is_checked_all_the_same(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.safety.images.ImageChecker.score", lambda *_: 1.0)
    async with open_engine() as engine:
        (ending,) = await endings(engine, order(request("a garden", waived=WAIVED)))
    assert not isinstance(ending, Image)
    assert isinstance(ending, Refused)
    assert ending.layer is Layer.IMAGE
