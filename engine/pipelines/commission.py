"""A batch that somebody awaits: how far its pictures have come, when it must stop, and what became of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.errors import GenerationCancelled, TookTooLongError
from engine.pipelines.base import Drawing, Look, OnStep, Report
from engine.pipelines.pace import Pace
from engine.types import ResolvedRequest

if TYPE_CHECKING:
    from PIL.Image import Image


class Commission:
    """Made on the event loop that its report is called on; all else is for the thread that draws."""

    def __init__(
        self,
        requests: Sequence[ResolvedRequest],
        report: Report,
        stop: threading.Event,
        *,
        timeout: float,
        previews: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` is in seconds from its first step on; `previews`: whether anybody looks at them."""
        self.requests = requests
        self.begun = 0
        """Pictures that are on their way or finished."""
        self.alone = False
        """It didn't fit the device step by step, and is to be drawn as a whole."""
        self.outcome: Future[list[Drawing]] = Future()
        self.outcome.set_running_or_notify_cancel()  # so that nobody else ends it
        self._loop = asyncio.get_running_loop()
        self._report = report
        self._stop = stop
        self._timeout = timeout
        self._previews = previews
        self._monotonic = monotonic
        self._deadline = float("inf")
        self._pace: Pace | None = None
        self._drawings: dict[int, Drawing] = {}
        self._taken: dict[int, int] = {}
        self._steps = 0
        self._told = 0
        self._looks: dict[int, Image] = {}

    @property
    def model(self) -> str:
        """The one model of all its requests."""
        return self.requests[0].model

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.outcome.done()

    @property
    def waiting(self) -> bool:
        """Whether any of its pictures has yet to be begun."""
        return not self.ended and self.begun < len(self.requests)

    def next_place(self) -> int:
        """The next picture to be begun, by its place among the requests."""
        self.begun += 1
        return self.begun - 1

    def start(self) -> None:
        """Its first step is about to be taken; from now on it has its time."""
        if self._pace is None:
            self._deadline = self._monotonic() + self._timeout
            self._pace = Pace(wanted=self._previews, monotonic=self._monotonic)

    def start_over_alone(self) -> None:
        """Forget what was drawn; it will be drawn as a whole."""
        self.alone = True
        self.begun = 0
        self._drawings.clear()
        self._taken.clear()

    def check(self) -> None:
        """End it where somebody stopped it, or its time is over."""
        if not self.ended:
            with self.answering():
                self._raise_if_over()

    def on_step(self, step: int, steps: int, look: Look | None = None, /) -> None:
        """Report a step of all its pictures at once.

        Raises:
            GenerationCancelled: somebody stopped it.
            TookTooLongError: its time is over.
        """
        self._raise_if_over()
        previews = None if self._pace is None else self._pace(look)
        self._loop.call_soon_threadsafe(self._report, step, steps, previews)

    def on_step_of(self, place: int) -> OnStep:
        """Notes the steps of one picture, for `tell`; errors as of `on_step`."""

        def note(step: int, steps: int, look: Look | None = None, /) -> None:
            self._raise_if_over()
            self._taken[place], self._steps = step, steps
            if look is not None and self._pace is not None and self._pace.due():
                self._looks[place] = look()[0]

        return note

    def tell(self) -> None:
        """Report what was noted since the last time: the mean of all pictures' steps."""
        step = sum(self._taken.values()) // len(self.requests)
        if self.ended or self._pace is None or (step <= self._told and not self._looks):
            return
        self._told = max(step, self._told)
        looks, self._looks = self._looks, {}
        if looks:
            self._pace.put_off()
        with self.answering():
            self._loop.call_soon_threadsafe(self._report, self._told, self._steps, looks or None)

    def deliver(self, place: int, drawing: Drawing) -> None:
        """One of its pictures is finished."""
        self._drawings[place] = drawing
        if len(self._drawings) == len(self.requests):
            self.finish([self._drawings[i] for i in range(len(self.requests))])

    def finish(self, drawings: list[Drawing]) -> None:
        """All of its pictures are finished."""
        self.outcome.set_result(drawings)

    def fail(self, error: Exception) -> None:
        """Something went wrong; who has ended before has his answer."""
        if not self.ended:
            self.outcome.set_exception(error)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Whatever goes wrong inside ends this commission and no other."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  (it crosses to the event loop, whose boundary logs it)
            self.fail(error)

    def _raise_if_over(self) -> None:
        if self._stop.is_set():
            raise GenerationCancelled
        if self._monotonic() > self._deadline:
            raise TookTooLongError(f"Drawing took longer than {self._timeout:g} seconds and was given up.")
