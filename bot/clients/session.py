"""An order that is tried until each of its pictures has ended, exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence

from engine.errors import BrokeOffError, EngineError, TookTooLongError, UnreachableError
from engine.types import Cancelled, Event, Failed, Order, Progress, Stage

BREAKS = 8
"""Calls of an order that may break off one after the other with nothing finished: maybe it is the order that kills the
machine, and everybody else's work with it."""
GPU_BREAKS = 4
"""GPUs that may fail at one of its pictures, for the same reason; who draws beside it on them has room to spare."""
BROKEN = "The GPU service broke off before the picture was finished."
LATE = "The GPU service did not answer in time, so this was given up; ask again later."
_TOO_OFTEN = "The GPU service broke off again and again while this was drawn, so it was given up; ask again later."


class Session:
    """An order until each of its pictures has ended.

    Args:
        order: what is wanted.
        deadline: until when, by the clock of whoever asks.
    """

    def __init__(self, order: Order, deadline: float) -> None:
        self.order = order
        self.deadline = deadline
        self.open = list(range(len(order.requests)))
        """Places of the pictures that have not ended."""
        self.stop = asyncio.Event()
        self._asked: Sequence[int] = ()
        self._put_off: set[int] = set()
        self._breaks = 0
        self._gpu_breaks = Counter[int]()

    def begin(self) -> Order:
        """The order of what is still open, for another call."""
        self._asked, self._put_off = tuple(self.open), set()
        requests = tuple(self.order.requests[place] for place in self.open)
        return self.order.model_copy(update={"requests": requests})

    def take(self, event: Event) -> Event | None:
        """An event of the call by its place in the whole order; None if it is no news, or asks for another call.

        A picture that was cancelled though nobody here wanted that was stopped with its container.

        Raises:
            EngineError: it belongs to no picture.
        """
        if not 0 <= event.index < len(self._asked):
            raise EngineError(BROKEN)
        place = self._asked[event.index]
        if place not in self.open:
            return None
        if not isinstance(event, Progress):
            if isinstance(event, Failed) and event.code == BrokeOffError.code:
                event = self._broke_a_gpu(place, event)
            passing = isinstance(event, Failed) and event.code == UnreachableError.code
            if passing or (isinstance(event, Cancelled) and not self.stop.is_set()):
                self._put_off.add(place)
                return None
            self.open.remove(place)
            self._breaks = 0
        return event.model_copy(update={"index": place})

    def _broke_a_gpu(self, place: int, failed: Failed) -> Failed:
        """As if none had been there, unless this has happened too often."""
        self._gpu_breaks[place] += 1
        if self._gpu_breaks[place] < GPU_BREAKS:
            return failed.model_copy(update={"code": UnreachableError.code})
        return failed.model_copy(update={"code": TookTooLongError.code, "sentence": _TOO_OFTEN})

    def check(self) -> None:
        """See that the call answered for all of its pictures, if only to put them off.

        Raises:
            UnreachableError: it broke off.
        """
        if not self.stop.is_set() and set(self.open) - self._put_off:
            raise UnreachableError(BROKEN)

    def broke_off(self) -> None:
        """A call that had begun ended before its time.

        Raises:
            TookTooLongError: that has happened too often.
        """
        self._breaks += 1
        if self._breaks == BREAKS:
            raise TookTooLongError(_TOO_OFTEN)

    def all_at(self, stage: Stage) -> Iterator[Progress]:
        """The same progress of everything that is open."""
        return (Progress(index=place, stage=stage) for place in tuple(self.open))
