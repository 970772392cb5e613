"""What a benchmark has to know of the machine that it runs on."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def describe(device: torch.device) -> str:
    """Its name, as a heading of results."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def kernels(run: Callable[[], object], device: torch.device) -> int | None:
    """How many kernels and copies a GPU is given; None on a CPU, which counts none."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        run()
        torch.cuda.synchronize(device)
    return len([event for event in recorded.events() or () if event.device_type.name == "CUDA"])


def peak_mb(run: Callable[[], object], device: torch.device) -> float:
    """Most memory held: by the GPU while this runs, or else by the process since it began."""
    if device.type != "cuda":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**20
