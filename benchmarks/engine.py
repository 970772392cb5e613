"""Our engine against others on the same weights and noise: `scripts/bench engine --help`.

Both sides are built from one folder and run in turns, and what they draw is compared. Without `--whole` the denoising
loop is measured, from noise and prompt embeddings to latents; with it, all from text to picture. Compiling is no part
of the measurement; its time is reported apart. Where there is a GPU, both sides run there in half precision.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from benchmarks import duel, exact, ladder, machine, peers
from benchmarks.random_model import WIDTHS, random_model
from engine.models.registry import EMOJI, EMOJI_FOLDER, resolve
from engine.settings import EngineSettings
from engine.types import Quality, Sampler

GUIDANCE = 7.5
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
    "peak_mb": "peak memory, MB",
    "compiled_after_s": "compiled after, seconds",
    "ours_kernels": "ours, kernels",
    "peer_kernels": "theirs, kernels",
}


def main() -> None:
    """Entry point."""
    options = parse()
    if options.ladder:
        Console().print(Markdown(ladder.markdown()))
        return
    terms = read(options)
    if terms.settings.threads:
        torch.set_num_threads(terms.settings.threads)
    if options.rungs:
        rungs = exact.measure(terms)
        write(options, rungs, exact.table(rungs))
        return
    figures = (duel.whole if options.whole else duel.loop)(terms).figures()
    write(options, figures, _table(terms, figures))


def write(options: argparse.Namespace, figures: object, table: Table) -> None:
    """Print figures as asked."""
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        Console().print(table)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time our engine against another on the same weights and noise.")
    parser.add_argument("--against", choices=get_args(peers.Peer), default="diffusers")
    parser.add_argument("--model", default="sd15", help=f"{', '.join(WIDTHS)} (random weights), {EMOJI}, or a folder")
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--peer-steps", type=int, help="where they differ from ours")
    parser.add_argument("--guidance", type=float, help="the model's, or 7.5")
    parser.add_argument("--quality", choices=[*Quality], default="exact", help="of ours, with --whole")
    parser.add_argument("--backend", choices=("auto", "eager"), default="auto", help="of ours; auto compiles")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--whole", action="store_true", help="from text to picture")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="processor time, where other programs are busy")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "easel-bench", help="for models")
    parser.add_argument("--rungs", action="store_true", help="our exact optimisations, one after the other")
    parser.add_argument("--ladder", action="store_true", help="count the work of each way of drawing instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def read(options: argparse.Namespace) -> duel.Terms:
    """What the command line asks for; a model of random weights is made when first named."""
    settings = EngineSettings(
        home=options.work,
        device=options.device,
        threads=options.threads,
        compile="off" if options.backend == "eager" else "auto",
    )
    info = resolve(EMOJI, settings).info if options.model == EMOJI else None
    guidance = info.guidance if info else GUIDANCE
    return duel.Terms(
        folder=_folder(options),
        settings=settings,
        model=options.model,
        against=options.against,
        side=options.size,
        steps=options.steps,
        peer_steps=options.peer_steps,
        guidance=guidance if options.guidance is None else options.guidance,
        sampler=info.sampler if info else Sampler.DPMPP_2M,
        quality=Quality(options.quality),
        repeats=options.repeats,
        clock=time.process_time if options.cpu_time else time.perf_counter,
    )


def _folder(options: argparse.Namespace) -> Path:
    if options.model == EMOJI:
        return EMOJI_FOLDER
    if options.model in WIDTHS:
        options.work.mkdir(parents=True, exist_ok=True)
        return random_model(options.model, options.work / options.model)
    return Path(options.model)


def _table(terms: duel.Terms, figures: dict[str, float]) -> Table:
    title = f"{terms.model} at {terms.side} pixels, {terms.steps} steps, against {terms.against}"
    table = Table("", "", title=title, caption=machine.describe(terms.device))
    for name, value in figures.items():
        table.add_row(LABELS[name], f"{value:g}")
    return table


if __name__ == "__main__":
    main()
