"""The noise schedule that a model was trained with, and the times at which samplers visit it.

Two notations meet here. The training process is variance preserving: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) n
(Ho et al. 2020, arXiv 2006.11239). Samplers are written for the variance-exploding form x = x_0 + sigma n of Karras
et al. 2022 (arXiv 2206.00364), with sigma = sqrt((1 - alpha_bar) / alpha_bar).

All numbers are Python floats on the host, so that no step waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.sd.config import ScheduleConfig, Spacing

Floats = NDArray[np.float64]

KARRAS_RHO = 7.0
"""Karras et al. 2022 (arXiv 2206.00364), equation 5."""
LCM_TRAIN_STEPS = 50
"""Points of the schedule on which latent consistency models are distilled (Luo et al. 2023, arXiv 2310.04378)."""
SMALLEST_ALPHA_BAR = 2.0**-24
"""Stands in for a terminal signal of zero, whose sigma would be infinite."""
COSINE_OFFSET = 0.008
MAX_BETA = 0.999


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """The times that a sampler visits, noisiest first."""

    timesteps: tuple[float, ...]
    """What the network is told at each step."""
    sigmas: tuple[float, ...]
    """Noise level at the start of each step, and at the end of the last."""
    initial_scale: float
    """Unit noise times this is where a picture without a starting image begins."""
    skipped: int = 0
    """Steps of a longer plan that came before these, and are not taken."""

    @property
    def steps(self) -> int:
        """How many steps the sampler takes."""
        return len(self.timesteps)

    def intervals(self) -> list[tuple[float, float]]:
        """Noise level before and after each step."""
        return list(pairwise(self.sigmas))

    def shortened(self, strength: float) -> SamplingPlan:
        """The last `strength` (0..1) of the steps, at least one, to start from an image plus `initial_scale` noise."""
        count = min(max(int(self.steps * strength), 1), self.steps)
        start = self.steps - count
        sigmas = self.sigmas[start:]
        return SamplingPlan(
            timesteps=self.timesteps[start:], sigmas=sigmas, initial_scale=sigmas[0], skipped=self.skipped + start
        )


def _cosine_betas(steps: int) -> Tensor:
    """Nichol and Dhariwal 2021 (arXiv 2102.09672), equation 17."""

    def alpha_bar(t: float) -> float:
        return math.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((i + 1) / steps) / alpha_bar(i / steps), MAX_BETA) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float32)


def _zero_terminal_snr(betas: Tensor) -> Tensor:
    """Shift and scale so that nothing of the image is left at the end (Lin et al. 2023, arXiv 2305.08891, alg. 1)."""
    roots = torch.cumprod(1 - betas, dim=0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    bars = ((roots - last) * (first / (first - last))) ** 2
    return 1 - torch.cat([bars[:1], bars[1:] / bars[:-1]])


def betas(config: ScheduleConfig) -> Tensor:
    """[train_steps] variances added at each training step, in float32 as the published schedules are computed."""
    count = config.train_steps
    if config.beta_schedule == "squaredcos_cap_v2":
        values = _cosine_betas(count)
    elif config.beta_schedule == "linear":
        values = torch.linspace(config.beta_start, config.beta_end, count, dtype=torch.float32)
    else:
        values = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, count, dtype=torch.float32) ** 2
    return _zero_terminal_snr(values) if config.zero_terminal_snr else values


def karras_sigmas(low: float, high: float, count: int) -> Floats:
    """`count` noise levels from `high` to `low`, dense near `low` (arXiv 2206.00364, equation 5)."""
    ramp = np.linspace(0, 1, count)
    high_root, low_root = high ** (1 / KARRAS_RHO), low ** (1 / KARRAS_RHO)
    sigmas: Floats = (high_root + ramp * (low_root - high_root)) ** KARRAS_RHO
    return sigmas


class NoiseSchedule:
    """How much noise a model saw at each training timestep, and the plans that samplers make of it."""

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        bars = torch.cumprod(1 - betas(config), dim=0)
        if config.zero_terminal_snr:
            bars[-1] = SMALLEST_ALPHA_BAR
        self.alphas_cumprod: Floats = bars.double().numpy()
        """[train_steps] alpha_bar: the share of the image's variance that is left."""
        self.sigmas: Floats = np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)
        """[train_steps] noise levels, rising."""
        self._log_sigmas: Floats = np.log(self.sigmas)
        self._times: Floats = np.arange(config.train_steps, dtype=np.float64)

    def sigma(self, timesteps: Floats) -> Floats:
        """Noise levels at timesteps, also between the trained ones."""
        return np.interp(timesteps, self._times, self.sigmas)

    def timestep(self, sigmas: Floats) -> Floats:
        """The (fractional) timesteps at which noise has these levels, interpolated in log sigma."""
        return np.interp(np.log(sigmas), self._log_sigmas, self._times)

    def _times_for(self, steps: int, default: Spacing, *, points: int | None = None) -> Floats:
        """`steps` descending timesteps in the configured spacing; `points` is the divisor where it isn't `steps`."""
        count, points = self.config.train_steps, points or steps
        if not 1 <= steps <= count:
            raise ValueError(f"steps must be from 1 to {count}, not {steps}")
        spacing = self.config.spacing or default
        if spacing == "leading":
            # `steps` points of a grid of `points`; with the whole schedule as steps the offset would pass its end.
            times = np.arange(points)[::-1][:steps] * (count // points) + self.config.steps_offset
            return np.minimum(times, count - 1).astype(np.float64)
        if spacing == "trailing":
            return np.round(np.arange(count, 0, -count / steps))[:steps] - 1
        return np.linspace(0, count - 1, points)[::-1][:steps]

    def _plan(self, timesteps: Floats, sigmas: Floats, *, last: float = 0.0, preserving: bool = True) -> SamplingPlan:
        start = float(sigmas[0])
        return SamplingPlan(
            timesteps=tuple(timesteps.tolist()),
            sigmas=(*sigmas.tolist(), last),
            initial_scale=math.hypot(start, 1.0) if preserving else start,
        )

    def ddim_plan(self, steps: int) -> SamplingPlan:
        """Whole timesteps, leading by default; Stable Diffusion's ends at the noise of timestep 0, not at none."""
        times = np.round(self._times_for(steps, "leading"))
        last = 0.0 if self.config.ends_clean else float(self.sigmas[0])
        return self._plan(times, self.sigma(times), last=last)

    def euler_plan(self, steps: int) -> SamplingPlan:
        """Fractional timesteps from the last to the first; also Euler ancestral's and Heun's."""
        times = self._times_for(steps, "linspace")
        return self._plan(times, self.sigma(times), preserving=self.config.spacing == "leading")

    def dpm_plan(self, steps: int) -> SamplingPlan:
        """Whole timesteps of a grid with one point more than there are steps, whose lowest is left out."""
        points = steps if self.config.spacing == "trailing" else steps + 1
        times = np.round(self._times_for(steps, "linspace", points=points))
        return self._plan(times, self.sigma(times))

    def dpm_karras_plan(self, steps: int) -> SamplingPlan:
        """Karras's noise levels over the whole trained range, told to the network as the nearest whole timesteps."""
        sigmas = karras_sigmas(float(self.sigmas[0]), float(self.sigmas[-1]), steps)
        times = self.timestep(sigmas)
        return self._plan(times if self.config.beta_schedule == "squaredcos_cap_v2" else np.round(times), sigmas)

    def lcm_plan(self, steps: int) -> SamplingPlan:
        """Every so-many-th of the timesteps that a latent consistency model was distilled on."""
        trained = max(LCM_TRAIN_STEPS, steps)
        origin = np.arange(1, trained + 1)[::-1] * (self.config.train_steps // trained) - 1
        times = origin[np.floor(np.linspace(0, trained, steps, endpoint=False)).astype(int)].astype(np.float64)
        return self._plan(times, self.sigma(times))


PlanMaker = Callable[[NoiseSchedule, int], SamplingPlan]
"""Lays out the given number of steps over a schedule."""
