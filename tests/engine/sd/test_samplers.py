"""Parity of every sampler with its counterpart in diffusers, step by step."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from engine.errors import GenerationCancelled
from engine.sd.config import Prediction, ScheduleConfig
from engine.sd.denoiser import predict_x0
from engine.sd.noise import draw_noise
from engine.sd.samplers import SAMPLERS, Query, sample
from engine.sd.schedule import NoiseSchedule, SamplingPlan
from engine.types import Sampler
from tests.engine.sd.siblings import Family, relative_error, scheduler_config

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")

COUNTERPARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
EXPLODING = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler")
"""Counterparts whose latents are clean plus sigma times noise; the others' have unit variance."""


def toy(x: Tensor, timestep: float) -> Tensor:
    """A smooth stand-in for a network."""
    return torch.tanh(0.6 * x + math.sin(timestep / 150)) + 0.1 * x.roll(1, dims=-1)


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (3, 2**64 - 1)]


def start_noise() -> Tensor:
    return draw_noise(generators(), (4, 8, 8), torch.device("cpu"))


def reference(name: str, config: dict[str, Any], steps: int) -> list[Tensor]:
    """Latents before each evaluation and at the end, as diffusers makes them, in the form clean + sigma * noise."""
    kind, options = COUNTERPARTS[name]
    scheduler = getattr(diffusers, kind).from_config(config, **options)
    scheduler.set_timesteps(steps)
    x, seeds = start_noise() * scheduler.init_noise_sigma, generators()
    takes_generator = name in ("euler_a", "lcm")
    states: list[Tensor] = []
    for timestep in scheduler.timesteps:
        bar = scheduler.alphas_cumprod[int(timestep)].double()
        sigma = float(((1 - bar) / bar).sqrt())
        if kind.startswith("DPM"):
            sigma = float(scheduler.sigmas[len(states)])
        states.append(x if kind in EXPLODING else x * math.hypot(sigma, 1))
        output = toy(scheduler.scale_model_input(x, timestep), float(timestep))
        extra = {"generator": seeds} if takes_generator else {}
        x = scheduler.step(output, timestep, x, **extra).prev_sample
    return [*states, x]


def check(name: str, config: dict[str, Any], steps: int) -> None:
    """Set out from diffusers' own latents at every step, so that a step answers for its own error alone."""
    settings = ScheduleConfig.from_dict(config)
    plan = SAMPLERS[name].plan(NoiseSchedule(settings), steps)
    theirs = reference(name, config, steps)
    errors: list[float] = []

    def compare(x: Tensor) -> None:
        k = len(errors)
        # Rounding is relative to the largest of the latents that a step combines; Heun's second half combines three.
        largest = max(float(state.abs().max()) for state in theirs[max(k - 2, 0) : k + 1])
        errors.append(float((x - theirs[k]).abs().max()) / largest)
        x.copy_(theirs[k])

    def denoise(query: Query) -> Tensor:
        compare(query.x)
        output = toy(query.x / math.hypot(query.sigma, 1), query.timestep)
        return predict_x0(output, query.x, query.sigma, settings.prediction)

    compare(sample(SAMPLERS[name].run, denoise, start_noise() * plan.initial_scale, plan, generators()))
    assert len(errors) == len(theirs)
    assert max(errors) < 1e-6, errors


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 50])
@pytest.mark.parametrize("family", ["sd1", "sd2"])
@pytest.mark.parametrize("name", sorted(COUNTERPARTS))
def test_steps_are_those_of_diffusers(name: str, family: Family, steps: int) -> None:
    check(name, scheduler_config(family), steps)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", ["euler", "euler_a", "dpmpp_2m", "heun"])
def test_spacings_are_those_of_diffusers(name: str, spacing: str) -> None:
    check(name, {**scheduler_config("sd1"), "timestep_spacing": spacing}, 13)


def test_trailing_ddim_is_that_of_diffusers() -> None:
    check("ddim", {**scheduler_config("sd2"), "timestep_spacing": "trailing", "set_alpha_to_one": True}, 20)


@pytest.mark.parametrize("name", ["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras"])
def test_zero_terminal_snr_is_that_of_diffusers(name: str) -> None:
    config = {**scheduler_config("sd2"), "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    check(name, config, 12)


def test_names_are_those_that_people_may_ask_for() -> None:
    assert set(SAMPLERS) == {str(name) for name in Sampler}


def exact(query: Query) -> Tensor:
    """The denoiser of a world with one picture."""
    return torch.full_like(query.x, 0.25)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_perfect_denoiser_is_followed_home(name: str) -> None:
    plan = SAMPLERS[name].plan(NoiseSchedule(ScheduleConfig(ends_clean=True)), 12)
    x = sample(SAMPLERS[name].run, exact, start_noise() * plan.initial_scale, plan, generators())
    assert x == pytest.approx(torch.full_like(x, 0.25).numpy(), abs=1e-4)


def own_noise(query: Query) -> Tensor:
    return toy(query.x, query.timestep)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_picture_alone_is_the_picture_of_a_batch(name: str) -> None:
    plan = SAMPLERS[name].plan(NoiseSchedule(ScheduleConfig()), 6)
    run = SAMPLERS[name].run
    together = sample(run, own_noise, start_noise() * plan.initial_scale, plan, generators())
    for i in range(2):
        alone = sample(run, own_noise, start_noise()[i : i + 1] * plan.initial_scale, plan, generators()[i : i + 1])
        assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_progress_is_reported_and_may_stop_the_run(name: str) -> None:
    plan = SAMPLERS[name].plan(NoiseSchedule(ScheduleConfig()), 5)
    seen: list[tuple[int, int, float]] = []

    def watch(step: int, steps: int, x0: Tensor) -> None:
        seen.append((step, steps, float(x0.mean())))
        if step == 3:
            raise GenerationCancelled

    with pytest.raises(GenerationCancelled):
        sample(SAMPLERS[name].run, exact, start_noise() * plan.initial_scale, plan, generators(), watch)
    assert [entry[:2] for entry in seen] == [(1, 5), (2, 5), (3, 5)]
    assert all(math.isfinite(mean) for _, _, mean in seen)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_progress_rises_from_zero_and_stays_below_one(name: str) -> None:
    plan: SamplingPlan = SAMPLERS[name].plan(NoiseSchedule(ScheduleConfig()), 8)
    seen: list[float] = []

    def watch(query: Query) -> Tensor:
        seen.append(query.progress)
        return exact(query)

    sample(SAMPLERS[name].run, watch, start_noise() * plan.initial_scale, plan, generators())
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert seen[-1] < 1


@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "heun"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_an_image_to_start_from_is_that_of_diffusers(name: str, prediction: Prediction) -> None:
    """Start from an image at strength 0.5, as the image-to-image pipeline of diffusers does."""
    config = {**scheduler_config("sd1"), "prediction_type": prediction}
    kind, options = COUNTERPARTS[name]
    scheduler = getattr(diffusers, kind).from_config(config, **options)
    scheduler.set_timesteps(20)
    image, noise, begin = start_noise().flip(-1) * 0.5, start_noise(), 10 * scheduler.order
    scheduler.set_begin_index(begin) if hasattr(scheduler, "set_begin_index") else None
    timesteps = scheduler.timesteps[begin:]
    x = scheduler.add_noise(image, noise, timesteps[:1])
    for timestep in timesteps:
        output = toy(scheduler.scale_model_input(x, timestep), float(timestep))
        x = scheduler.step(output, timestep, x).prev_sample

    plan = SAMPLERS[name].plan(NoiseSchedule(ScheduleConfig.from_dict(config)), 20).shortened(0.5)

    def denoise(query: Query) -> Tensor:
        output = toy(query.x / math.hypot(query.sigma, 1), query.timestep)
        return predict_x0(output, query.x, query.sigma, prediction)

    mine = sample(SAMPLERS[name].run, denoise, image + noise * plan.initial_scale, plan, generators())
    assert relative_error(mine, x) < 1e-6
