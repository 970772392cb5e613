"""Samplers: ways from noise to latents, in the form x = x_0 + sigma n of Karras et al. 2022 (arXiv 2206.00364).

A sampler is a generator. It yields a `Query` whenever it wants the network's opinion, is sent the predicted clean
latents, and returns the latents it ends with. So a sampler knows nothing of networks, prompts or guidance, and whoever
drives it may answer the queries of many pictures, each at its own step, by one forward pass. `sample` drives a single
one.

Latents are float32 [batch, channels, height, width] throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.sd.noise import NoiseSource, draw_noise
from engine.sd.schedule import NoiseSchedule, PlanMaker, SamplingPlan

LCM_SIGMA_DATA = 0.5
LCM_TIME_SCALE = 10.0
"""Boundary conditions of latent consistency models (Luo et al. 2023, arXiv 2310.04378, section 4.1 and appendix)."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A sampler's question: what clean latents lie behind `x`?"""

    x: Tensor
    """[batch, channels, height, width]: clean latents plus `sigma` times unit noise."""
    sigma: float
    timestep: float
    progress: float
    """Share of the steps already taken, 0 up to but not including 1."""


Run = Generator[Query, Tensor, Tensor]
Callback = Callable[[int, int, Tensor], None]
"""Called after each step with its number from 1, the number of steps, and the estimate of the clean latents.

May raise to stop.
"""
SampleFunction = Callable[[Tensor, SamplingPlan, Sequence[NoiseSource], Callback], Run]
Denoise = Callable[[Query], Tensor]


def _query(x: Tensor, plan: SamplingPlan, step: int) -> Query:
    progress = (plan.skipped + step) / (plan.skipped + plan.steps)
    return Query(x=x, sigma=plan.sigmas[step], timestep=plan.timesteps[step], progress=progress)


def _move(x: Tensor, x0: Tensor, before: float, after: float) -> Tensor:
    """Follow the line from `x` at noise level `before` towards `x0` down to `after`."""
    return torch.lerp(x0, x, after / before)


def sample_euler(x: Tensor, plan: SamplingPlan, _: Sequence[NoiseSource], callback: Callback) -> Run:
    """Euler's method: Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn and without correction.

    In this form it is also DDIM with eta = 0: Song et al. 2020 (arXiv 2010.02502), equation 12.
    """
    for i, (before, after) in enumerate(plan.intervals()):
        x0 = yield _query(x, plan, i)
        x = _move(x, x0, before, after)
        callback(i + 1, plan.steps, x0)
    # DDIM may end at a trace of noise, to be left in the variance-preserving form that it was trained in.
    return x / math.hypot(plan.sigmas[-1], 1.0)


def sample_euler_ancestral(x: Tensor, plan: SamplingPlan, generators: Sequence[NoiseSource], callback: Callback) -> Run:
    """Euler's method to a lower level, then fresh noise: ancestral sampling of Song et al. 2021 (arXiv 2011.13456)."""
    for i, (before, after) in enumerate(plan.intervals()):
        x0 = yield _query(x, plan, i)
        fresh = after * math.sqrt(before**2 - after**2) / before
        x = _move(x, x0, before, math.sqrt(after**2 - fresh**2))
        if fresh > 0:
            x = x + fresh * draw_noise(generators, x.shape[1:], x.device)
        callback(i + 1, plan.steps, x0)
    return x


def sample_heun(x: Tensor, plan: SamplingPlan, _: Sequence[NoiseSource], callback: Callback) -> Run:
    """Heun's second-order method, two evaluations a step but the last: arXiv 2206.00364, algorithm 1."""
    for i, (before, after) in enumerate(plan.intervals()):
        x0 = yield _query(x, plan, i)
        slope = (x - x0) / before
        if after > 0:
            guess = x + slope * (after - before)
            x0 = yield _query(guess, plan, i + 1)
            slope = (slope + (guess - x0) / after) / 2
        x = x + slope * (after - before)
        callback(i + 1, plan.steps, x0)
    return x


def sample_dpmpp_2m(x: Tensor, plan: SamplingPlan, _: Sequence[NoiseSource], callback: Callback) -> Run:
    """DPM-Solver++(2M): Lu et al. 2022 (arXiv 2211.01095), algorithm 2, in half-log-SNR lambda = -log sigma.

    The first step and a last one to no noise at all are of first order.
    """
    levels = plan.sigmas
    previous: Tensor | None = None
    for i, (before, after) in enumerate(plan.intervals()):
        x0 = yield _query(x, plan, i)
        target = x0
        if previous is not None and after > 0:
            ratio = math.log(levels[i - 1] / before) / math.log(before / after)
            target = torch.lerp(previous, x0, 1 + 1 / (2 * ratio))
        x = _move(x, target, before, after)
        previous = x0
        callback(i + 1, plan.steps, x0)
    return x


def sample_lcm(x: Tensor, plan: SamplingPlan, generators: Sequence[NoiseSource], callback: Callback) -> Run:
    """Multistep latent consistency sampling: Luo et al. 2023 (arXiv 2310.04378), algorithm 3."""
    for i, (before, after) in enumerate(plan.intervals()):
        x0 = yield _query(x, plan, i)
        scaled = plan.timesteps[i] * LCM_TIME_SCALE
        spread = math.hypot(scaled, LCM_SIGMA_DATA)
        skip = (LCM_SIGMA_DATA / spread) ** 2 / math.hypot(before, 1.0)
        x0 = x0 * (scaled / spread) + x * skip
        x = x0 if after == 0 else x0 + after * draw_noise(generators, x.shape[1:], x.device)
        callback(i + 1, plan.steps, x0)
    return x


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A way from noise to latents and the times at which it is taken."""

    run: SampleFunction
    plan: PlanMaker


SAMPLERS: dict[str, Sampler] = {
    "ddim": Sampler(run=sample_euler, plan=NoiseSchedule.ddim_plan),
    "euler": Sampler(run=sample_euler, plan=NoiseSchedule.euler_plan),
    "euler_a": Sampler(run=sample_euler_ancestral, plan=NoiseSchedule.euler_plan),
    "dpmpp_2m": Sampler(run=sample_dpmpp_2m, plan=NoiseSchedule.dpm_plan),
    "dpmpp_2m_karras": Sampler(run=sample_dpmpp_2m, plan=NoiseSchedule.dpm_karras_plan),
    "heun": Sampler(run=sample_heun, plan=NoiseSchedule.euler_plan),
    "lcm": Sampler(run=sample_lcm, plan=NoiseSchedule.lcm_plan),
}


def _ignore(step: int, steps: int, x0: Tensor) -> None:
    """The callback of those who don't watch."""


def sample(
    function: SampleFunction,
    denoise: Denoise,
    x: Tensor,
    plan: SamplingPlan,
    generators: Sequence[NoiseSource],
    callback: Callback = _ignore,
) -> Tensor:
    """Run a sampler to its end: `x` at the plan's first noise level -> clean latents.

    `generators` holds one source of noise per sample, for the samplers that add some.
    """
    return drive(function(x, plan, generators, callback), denoise)


def drive(run: Run, denoise: Denoise) -> Tensor:
    """Answer a run's queries until it ends; the latents that it ends with."""
    query = next(run)
    while True:
        try:
            query = run.send(denoise(query))
        except StopIteration as finished:
            latents: Tensor = finished.value
            return latents
