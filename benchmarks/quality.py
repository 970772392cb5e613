"""What each way of drawing costs in likeness: `scripts/bench quality`.

The bundled model draws the same hundred prompts from the same noise in each way. They are held against the exact
pictures of fifty steps.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.duel import ignore_steps
from benchmarks.similarity import psnr, ssim
from engine.bench import Shape, rung
from engine.models.registry import EMOJI, EMOJI_FOLDER, resolve
from engine.pipelines.native import NativePipeline
from engine.pipelines.optimisations import int8_weights, preset_for, steps_and_sampler
from engine.sd.checkpoint import Components, Placement, load
from engine.settings import EngineSettings
from engine.types import Quality, ResolvedRequest

PROMPTS = """
red apple|pizza|rocket|dog face|red heart|house|blue car|tree|guitar|crown|penguin|soccer ball|cat face|banana|bicycle|
birthday cake|books|broccoli|bus|butterfly|cactus|camera|candle|carrot|cherries|chicken|clown face|cloud|coconut|cookie|
cow face|crab|crescent moon|croissant|diamond|dolphin|doughnut|dragon|drum|duck|eagle|elephant|envelope|fire|fish|
flamingo|fox|frog|ghost|giraffe|grapes|green heart|grinning face|hamburger|hammer|hedgehog|helicopter|horse|hot dog|
ice cream|jellyfish|key|kiwi fruit|koala|ladybug|lemon|lion|lobster|mango|microscope|monkey face|mouse|mushroom|octopus|
orange|owl|panda|parrot|peach|pear|pig face|pineapple|police car|pumpkin|rabbit face|rainbow|rose|sailboat|scissors|
shark|snail|snowman|spider|strawberry|sun|sunflower|taxi|telescope|tiger face|tomato
"""
SEED = 7


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of drawing, as a person asks for it and an operator sets it."""

    name: str
    steps: int
    quality: Quality = Quality.EXACT
    precision: Literal["float32", "bfloat16"] = "float32"
    int8: bool = False


REFERENCE = Way(name="exact, 50 steps", steps=50)
WAYS = (
    Way(name="exact, 20 steps (the default)", steps=20),
    Way(name="`balanced`", steps=50, quality=Quality.BALANCED),
    Way(name="`fast`", steps=50, quality=Quality.FAST),
    Way(name="exact, 50 steps, `EASEL_PRECISION=bfloat16`", steps=50, precision="bfloat16"),
    Way(name="exact, 50 steps, `EASEL_INT8`", steps=50, precision="bfloat16", int8=True),
)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Measure the likeness that each way of drawing keeps.")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rows = measure(PROMPTS.replace("\n", "").split("|")[: options.prompts], options.threads)
    if options.json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        Console().print(_table(rows))


def measure(prompts: list[str], threads: int | None, ways: Sequence[Way] = WAYS) -> dict[str, dict[str, float]]:
    """Figures of each way: median seconds of a picture, TFLOP, and how like the reference its pictures are.

    8-bit weights are left out where the extra `int8` is not installed.
    """
    ways = [way for way in (REFERENCE, *ways) if not way.int8 or importlib.util.find_spec("torchao")]
    pipelines: dict[tuple[str, bool], NativePipeline] = {}
    for way in ways:
        if (way.precision, way.int8) not in pipelines:
            pipelines[way.precision, way.int8] = _pipeline(way, threads)
    drawn: dict[str, list[Image.Image]] = {}
    times: dict[str, list[float]] = {}
    for prompt in prompts:
        for way in ways:
            started = time.perf_counter()
            (drawing,) = pipelines[way.precision, way.int8].draw([_request(way, prompt)], ignore_steps)
            times.setdefault(way.name, []).append(time.perf_counter() - started)
            drawn.setdefault(way.name, []).append(drawing.image)
    shapes = load(EMOJI_FOLDER)
    return {
        way.name: {
            "seconds": statistics.median(times[way.name]),
            "gflop": _gflop(way, shapes),
            "unet_mb": _unet_mb(way),
            "psnr": statistics.median(map(psnr, drawn[way.name], drawn[REFERENCE.name])),
            "ssim": statistics.mean(map(ssim, drawn[way.name], drawn[REFERENCE.name])),
        }
        for way in ways
    }


def _pipeline(way: Way, threads: int | None) -> NativePipeline:
    settings = EngineSettings(device="cpu", threads=threads, compile="off", precision=way.precision, int8=way.int8)
    pipeline = NativePipeline(resolve(EMOJI, settings), settings)
    pipeline.load()
    return pipeline


def _unet_mb(way: Way) -> float:
    """What the UNet's weights take in memory."""
    unet = load(EMOJI_FOLDER, Placement(dtype=torch.float32 if way.precision == "float32" else torch.bfloat16)).unet
    if way.int8:
        int8_weights(unet)
    return sum(_bytes(weight) for weight in unet.parameters()) / 2**20


def _bytes(weight: torch.Tensor) -> int:
    parts = [getattr(weight, name) for name in ("qdata", "scale") if hasattr(weight, name)]
    return sum(part.numel() * part.element_size() for part in parts or [weight])


def _request(way: Way, prompt: str) -> ResolvedRequest:
    info = resolve(EMOJI, EngineSettings()).info
    return ResolvedRequest(
        prompt=prompt,
        model=EMOJI,
        width=info.native,
        height=info.native,
        steps=way.steps,
        guidance=info.guidance,
        seed=SEED,
        sampler=info.sampler,
        quality=way.quality,
    )


def _gflop(way: Way, parts: Components) -> float:
    request = _request(way, PROMPTS.split("|", maxsplit=1)[0].strip())
    preset = preset_for(request)
    steps, sampler = steps_and_sampler(request, preset)
    shape = Shape(
        unet=parts.unet.config,
        vae=parts.vae.config,
        text=parts.text_encoder.config,
        side=request.width,
        steps=steps,
        guidance=request.guidance,
    )
    return 1000 * rung("", shape, preset, sampler).tflop


def _table(rows: dict[str, dict[str, float]]) -> Table:
    table = Table("", "seconds", "GFLOP", "UNet, MB", "PSNR, dB", "SSIM", title="The bundled model")
    for name, row in rows.items():
        numbers = f"{row['seconds']:.2f}", f"{row['gflop']:.0f}", f"{row['unet_mb']:.0f}"
        table.add_row(name, *numbers, f"{row['psnr']:.1f}", f"{row['ssim']:.3f}")
    return table


if __name__ == "__main__":
    main()
