"""Time as a parameter: what a test may replace by a clock of its own."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump, for measuring."""

    async def sleep(self, seconds: float) -> None:
        """Come back later."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump, for measuring."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Come back later."""
        await asyncio.sleep(seconds)


def utc_day(moment: float) -> str:
    """`YYYY-MM-DD` of a moment in seconds since 1970: the day over which quotas are counted."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
