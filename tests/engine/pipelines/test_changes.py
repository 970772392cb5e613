"""Variations, starting images and enlarged pictures, as both pipelines draw them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from engine.errors import InputError
from engine.models.registry import ModelSource, resolve
from engine.pipelines.base import Look, Pipeline
from engine.pipelines.diffusers import DiffusersPipeline
from engine.pipelines.native import NativePipeline
from engine.pipelines.optimisations import PRESETS
from engine.pipelines.passes import route
from engine.sd.config import ScheduleConfig
from engine.sd.schedule import NoiseSchedule
from engine.settings import EngineSettings
from engine.types import NoteCode, Quality, ResolvedRequest, Sampler, SourceImage
from tests.engine.pipelines.conftest import Sibling, ask, ignore_steps, psnr

PARITY = 60.0
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own

Pair = dict[str, Pipeline]


@pytest.fixture(scope="module")
def both(sd1: Sibling, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The same small model, drawn by ourselves and by diffusers."""
    settings = EngineSettings(home=tmp_path_factory.mktemp("home"), device="cpu", threads=1, compile="off")
    source = resolve(str(sd1.folder), settings)
    theirs = ModelSource(info=source.info, path=source.path, kind="diffusers")
    pipelines: Pair = {"native": NativePipeline(source, settings), "diffusers": DiffusersPipeline(theirs, settings)}
    for pipeline in pipelines.values():
        pipeline.load()
    return pipelines


@pytest.fixture(scope="module", params=["native", "diffusers"])
def pipeline(both: Pair, request: pytest.FixtureRequest) -> Pipeline:
    return both[request.param]


def picture(pipeline: Pipeline, **options: Any) -> Image.Image:
    return pipeline.draw([ask(**{"steps": 2} | options)], ignore_steps)[0].image


def vary(*steps: tuple[int, float]) -> dict[str, Any]:
    return {"variations": [{"seed": seed, "strength": strength} for seed, strength in steps]}


def photo(side: int = 64, colour: str = "teal") -> dict[str, Any]:
    image = Image.new("RGB", (side, side), colour)
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, side // 2, side // 2), fill="orange")
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"image": SourceImage(data=file.getvalue())}


def kept(both: Pair, options: dict[str, Any]) -> Image.Image:
    """What the autoencoder, of random weights as it is, makes of a starting image."""
    native = both["native"]
    assert isinstance(native, NativePipeline)
    with torch.inference_mode():
        return native._decode(native._encode_images([Image.open(io.BytesIO(options["image"].data))]))[0]


def test_a_variation_is_nearer_the_weaker_it_is(pipeline: Pipeline) -> None:
    parent = picture(pipeline)
    distances = [psnr(parent, picture(pipeline, **vary((8, strength)))) for strength in (1e-4, 0.2, 0.5, 1.0)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 35


def test_a_variation_of_full_strength_is_the_other_seeds_picture(pipeline: Pipeline) -> None:
    assert picture(pipeline, **vary((8, 1.0))).tobytes() == picture(pipeline, seed=8).tobytes()


@pytest.mark.parametrize("sampler", [Sampler.EULER_ANCESTRAL, Sampler.LCM])
def test_noise_that_samplers_add_is_varied_as_well(both: Pair, sampler: Sampler) -> None:
    varied = picture(both["native"], sampler=sampler, **vary((8, 1.0)))
    assert varied.tobytes() == picture(both["native"], sampler=sampler, seed=8).tobytes()


def test_variations_follow_each_other_in_order(pipeline: Pipeline) -> None:
    pictures = [picture(pipeline, **vary(*steps)).tobytes() for steps in (((8, 0.5), (9, 0.5)), ((9, 0.5), (8, 0.5)))]
    assert pictures[0] != pictures[1]


def test_both_pipelines_vary_alike(both: Pair) -> None:
    ours, theirs = (picture(each, sampler=Sampler.DDIM, **vary((8, 0.3), (9, 0.1))) for each in both.values())
    assert psnr(ours, theirs) >= PARITY


def test_a_pipeline_that_makes_its_noise_elsewhere_says_so(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = both["diffusers"]._pipe  # type: ignore[attr-defined]
    monkeypatch.setattr(pipe, "prepare_latents", lambda shape: shape)
    with pytest.raises(InputError, match="can't vary"):
        picture(both["diffusers"], **vary((8, 0.5)))


@pytest.mark.parametrize("sampler", list(Sampler))
def test_a_picture_leaves_its_starting_image_the_further_the_stronger(both: Pair, sampler: Sampler) -> None:
    start = photo()
    weak, strong = (
        picture(both["native"], steps=5, sampler=sampler, strength=strength, **start) for strength in (0.2, 1.0)
    )
    assert psnr(weak, kept(both, start)) > psnr(strong, kept(both, start))


def test_the_starting_image_and_the_seed_each_change_the_picture(pipeline: Pipeline) -> None:
    start = {"steps": 4, "strength": 0.5}
    drawn = {
        picture(pipeline, **start, **photo()).tobytes(),
        picture(pipeline, **start, **photo(colour="maroon")).tobytes(),
        picture(pipeline, **start, **photo(), seed=8).tobytes(),
        picture(pipeline, **start).tobytes(),
    }
    assert len(drawn) == 4


def test_strength_means_nothing_without_an_image(pipeline: Pipeline) -> None:
    assert picture(pipeline, strength=0.3).tobytes() == picture(pipeline).tobytes()


def test_an_image_of_another_shape_is_cropped_to_fit(pipeline: Pipeline) -> None:
    assert picture(pipeline, width=64, height=128, strength=0.5, **photo(96)).size == (64, 128)


@pytest.mark.parametrize("steps", [1, 2, 4, 30])
@pytest.mark.parametrize("strength", [0.05, 0.3, 0.6, 1.0])
def test_a_starting_image_gets_its_share_of_the_noise_however_few_the_steps(steps: int, strength: float) -> None:
    schedule = NoiseSchedule(ScheduleConfig())
    request = ask(steps=steps, strength=strength, sampler=Sampler.DDIM, **photo())
    (only,) = route(request, PRESETS[Quality.EXACT], schedule, (64, 64))
    assert 1 <= only.plan.steps <= steps
    assert only.plan.sigmas[0] <= schedule.sigma(np.array([1000 * strength + 20]))[0]


def test_an_enlarged_picture_is_the_same_one_twice_as_large(pipeline: Pipeline) -> None:
    plain, larger = picture(pipeline), picture(pipeline, upscale=2)
    other = picture(pipeline, seed=8)
    assert larger.size == (128, 128)
    back = larger.resize(plain.size, Image.Resampling.BOX)
    assert psnr(back, plain) > psnr(back, other)


def test_a_model_that_draws_one_size_alone_enlarges_from_there(both: Pair) -> None:
    ours = both["native"]
    assert isinstance(ours, NativePipeline)
    info = ours._source.info.model_copy(update={"native": 64})
    fixed = NativePipeline(
        ModelSource(info=info, path=ours._source.path, kind="native", native_only=True), ours._settings
    )
    fixed.load()
    (drawing,) = fixed.draw([ask(width=128, height=128, upscale=2, steps=2)], ignore_steps)
    assert drawing.image.size == (256, 256)
    assert [(note.code, note.detail) for note in drawing.notes] == [(NoteCode.UPSCALED, "128x128")]


@pytest.mark.parametrize(("quality", "steps"), [(Quality.EXACT, 4), (Quality.FAST, 10)])
def test_changed_pictures_are_the_same_alone_and_in_company(both: Pair, quality: Quality, steps: int) -> None:
    shared: dict[str, Any] = {"steps": steps, "quality": quality, "upscale": 2, "strength": 0.5}
    company = [
        ask(**shared, **photo(), **vary((8, 0.2))),
        ask("the cat", **shared, **photo(colour="maroon"), seed=3, guidance=1.0),
    ]
    for request, drawing in zip(company, both["native"].draw(company, ignore_steps), strict=True):
        (alone,) = both["native"].draw([request], ignore_steps)
        assert psnr(alone.image, drawing.image) >= PARITY


def test_steps_of_both_passes_are_counted_together(pipeline: Pipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.draw([ask(steps=5, upscale=2)], lambda step, steps, _=None, /: seen.append((step, steps)))
    assert seen == [(step, 6) for step in range(1, 7)]


def test_a_model_without_image_to_image_says_so(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = both["diffusers"]
    assert isinstance(theirs, DiffusersPipeline)

    class Unknown(type(theirs._pipe)):  # type: ignore[misc]
        """A pipeline that diffusers has no counterpart of."""

    monkeypatch.setattr(theirs, "_pipe", Unknown(**theirs._pipe.components, requires_safety_checker=False))
    with pytest.raises(InputError, match="can neither start from an image nor enlarge"):
        picture(theirs, upscale=2)


def test_diffusers_does_not_vary_what_starts_from_an_image(both: Pair) -> None:
    with pytest.raises(InputError, match="can't vary a picture that starts from an image"):
        picture(both["diffusers"], **photo(), **vary((8, 0.5)))


def test_previews_show_each_picture_of_a_batch(both: Pair) -> None:
    looks: dict[int, Image.Image] = {}

    def watch(step: int, steps: int, look: Look | None = None, /) -> None:
        if step == steps and look is not None:
            looks.update(look())

    requests = [ask(steps=1, width=128, height=64), ask(seed=8, steps=1, width=128, height=64, guidance=1.0)]
    both["native"].draw(requests, watch)
    assert looks.keys() == {0, 1}
    assert {image.size for image in looks.values()} == {(32, 16)}
    assert looks[0].tobytes() != looks[1].tobytes()


def test_groups_of_a_batch_keep_their_places_in_previews(both: Pair) -> None:
    seen: list[set[int]] = []

    def watch(step: int, steps: int, look: Look | None = None, /) -> None:
        if look is not None:
            seen.append(set(look()))

    requests: list[ResolvedRequest] = [
        ask(steps=10, quality=Quality.FAST, guidance=guidance, seed=seed)
        for seed, guidance in enumerate((1.0, 5.0, 1.0))
    ]
    both["native"].draw(requests, watch)
    assert seen[0] == {1}
    assert seen[-1] == {0, 2}
