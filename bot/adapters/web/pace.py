"""How much one person may ask of the page at once, so that nobody's browser or script takes it from the others."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bot import messages
from bot.errors import LimitError

BURST = 60
"""Requests that may come at once; opening the page takes four, a key pressed in a search field one."""
A_SECOND = 5.0
REMEMBERED = 10_000
UNREAD = 60
"""Events of one person whose answers nobody has come to read. A page reads them as soon as it has sent one."""
UNREAD_SECONDS = 300.0
"""After which they are forgotten."""


class Pace:
    """A bucket of requests for each person, which fills again with time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, person: str, requests: float = 1) -> bool:
        """Count requests; False, counting none, if that is too many."""
        now = self._clock()
        left, since = self._left.pop(person, (float(BURST), now))
        left = min(BURST, left + (now - since) * A_SECOND)
        allowed = left >= requests
        self._left[person] = (left - requests if allowed else left, now)
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return allowed


class Unread:
    """Counts the events of pages that nobody reads: their answers wait in memory, and each may hold a whole gallery."""

    def __init__(self, forget: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`forget` lets go of what waits for a page."""
        self._forget = forget
        self._clock = clock
        self._of: dict[str, dict[str, tuple[float, int]]] = {}
        """Of each person: since when a page is not read, and how many of its events."""

    def allows(self, person: str, page: str) -> bool:
        """Count an event of a page that isn't read; False, counting none, if there are too many."""
        self._forget_old()
        pages = self._of.setdefault(person, {})
        if sum(events for _, events in pages.values()) >= UNREAD:
            return False
        since, events = pages.get(page, (self._clock(), 0))
        pages[page] = since, events + 1
        return True

    def read(self, person: str, page: str) -> None:
        """Somebody has come to read them."""
        pages = self._of.get(person, {})
        pages.pop(page, None)
        if not pages:
            self._of.pop(person, None)

    def _forget_old(self) -> None:
        now = self._clock()
        for person, pages in list(self._of.items()):
            for page in [page for page, (since, _) in pages.items() if now - since >= UNREAD_SECONDS]:
                self.read(person, page)
                self._forget(page)


class Turns:
    """Lets some through at once, and each person one at a time."""

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._people: set[str] = set()

    @asynccontextmanager
    async def turn(self, person: str, locale: str) -> AsyncIterator[None]:
        """Wait for a turn.

        Raises:
            LimitError: the person is waiting for one, or has it, already.
        """
        if person in self._people:
            raise LimitError(messages.say("web.one_at_a_time", locale))
        self._people.add(person)
        try:
            async with self._turns:
                yield
        finally:
            self._people.discard(person)
