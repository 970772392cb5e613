"""How fast a model denoises here: the engine's own loop, step by step of its optimisations, and what it ought to take.

`benchmarks/engine.py` sets it against other engines; on Modal the same figures come from a rented GPU. Floating-point
operations are counted on tensors without memory, by torch's own counter, so that the counts hold for every machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from engine.pipelines.optimisations import Preset
from engine.sd.attention import AttentionSettings
from engine.sd.clip import CLIPTextModel
from engine.sd.config import ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from engine.sd.denoiser import Conditioning, Denoiser, FeatureCache, Network
from engine.sd.hoisting import Hoisted
from engine.sd.samplers import SAMPLERS, sample
from engine.sd.schedule import NoiseSchedule
from engine.sd.unet import UNet
from engine.sd.vae import AutoencoderKL

A10_TFLOPS, H100_TFLOPS = 125.0, 989.0
"""Peak in half precision on tensor cores, without sparsity (NVIDIA's data sheets)."""
SHARE_OF_PEAK = 1 / 3
"""What good engines reach of it: 82.9 TFLOP in 2.0 s on an A10 is a third."""
MATH = AttentionSettings(backend="math")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is drawn."""

    unet: UNetConfig
    vae: VAEConfig
    text: TextConfig
    side: int
    """Of the picture, in pixels."""
    steps: int
    guidance: float

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents."""
        side = self.side // self.vae.factor
        return self.unet.in_channels, side, side


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way of drawing a picture and what it costs."""

    name: str
    evaluations: int
    """Samples that went through the whole UNet."""
    tflop: float

    @property
    def a10_seconds(self) -> float:
        """Predicted at a third of peak."""
        return self.tflop / (A10_TFLOPS * SHARE_OF_PEAK)

    @property
    def h100_seconds(self) -> float:
        """Predicted at a third of peak."""
        return self.tflop / (H100_TFLOPS * SHARE_OF_PEAK)


def _tflop(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e12


@cache
def unet_tflop(config: UNetConfig, height: int, width: int, tokens: int) -> tuple[float, float]:
    """Of one sample's whole step, and of one on earlier features; what is hoisted out of the loop is left out."""
    with torch.device("meta"), torch.inference_mode():
        hoisted = Hoisted(UNet(config, MATH))
        x = torch.zeros(1, config.in_channels, height, width)
        shifts = hoisted.shifts(torch.zeros(1))
        keys_values = hoisted.keys_values(torch.zeros(1, tokens, config.context_dim))
        _, deep = hoisted(x, shifts, keys_values)
        whole = _tflop(lambda: hoisted(x, shifts, keys_values))
        return whole, _tflop(lambda: hoisted(x, shifts, keys_values, deep))


@cache
def decoder_tflop(config: VAEConfig, height: int, width: int) -> float:
    """Of decoding one picture."""
    with torch.device("meta"), torch.inference_mode():
        vae = AutoencoderKL(config, MATH)
        return _tflop(lambda: vae.decode(torch.zeros(1, config.latent_channels, height, width)))


@cache
def text_tflop(config: TextConfig) -> float:
    """Of encoding one prompt."""
    with torch.device("meta"), torch.inference_mode():
        encoder = CLIPTextModel(config, MATH)
        return _tflop(lambda: encoder(torch.zeros(1, config.max_positions, dtype=torch.long)))


class _Tally:
    """Stands in for a network and counts what it is asked for."""

    def __init__(self) -> None:
        self.whole = 0
        self.shallow = 0

    def __call__(
        self,
        x: Tensor,
        shifts: Tensor,  # noqa: ARG002  (the signature of `Network`)
        keys_values: Tensor,  # noqa: ARG002
        deep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if deep is None:
            self.whole += len(x)
        else:
            self.shallow += len(x)
        return torch.zeros_like(x), torch.zeros(len(x), 1)


TINY = UNetConfig(widths=(32, 32), cross_attention=(True, True), layers_per_block=1, heads=(1, 1), context_dim=32)


def evaluations(steps: int, guidance: float, preset: Preset, sampler: str) -> tuple[int, int]:
    """Samples that go through the whole UNet and through its outermost layers alone, for one picture."""
    tally = _Tally()
    prompt = torch.zeros(1, 1, TINY.context_dim)
    conditioning = Conditioning(positive=prompt, negative=prompt, scales=(guidance,), interval=preset.guidance_interval)
    reuse = FeatureCache(preset.reuse) if preset.reuse > 1 else None
    with torch.inference_mode():
        denoiser = Denoiser(UNet(TINY), "epsilon", reuse, tally)
        way = SAMPLERS[sampler]
        plan = way.plan(NoiseSchedule(ScheduleConfig()), steps)
        noise = torch.zeros(1, TINY.in_channels, 4, 4)
        sample(way.run, lambda query: denoiser(query, conditioning), noise, plan, [torch.Generator()])
    return tally.whole, tally.shallow


def rung(name: str, shape: Shape, preset: Preset, sampler: str, *, around: bool = True) -> Rung:
    """What a picture costs when it is drawn that way, and what is `around` the loop: text encoder and decoder."""
    steps = min(shape.steps, preset.max_steps or shape.steps)
    whole, shallow = evaluations(steps, shape.guidance, preset, sampler)
    _, height, width = shape.latent
    full, outer = unet_tflop(shape.unet, height, width, shape.text.max_positions)
    tflop = whole * full + shallow * outer
    if around:
        prompts = 2 if shape.guidance > 1 else 1
        tflop += prompts * text_tflop(shape.text) + decoder_tflop(shape.vae, height, width)
    return Rung(name=name, evaluations=whole, tflop=tflop)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A denoising loop on given weights: what both sides of a comparison compute."""

    unet: UNet
    schedule: NoiseSchedule
    noise: Tensor
    positive: Tensor
    negative: Tensor
    """[1, tokens, width]"""
    steps: int
    guidance: float
    sampler: str = "ddim"

    def run(self, network: Network | None = None) -> Tensor:
        """Noise to latents, everything included that depends on the prompt."""
        way = SAMPLERS[self.sampler]
        plan = way.plan(self.schedule, self.steps)
        conditioning = Conditioning(positive=self.positive, negative=self.negative, scales=(self.guidance,))
        denoiser = Denoiser(self.unet, self.schedule.config.prediction, network=network)
        denoiser.prepare(plan.timesteps)
        x = self.noise * plan.initial_scale
        return sample(way.run, lambda query: denoiser(query, conditioning), x, plan, [torch.Generator()])


def interleave(
    sides: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each side, run in turns so that whatever else the machine does slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm_up + repeats):
        for name, run in sides.items():
            started = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                times[name].append(clock() - started)
    return times


def spread(times: Sequence[float]) -> float:
    """Distance between the quartiles, as a share of the median; none for a single time."""
    if len(times) == 1:
        return 0.0
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / middle
