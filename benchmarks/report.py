"""Measures everything that docs/performance.md tells, and writes it there: `scripts/bench report [SECTION…]`.

Each figure comes from a benchmark of its own, in a process of its own. On two cores all of it takes about an hour; the
machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import exact, ladder, machine

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
RUNGS = "half"
"""Width of the network that the exact optimisations are measured on; see `benchmarks.exact`."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """One comparison of the table."""

    name: str
    peer: str
    arguments: str
    bar: float
    """The ratio that is wanted of it."""


LOOP = "--model sd15 --size 256 --steps 4"
PICTURE = "--model emoji --whole"
MATCHES = (
    Match(name="SD 1.5, best backend", peer="diffusers", arguments=LOOP, bar=1.7),
    Match(
        name="SD 1.5, best backend",
        peer="diffusers compiled, channels last, fused QKV",
        arguments=f"{LOOP} --against diffusers-compiled",
        bar=1.1,
    ),
    Match(
        name="SD 1.5, best backend",
        peer="OpenVINO on diffusers' graph",
        arguments=f"{LOOP} --against diffusers-openvino",
        bar=1.0,
    ),
    Match(
        name="SD 1.5, eager",
        peer="diffusers, channels last, fused QKV",
        arguments=f"{LOOP} --backend eager --against diffusers-tuned",
        bar=1.1,
    ),
    Match(
        name="bundled model, best backend, a picture",
        peer="diffusers' pipeline",
        arguments=f"{PICTURE} --steps 20 --repeats 15",
        bar=2.0,
    ),
    Match(
        name="bundled model, eager, a picture",
        peer="diffusers' pipeline",
        arguments=f"{PICTURE} --steps 20 --backend eager --repeats 15",
        bar=2.0,
    ),
    Match(
        name="bundled model, eager, `fast`, a picture of 50 steps",
        peer="diffusers' pipeline",
        arguments=f"{PICTURE} --steps 50 --quality fast --backend eager --repeats 9",
        bar=4.0,
    ),
)


def duels() -> str:
    """Our engine against others."""
    lines = [
        "| Ours | against | ours | theirs | times as fast | wanted | difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for match in MATCHES:
        row = figures("engine", *match.arguments.split())
        lines.append(
            f"| {match.name} | {match.peer} | {row['ours_s']:.2f} s | {row['peer_s']:.2f} s "
            f"| **{row['ratio']:.2f}** | {match.bar} | {row['relative_l2']:.0e} |"
        )
    return "\n".join(lines) + "\n"


def rungs() -> str:
    """The exact optimisations, one on top of the other."""
    measured = figures("engine", "--model", RUNGS, "--size", "256", "--steps", "4", "--rungs")
    return exact.markdown(measured, "The loop at half of SD 1.5's width, 256 pixels, 4 steps")


def quality() -> str:
    """What the presets cost in likeness."""
    lines = [
        "| The bundled model | seconds a picture | GFLOP | weights of the UNet, MB | PSNR, dB | SSIM |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in figures("quality").items():
        like = f"{row['psnr']:.1f} | {row['ssim']:.3f}" if row["ssim"] < 1 else "|"
        cost = f"{row['seconds']:.2f} | {row['gflop']:.0f} | {row['unet_mb']:.0f}"
        lines.append(f"| {name} | {cost} | {like} |")
    return "\n".join(lines) + "\n"


def company() -> str:
    """What people wait when they come at random."""
    measured = figures("batcher", "--pictures", "40")
    lines = [
        "| Offered load | drawn | mean wait | 95 % wait at most | pictures a second |",
        "| --- | --- | --- | --- | --- |",
    ]
    for load, ways in measured["loads"].items():
        for way, row in ways.items():
            told = {"company": "in company", "one_by_one": "one by one"}[way]
            lines.append(
                f"| {load} | {told} | {row['mean_s']:.2f} s | {row['p95_s']:.2f} s | {row['per_second']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def loading() -> str:
    """From disk to ready."""
    row = figures("loading", "--model", "sd15")
    return (
        f"Stable Diffusion 1.5 of {row['weights_mb']:.0f} MB is ready {row['seconds']:.1f} s after it is asked for, "
        f"with at most {row['peak_over_weights']:.2f} times its weights in memory.\n"
    )


SECTIONS: Mapping[str, Callable[[], str]] = {
    "duels": duels,
    "rungs": rungs,
    "ladder": ladder.markdown,
    "quality": quality,
    "company": company,
    "loading": loading,
}


def figures(name: str, *arguments: str) -> Any:  # noqa: ANN401  (whatever the benchmark prints)
    """What a benchmark prints with `--json`."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def put(page: str, name: str, text: str) -> str:
    """The page with a measured block replaced.

    Raises:
        ValueError: it has no such block.
    """
    block = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"the page has no block for {name}")
    return block.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)


def stamp() -> str:
    """When and where it was measured."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return f"*{datetime.now(UTC):%-d %B %Y}, {machine.describe(device)}, torch {torch.__version__}.*"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Measure what docs/performance.md tells, and write it there.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all when left out")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in options.sections or SECTIONS:
        text = SECTIONS[name]()
        if name != "ladder":  # which is counted, and the same everywhere
            text += f"\n{stamp()}\n"
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(put(page, name, text), encoding="utf-8")


if __name__ == "__main__":
    main()
