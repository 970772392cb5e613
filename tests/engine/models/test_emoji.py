"""The bundled model does what a text-to-picture model should: its weights are trained, not only well-formed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.models.registry import EMOJI, EMOJI_FOLDER, resolve
from engine.pipelines.factory import make
from engine.settings import EngineSettings
from engine.types import NoteCode, ResolvedRequest, Sampler

MEBIBYTE = 2**20
Pixels = NDArray[np.float64]
Draw = Callable[..., Pixels]
FEW = 10
"""Steps after which a picture hardly changes any more."""


def ask(prompt: str, **changes: Any) -> ResolvedRequest:
    info = resolve(EMOJI, EngineSettings()).info
    values = {
        "seed": 7,
        "width": info.native,
        "height": info.native,
        "steps": FEW,
        "guidance": info.guidance,
        "sampler": info.sampler,
        "model": info.name,
    }
    return ResolvedRequest.model_validate(values | {"prompt": prompt} | changes)


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    settings = EngineSettings(home=tmp_path_factory.mktemp("home"), device="cpu", threads=1, compile="off")
    pipeline = make(resolve(EMOJI, settings), settings)
    pipeline.load()

    def draw(prompt: str, **changes: Any) -> Pixels:
        """[height, width, 3] in 0..1."""
        (drawing,) = pipeline.draw([ask(prompt, **changes)], lambda *_: None)
        return np.asarray(drawing.image, dtype=np.float64) / 255

    return draw


def distance(one: Pixels, other: Pixels) -> float:
    """Root mean square over all pixels."""
    return float(np.sqrt(np.mean((one - other) ** 2)))


def ink(picture: Pixels) -> Pixels:
    """[pixels, 3] of what isn't the white ground."""
    colored: Pixels = picture[picture.min(axis=2) < 0.9]
    return colored


CORNER = (slice(8), slice(-8, None))
"""The first and the last pixels of a side."""


def test_the_weights_are_half_precision_and_small_enough_for_a_repository() -> None:
    files = [path for path in EMOJI_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40 * MEBIBYTE
    from safetensors import safe_open

    for path in EMOJI_FOLDER.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118


def test_a_red_apple_is_red_on_white(draw: Draw) -> None:
    steps = resolve(EMOJI, EngineSettings()).info.steps
    for seed in (7, 8):
        picture = draw("a red apple", seed=seed, steps=steps)
        corners = [picture[rows, columns].min() for rows in CORNER for columns in CORNER]
        assert min(corners) > 0.9
        red, green, blue = ink(picture).mean(axis=0)
        assert red > 1.5 * max(green, blue)


@pytest.mark.parametrize(
    ("prompt", "channel"),
    [("blue circle", 2), ("green circle", 1), ("red circle", 0), ("blue heart", 2), ("green heart", 1)],
)
def test_colours_are_those_of_the_prompt(draw: Draw, prompt: str, channel: int) -> None:
    assert int(ink(draw(prompt)).mean(axis=0).argmax()) == channel


def test_two_seeds_differ_and_one_repeats_itself(draw: Draw) -> None:
    first, again, other = draw("pizza"), draw("pizza"), draw("pizza", seed=8)
    assert np.array_equal(first, again)
    assert distance(first, other) > 0.01


def test_guidance_makes_the_caption_matter_more(draw: Draw) -> None:
    pairs = [("a red apple", "house"), ("pizza", "blue heart"), ("tree", "grinning face")]

    def spread(guidance: float) -> float:
        few = {"guidance": guidance, "steps": 6}
        return sum(distance(draw(one, **few), draw(other, **few)) for one, other in pairs)

    assert spread(5.0) > spread(1.0)


def test_a_negative_prompt_leads_away(draw: Draw) -> None:
    plain = draw("heart")
    without_red = draw("heart", negative_prompt="red")
    assert distance(plain, without_red) > 0.01


def test_a_better_solver_comes_closer_to_many_steps(draw: Draw) -> None:
    ours = resolve(EMOJI, EngineSettings()).info.sampler
    assert ours.startswith("dpmpp_2m")
    unguided = {"guidance": 1.0}
    settled = draw("a red apple", sampler=Sampler.DDIM, steps=50, **unguided)
    error = {
        sampler: distance(draw("a red apple", sampler=sampler, **unguided), settled) for sampler in (ours, Sampler.DDIM)
    }
    assert error[ours] < error[Sampler.DDIM]


def test_an_unknown_word_draws_something_like_an_emoji(draw: Draw) -> None:
    for prompt in ("zxqvy", "ünbekánnt 東京 🎺", "w" * 2000):
        picture = draw(prompt)
        covered = len(ink(picture)) / (picture.shape[0] * picture.shape[1])
        assert 0.05 < covered < 0.95
        roughness = np.abs(np.diff(picture, axis=0)).mean()
        assert roughness < 0.1, "noise is rougher than any drawing"


def test_larger_sizes_are_enlarged_and_say_so(tmp_path: Path) -> None:
    settings = EngineSettings(home=tmp_path, device="cpu", threads=1, compile="off")
    pipeline = make(resolve(EMOJI, settings), settings)
    pipeline.load()
    (drawing,) = pipeline.draw([ask("pizza", width=256, height=256, steps=4)], lambda *_: None)
    assert drawing.image.size == (256, 256)
    assert [(note.code, note.detail) for note in drawing.notes] == [(NoteCode.UPSCALED, "128x128")]


def test_diffusers_draws_the_same_with_these_weights(draw: Draw) -> None:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    theirs = StableDiffusionPipeline.from_pretrained(EMOJI_FOLDER, dtype=torch.float32)
    theirs.set_progress_bar_config(disable=True)
    theirs.scheduler = DDIMScheduler.from_config(theirs.scheduler.config, clip_sample=False)
    channels, side = theirs.unet.config.in_channels, theirs.unet.config.sample_size
    noise = torch.randn(channels, side, side, generator=torch.Generator().manual_seed(7))[None]
    shown = theirs(
        "a red apple",
        num_inference_steps=20,
        guidance_scale=3.0,
        latents=noise,
        height=128,
        width=128,
        output_type="np",
    ).images[0]
    ours = draw("a red apple", sampler=Sampler.DDIM, steps=20, guidance=3.0)
    assert 20 * np.log10(1 / max(distance(shown, ours), 1e-9)) >= 50, "they differ by more than rounding to 8 bits"
