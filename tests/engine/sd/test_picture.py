"""Parity of whole pictures with diffusers: text in, pixels out."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.sd.checkpoint import Components
from engine.sd.denoiser import Conditioning, Denoiser
from engine.sd.noise import draw_noise
from engine.sd.samplers import SAMPLERS, sample
from tests.engine.sd.conftest import Pair
from tests.engine.sd.siblings import relative_error, scheduler_config
from tests.engine.sd.test_samplers import COUNTERPARTS

pytestmark = [
    pytest.mark.usefixtures("without_gradients"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers"),
]
PROMPT, NEGATIVE = "the red apple and the cat's book, a café", "anding"
STEPS, FEW, GUIDANCE = 20, 8, 7.5


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def encode(model: Components, text: str) -> Tensor:
    encoded: Tensor = model.text_encoder(torch.tensor(model.tokenizer([text])))
    return encoded


def draw(model: Components, sampler: str, steps: int) -> Tensor:
    """Text -> latents as diffusers leaves them."""
    plan = SAMPLERS[sampler].plan(model.schedule, steps)
    denoiser = Denoiser(model.unet, model.prediction)
    wanted = Conditioning(positive=encode(model, PROMPT), negative=encode(model, NEGATIVE), scales=(GUIDANCE,))
    seeds = [generator()]
    x = draw_noise(seeds, (4, 8, 8), torch.device("cpu")) * plan.initial_scale
    return sample(SAMPLERS[sampler].run, lambda query: denoiser(query, wanted), x, plan, seeds)


def draw_theirs(pair: Pair, sampler: str, steps: int) -> Tensor:
    kind, options = COUNTERPARTS[sampler]
    pair.theirs.scheduler = getattr(diffusers, kind).from_config(scheduler_config(pair.family), **options)
    latents: Tensor = pair.theirs(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        generator=generator(),
        output_type="latent",
    ).images
    return latents


def psnr(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of values in 0..1."""
    return -10 * math.log10(max(float(np.mean((ours - theirs) ** 2)), 1e-20))


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
@pytest.mark.parametrize("sampler", sorted(COUNTERPARTS.keys() - {"ddim"}))
def test_latents_of_every_sampler(pair: Pair, sampler: str) -> None:
    theirs = draw_theirs(pair, sampler, FEW)
    assert relative_error(draw(pair.ours, sampler, FEW), theirs) < 1e-3


def test_a_whole_picture(pair: Pair) -> None:
    their_latents = draw_theirs(pair, "ddim", STEPS)
    latents = draw(pair.ours, "ddim", STEPS)
    assert relative_error(latents, their_latents) < 1e-3
    vae, processor = pair.theirs.vae, pair.theirs.image_processor
    theirs = processor.postprocess(vae.decode(their_latents / vae.config.scaling_factor).sample, output_type="np")
    pixels = pair.ours.vae.decode(latents / pair.ours.vae.config.scaling_factor)
    ours = (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert theirs.std() > 0.05
    assert psnr(ours, theirs) >= 60
