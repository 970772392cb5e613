"""Our engine and another on the same weights and noise, run in turns."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import machine, peers
from benchmarks.random_model import TOKENS
from engine.bench import Loop, Shape, interleave, rung, spread
from engine.models.registry import EMOJI, resolve
from engine.pipelines.base import Look
from engine.pipelines.compiling import make_forge
from engine.pipelines.diffusers import SCHEDULERS
from engine.pipelines.native import NativePipeline
from engine.pipelines.openvino import Origin
from engine.pipelines.optimisations import PRESETS, optimise
from engine.pipelines.placement import choose_device, choose_dtype
from engine.pipelines.switching import Forge, SwitchingNetwork
from engine.sd.checkpoint import Components, Placement, load
from engine.sd.denoiser import Network
from engine.sd.hoisting import Hoisted
from engine.settings import EngineSettings
from engine.types import Quality, ResolvedRequest, Sampler

SEED = 1
PATIENCE = 3
"""Pictures of twenty steps after which the pipeline has set its compiler to work."""
COMPILE_TIMEOUT = 1800.0
PROMPT = "red apple"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What both sides draw, and where."""

    folder: Path
    """Of the weights, in the layout of diffusers."""
    settings: EngineSettings
    """Device, precision, threads, and whether ours is compiled; compiled graphs are kept in its home."""
    model: str = EMOJI
    against: peers.Peer = "diffusers"
    side: int = 256
    """Of the picture, in pixels."""
    steps: int = 4
    peer_steps: int | None = None
    """Where they differ from ours."""
    guidance: float = 7.5
    sampler: Sampler = Sampler.DPMPP_2M
    """Of whole pictures."""
    quality: Quality = Quality.EXACT
    """Of ours, where whole pictures are drawn."""
    repeats: int = 5
    clock: Callable[[], float] = time.perf_counter

    @property
    def device(self) -> torch.device:
        """Where both sides compute."""
        return choose_device(self.settings)

    @property
    def placement(self) -> Placement:
        """Where, and in what format."""
        return Placement(device=self.device, dtype=choose_dtype(self.settings, self.device))


@dataclass(frozen=True, kw_only=True)
class Duel:
    """How it ended."""

    ours: list[float]
    """Seconds of each run."""
    peer: list[float]
    drawn: tuple[Tensor, Tensor]
    """What each drew."""
    tflop: float
    ready: float
    """Seconds until ours was compiled."""
    peak_mb: float
    kernels: tuple[int, int] | None
    """Given to the GPU by each."""

    def figures(self) -> dict[str, float]:
        """All of it in numbers, to four digits."""
        ours, theirs = (each.double() for each in self.drawn)
        seconds = statistics.median(self.ours)
        figures = {
            "ratio": statistics.median(self.peer) / seconds,
            "ours_s": seconds,
            "peer_s": statistics.median(self.peer),
            "ours_spread": spread(self.ours),
            "peer_spread": spread(self.peer),
            "max_abs_diff": float((ours - theirs).abs().max()),
            "relative_l2": float((ours - theirs).norm() / theirs.norm()),
            "tflop": self.tflop,
            "gflops_per_s": 1000 * self.tflop / seconds,
            "peak_mb": self.peak_mb,
            "compiled_after_s": self.ready,
        }
        if self.kernels is not None:
            figures |= {"ours_kernels": self.kernels[0], "peer_kernels": self.kernels[1]}
        return {name: float(f"{value:.4g}") for name, value in figures.items()}


@torch.inference_mode()
def loop(terms: Terms) -> Duel:
    """The denoising loops alone, from noise and prompt embeddings to latents."""
    parts = load(terms.folder, terms.placement)
    shape = shape_of(terms, parts)
    optimise(parts, terms.device, terms.placement.dtype)
    ours = make_loop(parts, shape, terms.steps, terms.device)
    evaluate, forge = network(terms, parts)
    ready = compiled(lambda: ours.run(evaluate), forge)

    pipe = peers.pipeline(terms.folder, terms.placement, whole=False)
    peers.prepare(pipe, terms.against, 2 if terms.guidance > 1 else 1, ours.noise, ours.positive)
    theirs = peers.latents_of(pipe, make_loop(parts, shape, terms.peer_steps or terms.steps, terms.device))
    return _fight(
        terms,
        lambda: ours.run(evaluate),
        theirs,
        tflop=rung("", shape, PRESETS[Quality.EXACT], ours.sampler, around=False).tflop,
        ready=ready,
    )


def whole(terms: Terms) -> Duel:
    """From text to picture, by the pipelines that people call."""
    source = resolve(EMOJI if terms.model == EMOJI else str(terms.folder), terms.settings)
    pipeline = NativePipeline(source, terms.settings)
    pipeline.load()
    terms = replace(terms, side=source.info.native if source.native_only else terms.side)

    def ours(prompt: str) -> Tensor:
        (drawing,) = pipeline.draw([_request(terms, prompt)], ignore_steps)
        return torch.from_numpy(np.array(drawing.image)).float() / 255

    started = time.perf_counter()
    while terms.settings.compile != "off" and not _settled(pipeline, ours):
        pass
    ready = time.perf_counter() - started
    theirs = _their_picture(peers.pipeline(terms.folder, terms.placement, whole=True), terms)
    # Always another prompt: ours would know the embedding of one that it has seen.
    own, other = (map("{} {}".format, itertools.repeat(PROMPT), itertools.count()) for _ in range(2))
    return _fight(
        terms,
        lambda: ours(next(own)),
        lambda: theirs(next(other)),
        tflop=rung("", shape_of(terms, load(terms.folder)), PRESETS[terms.quality], terms.sampler).tflop,
        ready=ready,
    )


def _fight(
    terms: Terms, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], *, tflop: float, ready: float
) -> Duel:
    drawn = ours().cpu(), theirs().cpu()
    times = interleave({"ours": ours, "peer": theirs}, terms.repeats, clock=terms.clock)
    counted = machine.kernels(ours, terms.device), machine.kernels(theirs, terms.device)
    return Duel(
        ours=times["ours"],
        peer=times["peer"],
        drawn=drawn,
        tflop=tflop,
        ready=ready,
        peak_mb=machine.peak_mb(ours, terms.device),
        kernels=None if counted[0] is None or counted[1] is None else (counted[0], counted[1]),
    )


def shape_of(terms: Terms, parts: Components) -> Shape:
    """What is drawn, for those who count its work."""
    return Shape(
        unet=parts.unet.config,
        vae=parts.vae.config,
        text=parts.text_encoder.config,
        side=terms.side,
        steps=terms.steps,
        guidance=terms.guidance,
    )


def make_loop(parts: Components, shape: Shape, steps: int, device: torch.device) -> Loop:
    """The loop on noise and prompts that are the same for everybody."""
    generator = torch.Generator().manual_seed(SEED)
    prompts = torch.randn(2, min(TOKENS, shape.text.max_positions), shape.unet.context_dim, generator=generator)
    prompts = prompts.to(device, parts.unet.dtype)
    return Loop(
        unet=parts.unet,
        schedule=parts.schedule,
        noise=torch.randn(1, *shape.latent, generator=generator).to(device),
        positive=prompts[:1],
        negative=prompts[1:],
        steps=steps,
        guidance=shape.guidance,
    )


def network(terms: Terms, parts: Components) -> tuple[Network, Forge | None]:
    """What evaluates our UNet, and what compiles it where that was asked for and can be had."""
    origin = Origin(path=terms.folder, tokenizer=None, kept_in=terms.settings.home / "openvino")
    forge = make_forge(terms.settings, parts, terms.device, terms.placement.dtype, origin)
    eager = Hoisted(parts.unet)
    return (eager, None) if forge is None else (SwitchingNetwork(eager, forge, patience=0), forge)


def compiled(run: Callable[[], object], forge: Forge | None) -> float:
    """Run once, and wait until what that asked for is compiled; how long it took."""
    started = time.perf_counter()
    run()
    if forge is None:
        return 0.0
    if not forge.wait(COMPILE_TIMEOUT):
        raise TimeoutError("compiling took too long")
    return time.perf_counter() - started


def _settled(pipeline: NativePipeline, draw: Callable[[str], Tensor]) -> bool:
    """Draw beyond the patience of what compiles, and see whether nothing more is to be compiled after that."""
    for _ in range(PATIENCE):
        draw(PROMPT)
        if not pipeline.compiled(0):
            break
    else:
        return True
    if not pipeline.compiled(COMPILE_TIMEOUT):
        raise TimeoutError("compiling took too long")
    return False


def ignore_steps(step: int, steps: int, look: Look | None = None, /) -> None:
    """The callback of those who don't watch."""


def _request(terms: Terms, prompt: str) -> ResolvedRequest:
    return ResolvedRequest(
        prompt=prompt,
        model=terms.model,
        width=terms.side,
        height=terms.side,
        steps=terms.steps,
        guidance=terms.guidance,
        seed=SEED,
        sampler=terms.sampler,
        quality=terms.quality,
    )


def _their_picture(pipe: Any, terms: Terms) -> Callable[[str], Tensor]:  # noqa: ANN401
    import diffusers

    name, options = SCHEDULERS[terms.sampler]
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **options)
    factor = pipe.vae_scale_factor
    shape = pipe.unet.config.in_channels, terms.side // factor, terms.side // factor
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))[None].to(terms.device, pipe.unet.dtype)

    def run(prompt: str) -> Tensor:
        image = pipe(
            prompt,
            negative_prompt="",
            latents=noise.clone(),
            num_inference_steps=terms.peer_steps or terms.steps,
            guidance_scale=terms.guidance,
            width=terms.side,
            height=terms.side,
        ).images[0]
        return torch.from_numpy(np.array(image)).float() / 255

    return run
