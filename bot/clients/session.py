"""An order that is tried until each of its pictures has ended, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from engine.errors import EngineError, UnreachableError
from engine.types import Cancelled, Event, Failed, Order, Progress, Stage

BROKEN = "The GPU service broke off before the picture was finished."


class Session:
    """An order until each of its pictures has ended."""

    def __init__(self, order: Order, deadline: float) -> None:
        self.order = order
        self.deadline = deadline
        self.open = list(range(len(order.requests)))
        """Places of the pictures that have not ended."""
        self.stop = asyncio.Event()

    def rest(self) -> Order:
        """The order of what is still open."""
        requests = tuple(self.order.requests[place] for place in self.open)
        return self.order.model_copy(update={"requests": requests})

    def take(self, asked: Sequence[int], event: Event) -> Event | None:
        """An event of an attempt by its place in the whole order; None if it is no news, or asks for another attempt.

        A picture that was cancelled though nobody here wanted that was stopped with its container.
        """
        if not 0 <= event.index < len(asked):
            raise EngineError(BROKEN)
        place = asked[event.index]
        passing = isinstance(event, Failed) and event.code == UnreachableError.code
        if place not in self.open or passing or (isinstance(event, Cancelled) and not self.stop.is_set()):
            return None
        if not isinstance(event, Progress):
            self.open.remove(place)
        return event.model_copy(update={"index": place})

    def all_at(self, stage: Stage) -> Iterator[Progress]:
        """The same progress of everything that is open."""
        return (Progress(index=place, stage=stage) for place in tuple(self.open))
