"""Which ways a picture takes from noise to latents: one, and for an enlarged picture a second over its first result."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from engine.pipelines.optimisations import Preset, steps_and_sampler
from engine.sd.noise import BlendedNoise, NoiseSource
from engine.sd.samplers import SAMPLERS, Sampler
from engine.sd.schedule import NoiseSchedule, SamplingPlan
from engine.types import ResolvedRequest

UPSCALE_STRENGTH = 0.2
"""Of the pass over an enlarged picture: enough for finer detail, too little for another picture.

The picture is enlarged as pixels, and encoded again. Enlarged latents are none that the autoencoder would make: bicubic
or nearest, the bundled model's 16 channels decode to stripes, and no strength that mends them keeps the picture.
"""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run of a sampler."""

    sampler: Sampler
    plan: SamplingPlan
    size: tuple[int, int]
    """Width and height in pixels."""


def route(request: ResolvedRequest, preset: Preset, schedule: NoiseSchedule, size: tuple[int, int]) -> tuple[Pass, ...]:
    """The passes of a request whose model draws it at `size`, width and height in pixels, before it is enlarged."""
    steps, name = steps_and_sampler(request, preset)
    sampler = SAMPLERS[name]

    def refining(strength: float) -> SamplingPlan:
        return sampler.plan(schedule, planned_steps(steps, strength)).shortened(strength)

    strength = request.start_strength
    first = sampler.plan(schedule, steps) if strength is None else refining(strength)
    passes = [Pass(sampler=sampler, plan=first, size=size)]
    if request.upscale > 1:
        larger = size[0] * request.upscale, size[1] * request.upscale
        passes.append(Pass(sampler=sampler, plan=refining(UPSCALE_STRENGTH), size=larger))
    return tuple(passes)


def planned_steps(steps: int, strength: float) -> int:
    """Steps of the whole way of which a share of `strength` is taken: so many that the share holds at least one.

    So not even models of few steps start over from noise where little was to be changed.
    """
    return max(steps, math.ceil(1 / strength))


def noise_source(request: ResolvedRequest) -> NoiseSource:
    """Where a picture's noise comes from: its seed, led towards other seeds by its variations."""
    if not request.variations:
        return torch.Generator().manual_seed(request.seed)
    return BlendedNoise(request.seed, [(variation.seed, variation.strength) for variation in request.variations])
