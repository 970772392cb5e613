"""Our engine against others on the same weights and noise: `scripts/bench engine --help`.

Both sides are built from one folder and run in turns, and what they draw is compared. Without `--whole` the denoising
loop is measured, from noise and prompt embeddings to latents; with it, all from text to picture. Compiling is no part
of the measurement; its time is reported apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import ladder, peers
from benchmarks.random_model import TOKENS, WIDTHS, random_model
from engine.bench import Loop, Shape, interleave, rung, spread
from engine.models.registry import EMOJI, EMOJI_FOLDER, resolve
from engine.pipelines.base import Look
from engine.pipelines.compiling import make_forge
from engine.pipelines.native import NativePipeline
from engine.pipelines.openvino import Origin
from engine.pipelines.optimisations import PRESETS, SkipInitialisation, optimise
from engine.pipelines.switching import Forge, SwitchingNetwork
from engine.sd.checkpoint import Components, load
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
class Measured:
    """Two sides, run in turns."""

    ours: list[float]
    peer: list[float]
    result: tuple[Tensor, Tensor]
    """What each drew."""
    tflop: float
    ready: float
    """Seconds until ours was compiled."""


def main() -> None:
    """Entry point."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.ladder:
        ladder.show(write=options.write)
        return
    folder = _folder(options)
    measured = whole(options, folder) if options.whole else loop(options, folder)
    figures = _figures(measured)
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(_table(options, figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time our engine against another on the same weights and noise.")
    parser.add_argument("--against", choices=get_args(peers.Peer), default="diffusers")
    parser.add_argument("--model", default="sd15", help=f"{', '.join(WIDTHS)} (random weights), {EMOJI}, or a folder")
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--peer-steps", type=int, help="where they differ from ours")
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--quality", choices=[*Quality], default="exact", help="of ours, with --whole")
    parser.add_argument("--backend", choices=("auto", "eager"), default="auto", help="of ours; auto compiles")
    parser.add_argument("--whole", action="store_true", help="from text to picture")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="processor time, where other programs are busy")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "easel-bench", help="for models")
    parser.add_argument("--ladder", action="store_true", help="count the work of each way of drawing instead")
    parser.add_argument("--write", action="store_true", help="with --ladder: into docs/performance.md")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _folder(options: argparse.Namespace) -> Path:
    if options.model == EMOJI:
        return EMOJI_FOLDER
    if options.model in WIDTHS:
        options.work.mkdir(parents=True, exist_ok=True)
        return random_model(options.model, options.work / options.model)
    return Path(options.model)


@torch.inference_mode()
def loop(options: argparse.Namespace, folder: Path) -> Measured:
    """The denoising loops alone."""
    with SkipInitialisation():
        parts = load(folder)
    shape = _shape(options, parts)
    cpu, plain = torch.device("cpu"), torch.float32
    optimise(parts, cpu, plain)
    ours = _loop(parts, shape, options.steps)
    network, forge = _network(options, parts, folder)
    ready = _compiled(lambda: ours.run(network), forge)

    pipe = peers.pipeline(folder, whole=False)
    peers.prepare(pipe, options.against, 2 if options.guidance > 1 else 1, ours.noise, ours.positive)
    theirs = peers.latents_of(pipe, _loop(parts, shape, options.peer_steps or options.steps))
    result = ours.run(network), theirs()
    times = interleave({"ours": lambda: ours.run(network), "peer": theirs}, options.repeats, clock=_clock(options))
    return Measured(
        ours=times["ours"],
        peer=times["peer"],
        result=result,
        tflop=rung("", shape, PRESETS[Quality.EXACT], ours.sampler, around=False).tflop,
        ready=ready,
    )


def _clock(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.cpu_time else time.perf_counter


def _shape(options: argparse.Namespace, parts: Components) -> Shape:
    return Shape(
        unet=parts.unet.config,
        vae=parts.vae.config,
        text=parts.text_encoder.config,
        side=options.size,
        steps=options.steps,
        guidance=options.guidance,
    )


def _loop(parts: Components, shape: Shape, steps: int) -> Loop:
    generator = torch.Generator().manual_seed(SEED)
    prompts = torch.randn(2, min(TOKENS, shape.text.max_positions), shape.unet.context_dim, generator=generator)
    return Loop(
        unet=parts.unet,
        schedule=parts.schedule,
        noise=torch.randn(1, *shape.latent, generator=generator),
        positive=prompts[:1],
        negative=prompts[1:],
        steps=steps,
        guidance=shape.guidance,
    )


def _network(options: argparse.Namespace, parts: Components, folder: Path) -> tuple[Network, Forge | None]:
    origin = Origin(path=folder, tokenizer=None, kept_in=options.work / "openvino")
    settings = EngineSettings(compile="off" if options.backend == "eager" else "auto")
    forge = make_forge(settings, parts, torch.device("cpu"), torch.float32, origin)
    eager = Hoisted(parts.unet)
    return (eager, None) if forge is None else (SwitchingNetwork(eager, forge, patience=0), forge)


def _compiled(run: Callable[[], object], forge: Forge | None) -> float:
    """Run once, and wait until what that asked for is compiled; how long it took."""
    started = time.perf_counter()
    run()
    if forge is None:
        return 0.0
    if not forge.wait(COMPILE_TIMEOUT):
        raise TimeoutError("compiling took too long")
    return time.perf_counter() - started


def whole(options: argparse.Namespace, folder: Path) -> Measured:
    """From text to picture, by the pipelines that people call."""
    settings = EngineSettings(
        home=options.work,
        device="cpu",
        threads=options.threads,
        compile="off" if options.backend == "eager" else "auto",
    )
    source = resolve(EMOJI if options.model == EMOJI else str(folder), settings)
    pipeline = NativePipeline(source, settings)
    pipeline.load()
    side = source.info.native if source.native_only else options.size

    def ours(prompt: str) -> Tensor:
        (drawing,) = pipeline.draw([_request(options, side, prompt)], ignore_steps)
        return torch.from_numpy(np.array(drawing.image))

    started = time.perf_counter()
    while settings.compile != "off" and not _settled(pipeline, ours):
        pass
    ready = time.perf_counter() - started
    theirs = _their_picture(peers.pipeline(folder, whole=True), options, side)
    # Always another prompt: ours would know the embedding of one that it has seen.
    own, other = (map("{} {}".format, itertools.repeat(PROMPT), itertools.count()) for _ in range(2))
    times = interleave(
        {"ours": lambda: ours(next(own)), "peer": lambda: theirs(next(other))}, options.repeats, clock=_clock(options)
    )
    parts = load(folder)
    shape = _shape(argparse.Namespace(**{**vars(options), "size": side}), parts)
    return Measured(
        ours=times["ours"],
        peer=times["peer"],
        result=(ours(PROMPT).float() / 255, theirs(PROMPT).float() / 255),
        tflop=rung("", shape, PRESETS[Quality(options.quality)], "dpmpp_2m").tflop,
        ready=ready,
    )


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


def _request(options: argparse.Namespace, side: int, prompt: str) -> ResolvedRequest:
    return ResolvedRequest(
        prompt=prompt,
        model=options.model,
        width=side,
        height=side,
        steps=options.steps,
        guidance=options.guidance,
        seed=SEED,
        sampler=Sampler.DPMPP_2M,
        quality=Quality(options.quality),
    )


def _their_picture(pipe: Any, options: argparse.Namespace, side: int) -> Callable[[str], Tensor]:  # noqa: ANN401
    import diffusers

    config = pipe.scheduler.config
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(config, lower_order_final=True)
    factor = pipe.vae_scale_factor
    shape = pipe.unet.config.in_channels, side // factor, side // factor
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))[None]

    def run(prompt: str) -> Tensor:
        image = pipe(
            prompt,
            negative_prompt="",
            latents=noise.clone(),
            num_inference_steps=options.peer_steps or options.steps,
            guidance_scale=options.guidance,
            width=side,
            height=side,
        ).images[0]
        return torch.from_numpy(np.array(image))

    return run


def _figures(measured: Measured) -> dict[str, float]:
    ours, theirs = (each.double() for each in measured.result)
    seconds = statistics.median(measured.ours)
    figures = {
        "ratio": statistics.median(measured.peer) / seconds,
        "ours_s": seconds,
        "peer_s": statistics.median(measured.peer),
        "ours_spread": spread(measured.ours),
        "peer_spread": spread(measured.peer),
        "max_abs_diff": float((ours - theirs).abs().max()),
        "relative_l2": float((ours - theirs).norm() / theirs.norm()),
        "tflop": measured.tflop,
        "gflops_per_s": 1000 * measured.tflop / seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "compiled_after_s": measured.ready,
    }
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


LABELS = {
    "ratio": "their median over ours",
    "ours_s": "ours, seconds",
    "peer_s": "theirs, seconds",
    "ours_spread": "spread of ours",
    "peer_spread": "spread of theirs",
    "max_abs_diff": "largest difference",
    "relative_l2": "relative difference",
    "tflop": "work of ours, TFLOP",
    "gflops_per_s": "ours, GFLOP/s",
    "peak_mb": "peak memory of both sides, MB",
    "compiled_after_s": "compiled after, seconds",
}


def _table(options: argparse.Namespace, figures: dict[str, float]) -> Table:
    title = f"{options.model} at {options.size} pixels, {options.steps} steps, against {options.against}"
    table = Table("", "", title=title)
    for name, value in figures.items():
        table.add_row(LABELS[name], f"{value:g}")
    return table


if __name__ == "__main__":
    main()
