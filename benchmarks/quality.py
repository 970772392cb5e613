"""What each way of drawing costs in likeness: `scripts/bench quality [--write]`.

The bundled model draws the same hundred prompts from the same noise in each way. They are held against the exact
pictures of fifty steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass

from PIL import Image
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.engine import ignore_steps
from benchmarks.ladder import put
from benchmarks.similarity import psnr, ssim
from engine.bench import Shape, rung
from engine.models.registry import EMOJI, EMOJI_FOLDER, resolve
from engine.pipelines.native import NativePipeline
from engine.pipelines.optimisations import preset_for, steps_and_sampler
from engine.sd.checkpoint import load
from engine.settings import EngineSettings
from engine.types import Quality, ResolvedRequest, Sampler

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
    """A way of drawing, as a person asks for it."""

    name: str
    steps: int
    quality: Quality = Quality.EXACT


REFERENCE = Way(name="exact, 50 steps", steps=50)
WAYS = (
    Way(name="exact, 20 steps (the default)", steps=20),
    Way(name="`balanced`", steps=50, quality=Quality.BALANCED),
    Way(name="`fast`", steps=50, quality=Quality.FAST),
)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Measure the likeness that each way of drawing keeps.")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rows = measure(PROMPTS.replace("\n", "").split("|")[: options.prompts], options.threads)
    if options.json:
        sys.stdout.write(json.dumps(rows) + "\n")
    elif options.write:
        put("quality", _table(rows))
    else:
        Console().print(Markdown(_table(rows)))


def measure(prompts: list[str], threads: int | None) -> dict[str, dict[str, float]]:
    """Figures of each way: median seconds of a picture, TFLOP, and how like the reference its pictures are."""
    settings = EngineSettings(device="cpu", threads=threads, compile="off")
    pipeline = NativePipeline(resolve(EMOJI, settings), settings)
    pipeline.load()
    drawn: dict[str, list[Image.Image]] = {}
    times: dict[str, list[float]] = {}
    for prompt in prompts:
        for way in (REFERENCE, *WAYS):
            started = time.perf_counter()
            (drawing,) = pipeline.draw([_request(way, prompt)], ignore_steps)
            times.setdefault(way.name, []).append(time.perf_counter() - started)
            drawn.setdefault(way.name, []).append(drawing.image)
    return {
        way.name: {
            "seconds": statistics.median(times[way.name]),
            "gflop": _gflop(way),
            "psnr": statistics.median(map(psnr, drawn[way.name], drawn[REFERENCE.name])),
            "ssim": statistics.mean(map(ssim, drawn[way.name], drawn[REFERENCE.name])),
        }
        for way in (REFERENCE, *WAYS)
    }


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
        sampler=Sampler.DPMPP_2M,
        quality=way.quality,
    )


def _gflop(way: Way) -> float:
    parts = load(EMOJI_FOLDER)
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


def _table(rows: dict[str, dict[str, float]]) -> str:
    lines = [
        "| The bundled model | seconds a picture | GFLOP | PSNR, dB | SSIM |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        like = "| | |" if name == REFERENCE.name else f"| {row['psnr']:.1f} | {row['ssim']:.3f} |"
        lines.append(f"| {name} | {row['seconds']:.2f} | {row['gflop']:.0f} {like}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
