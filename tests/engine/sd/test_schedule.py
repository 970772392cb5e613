from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from engine.sd.config import ScheduleConfig
from engine.sd.samplers import SAMPLERS
from engine.sd.schedule import NoiseSchedule, SamplingPlan

SD1 = NoiseSchedule(ScheduleConfig())


@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_noise_levels_are_those_of_diffusers(beta_schedule: str, zero_terminal_snr: bool) -> None:
    config = {"beta_schedule": beta_schedule, "beta_start": 0.00085, "beta_end": 0.012}
    theirs = EulerDiscreteScheduler(**config, rescale_betas_zero_snr=zero_terminal_snr)
    ours = NoiseSchedule(
        ScheduleConfig.from_dict(
            {**config, "num_train_timesteps": 1000, "rescale_betas_zero_snr": zero_terminal_snr, "steps_offset": 0}
        )
    )
    assert ours.alphas_cumprod == pytest.approx(theirs.alphas_cumprod.double().numpy(), rel=1e-7)
    assert ours.sigmas == pytest.approx(theirs.sigmas[:-1].flip(0).double().numpy(), rel=1e-6)


def test_zero_terminal_snr_leaves_next_to_nothing_of_the_image() -> None:
    schedule = NoiseSchedule(ScheduleConfig(zero_terminal_snr=True))
    assert schedule.sigmas[-1] > 4000
    assert np.isfinite(schedule.sigmas).all()


@given(st.floats(0, 999))
def test_timesteps_and_noise_levels_are_inverse(timestep: float) -> None:
    there = SD1.sigma(np.array([timestep]))
    assert SD1.timestep(there)[0] == pytest.approx(timestep, abs=0.05)


@given(st.sampled_from(sorted(SAMPLERS)), st.integers(1, 100))
def test_every_plan_falls_from_noise_to_none(name: str, steps: int) -> None:
    plan = SAMPLERS[name].plan(SD1, steps)
    assert plan.steps == len(plan.timesteps) == len(plan.sigmas) - 1 == steps
    assert all(before >= after for before, after in plan.intervals())
    assert all(0 <= timestep <= 999 for timestep in plan.timesteps)
    assert plan.sigmas[-1] == (0 if name != "ddim" else SD1.sigmas[0])


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 1000"):
        SD1.ddim_plan(steps)


@given(st.integers(1, 60), st.floats(0.01, 1))
def test_an_image_to_start_from_takes_the_last_steps(steps: int, strength: float) -> None:
    plan = SD1.euler_plan(steps)
    count = max(int(steps * strength), 1)
    short = plan.shortened(strength)
    assert short.timesteps == plan.timesteps[-count:]
    assert short.sigmas == plan.sigmas[-count - 1 :]
    assert short.initial_scale == short.sigmas[0]
    assert short.skipped == steps - count


def test_spacing_of_the_configuration_wins() -> None:
    turbo = NoiseSchedule(replace(ScheduleConfig(), spacing="trailing"))
    assert turbo.euler_plan(1).timesteps == (999,)
    assert turbo.ddim_plan(4).timesteps == (999, 749, 499, 249)


def test_plans_hold_plain_numbers() -> None:
    plan: SamplingPlan = SD1.dpm_karras_plan(10)
    assert not any(isinstance(value, torch.Tensor | np.generic) for value in (*plan.sigmas, *plan.timesteps))
