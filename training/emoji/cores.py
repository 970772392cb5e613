"""Fit the work to the processor: its number format, and the threads that other programs leave free.

A low-priority loop of parallel regions waits at each barrier for its slowest thread. When somebody else needs a core,
one thread less is faster than a thread that hardly gets to run. Linux only (``/proc/stat``).
"""

import os
import time
from pathlib import Path

import torch

STAT = Path("/proc/stat")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Names of the instruction sets that multiply bfloat16, in ``torch.cpu.get_capabilities`` (x86, x86, ARM)."""


def half_precision() -> torch.dtype:
    """bfloat16 where the processor multiplies it, else float32: emulated, a step took a hundred times as long."""
    known = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(known.get(name, False) for name in BFLOAT16) else torch.float32


def mixed_precision() -> torch.autocast:
    """Autocast to ``half_precision``, if that is one."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=half_precision() is torch.bfloat16)


class Cores:
    """Sets torch's thread count between steps from the processor time that other programs used."""

    def __init__(self, most: int | None = None, interval: float = 1.5) -> None:
        self.most, self.interval = most, interval
        self.before = self._sample()
        torch.set_num_threads(self._allowed())

    def _allowed(self) -> int:
        """Cores that this process may use, which its owner can change while it runs."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, self.most or cores)

    def _sample(self) -> tuple[float, float, float]:
        """Clock, busy seconds of all cores, processor seconds of this process."""
        fields = [int(x) for x in STAT.read_text().splitlines()[0].split()[1:9]] if STAT.exists() else [0] * 8
        busy = sum(fields) - fields[3] - fields[4]
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), time.process_time()

    def adapt(self) -> None:
        """Call between steps; changes the count at most once per interval."""
        clock, busy, own = (now - then for now, then in zip(self._sample(), self.before, strict=True))
        if clock < self.interval:
            return
        self.before = self._sample()
        others = max(0.0, busy - own) / clock
        elsewhere = (os.cpu_count() or 1) - self._allowed()
        torch.set_num_threads(max(1, self._allowed() - max(0, round(others) - elsewhere)))
