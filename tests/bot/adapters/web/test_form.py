from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from bot import grammar
from bot.adapters.web.form import ADAPTED, LEFT_OUT, Form, sides
from bot.adapters.web.words import Words
from bot.grammar import OPTIONS
from bot.messages import say
from bot.settings import Settings
from engine.types import EngineInfo, ImageRequest, ModelInfo
from tests.fakes.engine_client import MODEL

LARGE = ModelInfo(
    name="sd15",
    title="Stable Diffusion 1.5",
    revision="1",
    licence="openrail",
    native=512,
    default_side=512,
    min_side=256,
    max_side=1024,
)
TURBO = LARGE.model_copy(update={"name": "turbo", "title": "Turbo", "steps": 4, "guidance": 1.0})
INFO = EngineInfo(models=(LARGE, MODEL, TURBO), default_model="sd15")


@pytest.fixture
async def form(tmp_path: Path) -> Form:
    with gr.Blocks(analytics_enabled=False):
        return Form(INFO, Settings(home=tmp_path), Words())


def untouched(form: Form) -> dict[str, object]:
    return {name: getattr(field, "value", None) for name, field in form.fields.items()}


def options(form: Form, **changed: object) -> dict[str, object]:
    return dict(form.options(list((untouched(form) | changed).values())))


async def test_every_option_has_a_field_with_a_name(form: Form) -> None:
    expected = set(OPTIONS) - LEFT_OUT - {"strength"}
    assert set(form.fields) == expected
    assert all(field.label for field in form.fields.values())


async def test_a_starting_image_brings_its_strength(tmp_path: Path) -> None:
    with gr.Blocks(analytics_enabled=False):
        form = Form(INFO, Settings(home=tmp_path, image_input=True), Words())
    assert "strength" in form.fields
    assert form.image.visible


async def test_an_untouched_form_leaves_everything_open(form: Form) -> None:
    assert options(form) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 25),
        ("guidance", 9.0),
        ("width", 768),
        ("seed", "18446744073709551615"),
        ("sampler", "euler"),
        ("style", "photo"),
        ("quality", "fast"),
        ("strict", True),
        ("force", True),
        ("spoiler", True),
        ("negative_prompt", "blurry"),
        ("watermark", False),
        ("watermark_text", "Ada"),
        ("watermark_position", "center"),
        ("watermark_opacity", 0.25),
        ("watermark_size", "24"),
        ("watermark_color", "#ff0000"),
        ("watermark_margin", "0"),
    ],
)
async def test_what_is_chosen_is_asked_for(form: Form, name: str, value: str | float) -> None:
    chosen = options(form, **{name: value})
    assert chosen == {name: value}
    request = grammar.from_options({"prompt": "a cat", name: value})
    assert str(getattr(request, name)) == str(value)


async def test_another_model_s_own_values_are_left_open(form: Form) -> None:
    chosen = options(form, model="turbo", steps=4, guidance=1.0, width=512, height=512)
    assert chosen == {"model": "turbo"}


async def test_the_fields_follow_the_model(form: Form) -> None:
    updates = dict(zip(ADAPTED, form.for_model("turbo"), strict=True))
    assert (updates["steps"]["minimum"], updates["steps"]["maximum"], updates["steps"]["value"]) == (4, 30, 4)
    assert updates["guidance"]["minimum"] == 1.0
    small = dict(zip(ADAPTED, form.for_model("emoji"), strict=True))
    assert [side for _, side in small["width"]["choices"]] == sides(MODEL)


@pytest.mark.parametrize(("model", "known"), [(LARGE, [512, 768, 1024]), (MODEL, [64, 128, 256, 512])])
def test_sizes_are_the_usual_ones_or_the_model_s_own(model: ModelInfo, known: list[int]) -> None:
    assert sides(model) == known


async def test_a_batch_has_the_form_s_options_as_its_first_line(form: Form) -> None:
    text = form.batch({"steps": 25, "watermark": False, "negative_prompt": "blurry, dark"}, "a cat\na dog --seed 7")
    first, second = grammar.parse_batch(text, 10)
    assert (first.prompt, first.steps, first.watermark, first.negative_prompt) == ("a cat", 25, False, "blurry, dark")
    assert (second.steps, second.seed) == (25, 7)
    assert form.batch({}, "a cat\na dog") == "a cat\na dog"
    (only,) = grammar.parse_batch(form.batch({"steps": 25}, "--seed 7\na cat"), 10)
    assert (only.steps, only.seed) == (25, 7)


async def test_choices_are_in_the_person_s_language(form: Form) -> None:
    names = [str(field.elem_id).removeprefix("field-") for field in form.worded]
    german = dict(zip(names, (update["choices"] for update in form.in_language("de")), strict=True))
    assert set(german) == {"style", "sampler", "quality", "watermark_position"}
    assert german["style"][0] == (say("web.no_style", "de"), "")
    assert german["sampler"][:2] == [(say("web.model_own", "de"), ""), ("ddim", "ddim")]
    assert ("oben links", "top-left") in german["watermark_position"]


async def test_a_picture_s_settings_come_back_into_the_form(form: Form) -> None:
    request = ImageRequest(prompt="a cat", steps=25, width=640, height=512, seed=2**64 - 1, model="sd15", style="photo")
    prompt, *updates = form.filled(request)
    shown = dict(zip(form.fields, updates, strict=True))
    assert prompt == "a cat"
    assert shown["seed"]["value"] == str(2**64 - 1)
    assert shown["steps"]["value"] == 25
    assert shown["style"]["value"] == "photo"
    assert 640 in [side for _, side in shown["width"]["choices"]]
    assert shown["watermark_text"]["value"] == "Easel"
