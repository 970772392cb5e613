"""How many pictures take a step together: as many as fit, and as it pays.

A GPU takes a large batch in little more time than a small one, so that company costs nobody anything. Where a step's
time grows with the batch, as for large models on a CPU, company would only make everybody wait for the last: there one
after the other is better. Which of the two a device and a size are is measured while drawing.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate

PAYS = 0.9
"""Company pays when a row of the network's batch takes at most this share of its time in smaller company."""
ENOUGH, KEPT = 3, 7
"""Measurements before one is believed, and how many of the last are kept: their median counts."""
FRESH_SECONDS = 60.0
"""How long measurements are good: a compiler may be done since, or a neighbour gone."""

Size = tuple[int, ...]


class Room:
    """What is known of one loaded model on this device."""

    def __init__(self, most: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`most`: pictures at most, however well they fit."""
        self._most = most
        self._monotonic = monotonic
        self._bounds: dict[Size, int] = {}
        self._rows: dict[tuple[Size, int], deque[float]] = {}
        self._measured: dict[tuple[Size, int], float] = {}

    def best(self, size: Size, rows: Sequence[int]) -> int:
        """How many of the waiting pictures, the first of them, take the next step together.

        Args:
            size: of their latents.
            rows: how many rows of the network's batch each takes.
        """
        best, seconds = 1, [self._seconds(size, rows[0])]
        for count, total in enumerate(accumulate(rows[: self._bounds.get(size, self._most)]), start=1):
            if count == 1:
                continue
            cost = self._seconds(size, total)
            if cost is None or all(known is None or cost <= PAYS * known for known in seconds):
                best = count
            seconds.append(cost)
        return best

    def measured(self, size: Size, rows: int, seconds: float) -> None:
        """A step of so many rows took so long."""
        now = self._monotonic()
        for key in [key for key, when in self._measured.items() if now - when > FRESH_SECONDS]:
            del self._rows[key], self._measured[key]
        self._rows.setdefault((size, rows), deque(maxlen=KEPT)).append(seconds / rows)
        self._measured[size, rows] = now

    def narrow(self, size: Size, count: int) -> None:
        """So many pictures of a size didn't fit the device; from now on half as many will be tried."""
        self._bounds[size] = max(count // 2, 1)

    def _seconds(self, size: Size, rows: int) -> float | None:
        """Of one row among so many; None where that isn't known."""
        known = self._rows.get((size, rows), ())
        return statistics.median(known) if len(known) >= ENOUGH else None
