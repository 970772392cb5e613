"""How long a model takes from disk to ready, and how much memory at most: `scripts/bench loading --model sd15`.

Measured in a process of its own, from when torch is imported. The weights are read once before, so that what is timed
is the loading and not the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.random_model import WIDTHS, random_model

INSIDE = "EASEL_BENCH_INSIDE"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Time loading a model, and measure its peak memory.")
    parser.add_argument("--model", default="sd15", help=f"{', '.join(WIDTHS)} (random weights), or a folder")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "easel-bench", help="for models")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    known = options.model in WIDTHS
    folder = random_model(options.model, options.work / options.model) if known else Path(options.model)
    if os.environ.get(INSIDE):
        sys.stdout.write(json.dumps(measure(folder)) + "\n")
        return
    for path in folder.glob("*/*.safetensors"):
        with path.open("rb") as file:
            while file.read(2**24):
                pass
    command = [sys.executable, "-m", "benchmarks.loading", "--model", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {INSIDE: "1"})  # noqa: S603
    figures = json.loads(done.stdout)
    lines = [json.dumps(figures)] if options.json else [f"{name:20} {value:10.2f}" for name, value in figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def measure(folder: Path) -> dict[str, float]:
    """Load as the pipeline does, in this process."""
    from engine.models.registry import resolve
    from engine.pipelines.native import NativePipeline
    from engine.settings import EngineSettings

    settings = EngineSettings(device="cpu", compile="off")
    pipeline = NativePipeline(resolve(str(folder), settings), settings)
    before = _peak()
    started = time.perf_counter()
    pipeline.load()
    seconds = time.perf_counter() - started
    weights = sum(path.stat().st_size for path in folder.glob("*/*.safetensors")) / 2**20
    peak = _peak() - before
    return {"seconds": seconds, "weights_mb": weights, "peak_mb": peak, "peak_over_weights": peak / weights}


def _peak() -> float:
    """Most megabytes in memory so far: Linux's own count of this program, into which its parent doesn't enter."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
