from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import BadInputError, NotAllowedError, SettingsError
from bot.grammar import from_options, resolve
from bot.settings import Settings, Style
from engine.types import EngineInfo, ModelInfo, ResolvedRequest, Sampler

EMOJI = ModelInfo(name="emoji", title="Emoji", revision="1", licence="MIT", native=64, default_side=256, min_side=64,
                  max_side=512, square_only=True, steps=4, guidance=3.0, sampler=Sampler.EULER)  # fmt: skip
SD15 = ModelInfo(name="sd15", title="SD 1.5", revision="2", licence="M", native=512, default_side=512, min_side=256,
                 max_side=1024)  # fmt: skip
INFO = EngineInfo(models=(EMOJI, SD15), default_model="emoji")
SETTINGS = Settings(
    styles={
        "Ink": Style(
            template="ink of {prompt}, {0} %s", negative_prompt="colour", options={"steps": 30, "model": "sd15"}
        ),
        "plain": Style(template="{prompt}", options={"watermark": False}),
        "bad": Style(template="{prompt}", options={"steps": 1000}),
    }
)


def settle(may_unmark: bool = False, settings: Settings = SETTINGS, **options: Any) -> ResolvedRequest:
    seeds = count(100)
    request = from_options({"prompt": "a cat", **options})
    return resolve(request, INFO, settings, draw_seed=lambda: next(seeds), may_unmark=may_unmark)


def test_what_is_open_comes_from_the_model() -> None:
    resolved = settle()
    assert (resolved.model, resolved.width, resolved.height) == ("emoji", 256, 256)
    assert (resolved.steps, resolved.guidance, resolved.sampler, resolved.seed) == (4, 3.0, Sampler.EULER, 100)
    assert settle(model="SD15").sampler is SD15.sampler


def test_what_was_asked_for_stays() -> None:
    asked: dict[str, Any] = {
        "steps": 9,
        "guidance": 0.0,
        "width": 256,
        "height": 512,
        "seed": 0,
        "sampler": "lcm",
        "model": "sd15",
    }
    assert settle(**asked).model_dump(include=set(asked)) == asked


def test_an_open_side_follows_the_model() -> None:
    assert (settle(width=128).width, settle(width=128).height) == (128, 128)
    assert (settle(model="sd15", height=768).width, settle(model="sd15", height=768).height) == (512, 768)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"model": "sd99"},
            (
                'There is no model "sd99" here, only emoji, sd15; '
                "the operator chooses them by EASEL_MODEL and EASEL_MODELS."
            ),
        ),
        ({"style": "nope"}, 'There is no style "nope"; the styles are Ink, plain, bad.'),
        ({"width": 64, "height": 128}, "The model emoji draws squares with sides from 64 to 512 pixels, not 64x128."),
        ({"width": 1024}, "The model emoji draws squares with sides from 64 to 512 pixels, not 1024x1024."),
        ({"width": 64, "model": "sd15"}, "The model sd15 draws sides from 256 to 1024 pixels, not 64x512."),
        ({"prompt": "x" * 1990, "style": "ink"}, "The prompt may have at most 2000 characters; this one has 2005."),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadInputError) as caught:
        settle(**options)
    assert caught.value.sentence == expected


def test_a_style_goes_around_the_prompt_and_fills_what_is_open() -> None:
    resolved = settle(style="ink", negative_prompt="blur")
    assert resolved.prompt == "ink of a cat, {0} %s"
    assert resolved.negative_prompt == "blur, colour"
    assert (resolved.steps, resolved.model, resolved.style) == (30, "sd15", "Ink")
    assert settle(style="ink", steps=5).steps == 5


@given(st.text(alphabet="{}0a.[]!:%sprompt", min_size=1, max_size=40))
def test_a_template_is_no_format_string(prompt: str) -> None:
    assert settle(style="ink", prompt=prompt).prompt == f"ink of {prompt}, {{0}} %s"


def test_a_broken_style_is_the_operators_fault() -> None:
    with pytest.raises(SettingsError, match="The style bad is not set up right"):
        settle(style="bad")


def test_an_installation_without_styles_says_so() -> None:
    with pytest.raises(BadInputError, match="none are set up"):
        settle(settings=Settings(styles={}), style="ink")


def test_the_mark_stays_unless_it_may_be_left_out() -> None:
    with pytest.raises(NotAllowedError, match="--no-watermark"):
        settle(watermark=False)
    for opacity in (0.0, 0.05):
        with pytest.raises(NotAllowedError, match=r"at least 0\.1"):
            settle(watermark_opacity=opacity)
    assert settle(watermark_opacity=0.1).watermark_opacity == 0.1
    assert settle(style="plain").watermark is False, "the operator's own style may leave it off"
    assert settle(may_unmark=True, watermark=False, watermark_opacity=0.0).watermark is False


def test_every_shipped_style_settles() -> None:
    settings = Settings()
    for name in settings.styles:
        assert "a cat" in settle(settings=settings, style=name).prompt
