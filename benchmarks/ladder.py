"""What each way of drawing costs, counted, and what that predicts for GPUs that aren't here."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from engine.bench import Rung, Shape, rung
from engine.pipelines.optimisations import PRESETS, Preset
from engine.sd.config import TextConfig, UNetConfig, VAEConfig
from engine.types import Quality

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
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


def table() -> str:
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


def put(name: str, text: str, page: Path = DOCS) -> None:
    """Replace a generated block of a page."""
    block = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    before = page.read_text(encoding="utf-8")
    if not block.search(before):
        raise ValueError(f"{page} has no block for {name}")
    page.write_text(block.sub(lambda found: f"{found[1]}{text}{found[2]}", before), encoding="utf-8")


def show(*, write: bool) -> None:
    """Print the ladder, or write it into the page."""
    if write:
        put("ladder", table())
    else:
        Console().print(Markdown(table()))
