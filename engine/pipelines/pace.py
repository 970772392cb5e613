"""When a drawing is worth another look: not before somebody begins to wonder, and no more often than chats can show."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.pipelines.base import Look, Previews

FIRST_SECONDS = 1.0
"""From a batch's first step; what is finished sooner needs no preview."""
SECONDS = 2.5
"""From one look to the next; chats are edited every 3 s."""


class Pace:
    """Takes the looks of one batch that are due."""

    def __init__(self, *, wanted: bool = True, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wanted = wanted
        self._monotonic = monotonic
        self._due = monotonic() + FIRST_SECONDS

    def __call__(self, look: Look | None) -> Previews | None:
        """The previews, or None when it is too soon or nobody wants any."""
        if look is None or not self.due():
            return None
        previews = look()
        self.put_off()
        return previews

    def due(self) -> bool:
        """Whether it is time for a look that anybody wants."""
        return self._wanted and self._monotonic() >= self._due

    def put_off(self) -> None:
        """A look was taken: the next one is due a while from now."""
        self._due = self._monotonic() + SECONDS
