import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cache import family_key, finished_key, generation_key
from engine.cache.keys import NOT_PIXELS
from engine.request import PNG_SIGNATURE
from engine.types import Position, Quality, ResolvedRequest, Sampler, Watermark

ROOT = Path(__file__).parents[2]
REQUEST = ResolvedRequest(
    prompt="a red apple",
    negative_prompt="blurry",
    steps=20,
    guidance=7.5,
    width=512,
    height=768,
    seed=7,
    sampler=Sampler.DPMPP_2M,
    model="emoji",
)
FACTS: dict[str, Any] = {
    "revision": "r1",
    "fingerprint": "native:float32",
    "filter_version": "f1",
    "strict": False,
    "scope": "discord:1",
}
GOLDEN = "87de29f77b7d9272c6d0365cd66403430837a237b9b33f1c0e67c04255d9f596"
"""Changes only when pictures change: with a new field of requests, or SCHEMA."""

PIXELS: dict[str, Any] = {
    "prompt": "a green apple",
    "negative_prompt": "",
    "steps": 21,
    "guidance": 7.25,
    "width": 520,
    "height": 760,
    "seed": 2**64 - 1,
    "sampler": Sampler.EULER,
    "model": "sd15",
    "quality": Quality.FAST,
    "waived": ("keywords",),
    "image": {"data": PNG_SIGNATURE + b"a"},
    "variations": [{"seed": 1, "strength": 0.2}],
    "upscale": 2,
}
WITH_IMAGE = {"strength"}
"""Fields that mean something beside a starting image alone."""
OTHERS: dict[str, Any] = {
    "style": "oil",
    "strict": True,
    "force": True,
    "watermark": False,
    "watermark_text": "me",
    "watermark_position": Position.CENTER,
    "watermark_opacity": 1.0,
    "watermark_size": 30,
    "watermark_color": "#000000",
    "watermark_margin": 1,
    "spoiler": True,
    "private": True,
}


def key_of(**changes: object) -> str:
    request = ResolvedRequest.model_validate(REQUEST.model_dump() | changes)
    return generation_key(request, **FACTS)


def test_every_field_of_a_request_is_known_to_change_the_picture_or_not() -> None:
    assert PIXELS.keys() | OTHERS.keys() | WITH_IMAGE == ResolvedRequest.model_fields.keys()
    assert OTHERS.keys() == NOT_PIXELS


def test_strength_counts_beside_an_image_alone() -> None:
    image = {"image": PIXELS["image"]}
    assert key_of(strength=0.3) == key_of()
    assert key_of(strength=0.3, **image) != key_of(**image)
    assert key_of(strength=0.6, **image) == key_of(**image)


def test_an_image_is_in_the_key_by_its_content() -> None:
    other = {"data": PNG_SIGNATURE + b"b"}
    assert key_of(image=other) != key_of(image=PIXELS["image"])


def test_variations_count_in_their_order() -> None:
    steps = [{"seed": 1, "strength": 0.2}, {"seed": 2, "strength": 0.2}]
    assert key_of(variations=steps) != key_of(variations=steps[::-1])


@settings(deadline=None)
@given(st.sampled_from(sorted(PIXELS)))
def test_what_changes_the_picture_changes_its_key(field: str) -> None:
    assert key_of(**{field: PIXELS[field]}) != key_of()


@settings(deadline=None)
@given(st.sets(st.sampled_from(sorted(OTHERS))))
def test_what_leaves_the_picture_leaves_its_key(fields: set[str]) -> None:
    assert key_of(**{field: OTHERS[field] for field in fields}) == key_of()


@settings(deadline=None)
@given(st.sampled_from(sorted(FACTS)))
def test_circumstances_change_both_keys(name: str) -> None:
    changed = FACTS | {name: not FACTS[name] if name == "strict" else FACTS[name] + "x"}
    assert generation_key(REQUEST, **changed) != generation_key(REQUEST, **FACTS)
    assert family_key(REQUEST, **changed) != family_key(REQUEST, **FACTS)


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_a_family_differs_in_nothing_but_the_seed(seed: int) -> None:
    assert family_key(REQUEST.model_copy(update={"seed": seed}), **FACTS) == family_key(REQUEST, **FACTS)
    assert (key_of(seed=seed) == key_of()) == (seed == REQUEST.seed)


@settings(deadline=None)
@given(st.text(), st.text())
def test_texts_can_not_run_into_each_other(prompt: str, negative: str) -> None:
    one = REQUEST.model_copy(update={"prompt": prompt, "negative_prompt": negative})
    other = REQUEST.model_copy(update={"prompt": negative, "negative_prompt": prompt})
    assert (generation_key(one, **FACTS) == generation_key(other, **FACTS)) == (prompt == negative)


def test_equal_numbers_have_one_spelling() -> None:
    assert key_of(guidance=7) == key_of(guidance=7.0)
    assert key_of(guidance=-0.0) == key_of(guidance=0.0)


def test_a_key_is_the_same_in_every_process_and_release() -> None:
    assert key_of() == GOLDEN
    assert all(len(key) == 64 for key in (key_of(), family_key(REQUEST, **FACTS)))
    code = "from tests.engine.test_cache_keys import key_of; print(key_of())"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True, text=True
        )
        assert run.stdout.strip() == GOLDEN


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            None,
            Watermark(text="Easel!"),
            Watermark(text="Easel", position=Position.CENTER),
            Watermark(text="Easel", opacity=0.25),
            Watermark(text="Easel", size=20),
            Watermark(text="Easel", color="#fffffe"),
            Watermark(text="Easel", margin=9),
        ]
    )
)
def test_every_property_of_the_mark_changes_the_finished_key(mark: Watermark | None) -> None:
    plain = finished_key("a" * 64, Watermark(text="Easel"), provenance="1")
    assert finished_key("a" * 64, mark, provenance="1") != plain
    assert finished_key("b" * 64, Watermark(text="Easel"), provenance="1") != plain
    assert finished_key("a" * 64, Watermark(text="Easel"), provenance="2") != plain
