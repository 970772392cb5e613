"""What each way of drawing costs, counted, and what that predicts for GPUs."""

from __future__ import annotations

from dataclasses import replace

from engine.bench import Rung, Shape, rung
from engine.pipelines.optimisations import PRESETS, Preset
from engine.sd.config import TextConfig, UNetConfig, VAEConfig
from engine.types import Quality

SD15 = Shape(unet=UNetConfig(), vae=VAEConfig(), text=TextConfig(), side=512, steps=50, guidance=7.5)


def rungs() -> list[Rung]:
    """Stable Diffusion 1.5 at 512 pixels, from the dearest to the cheapest."""
    karras, plain = "dpmpp_2m_karras", Preset()
    turbo = replace(SD15, guidance=1.0)
    return [
        rung("exact, 50 steps", SD15, plain, "ddim"),
        rung("exact, 25 steps", replace(SD15, steps=25), plain, "dpmpp_2m"),
        rung("`balanced`", SD15, PRESETS[Quality.BALANCED], karras),
        rung("`fast`", SD15, PRESETS[Quality.FAST], karras),
        rung("few-step weights, 4 steps", replace(turbo, steps=4), plain, "lcm"),
        rung("few-step weights, 1 step", replace(turbo, steps=1), plain, "euler"),
    ]


def markdown() -> str:
    """The ladder in Markdown."""
    lines = [
        "| Stable Diffusion 1.5, 512 pixels | samples through the UNet | TFLOP | A10, predicted | H100, predicted |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {way.name} | {way.evaluations} | {way.tflop:.1f} | {way.a10_seconds:.2f} s | {way.h100_seconds:.2f} s |"
        for way in rungs()
    ]
    return "\n".join(lines) + "\n"
