"""Pictures drawn by GPU containers elsewhere: what is said to them, and the renderer that asks them.

Only this process's own event loop works here, so that one small machine asks many GPUs at once.
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from PIL import Image as Pillow
from PIL.Image import Image as Bitmap
from pydantic import ConfigDict, Field, TypeAdapter

from engine import wire
from engine.errors import GenerationCancelled, TookTooLongError, UnreachableError
from engine.line import Call, Line, Remote
from engine.pipelines.base import Drawing, Previews, Report
from engine.types import Cost, Note, ResolvedRequest, Stage, Value

POLL_SECONDS = 0.2
"""How often it is asked whether somebody wants to stop: the wish is set from other threads."""
STARTS = 3
"""Containers that a call may begin in. Modal gives what a lost one was drawing to the next, without end, and maybe
it is the picture that kills them."""
BROKE_OFF = "The GPU service broke off before the picture was finished."


class Step(Value):
    """The batch has come further."""

    kind: Literal["step"] = "step"
    step: int
    steps: int
    previews: dict[int, bytes] | None = Field(default=None, repr=False)
    """Small PNGs of what the pictures are becoming, by their place in the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Drawn(Value):
    """One picture of the batch, as a PNG of exactly the drawn pixels."""

    kind: Literal["drawn"] = "drawn"
    place: int
    """Of its request in the batch: a container that is lost begins its answers anew in the next one."""
    data: Annotated[bytes, Field(repr=False)]
    seconds: dict[str, float]
    notes: tuple[Note, ...] = ()
    cost: Cost | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


REQUESTS = TypeAdapter(tuple[ResolvedRequest, ...])
NEWS: TypeAdapter[Step | Drawn] = TypeAdapter(Annotated[Step | Drawn, Field(discriminator="kind")])


def packed(drawing: Drawing, place: int) -> Drawn:
    """A drawing for the way back; blocking."""
    return Drawn(place=place, data=_png(drawing.image), seconds=drawing.seconds, notes=drawing.notes, cost=drawing.cost)


def unpacked(drawn: Drawn) -> Drawing:
    """A drawing that has come back; blocking."""
    return Drawing(image=_bitmap(drawn.data), seconds=drawn.seconds, notes=drawn.notes, cost=drawn.cost)


def progress(step: int, steps: int, previews: Previews | None = None) -> Step:
    """How far a batch has come, for the way back."""
    shown = None if previews is None else {place: _png(image) for place, image in previews.items()}
    return Step(step=step, steps=steps, previews=shown)


def _previews(step: Step) -> Previews | None:
    return None if step.previews is None else {place: _bitmap(data) for place, data in step.previews.items()}


def _png(image: Bitmap) -> bytes:
    """The fastest of PNG's compressions halves what the way costs."""
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return file.getvalue()


def _bitmap(data: bytes) -> Bitmap:
    with Pillow.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


class RemoteRenderer:
    """Asks GPU containers for one picture a call, so that an order spreads over as many of them as there are.

    Containers draw the calls that reach them in company; see `engine.batcher`.

    Args:
        remote: the GPU class.
        at_once: calls at a time, as many as all containers take together; more would wait over there, uncounted.
        timeout: seconds that drawing may take once it has begun.
        startup: seconds that it may take until then: all GPUs may be busy, and a new one has to start.
        warm_for: seconds after its last picture for which a container is still there.
        monotonic: a clock.
    """

    together = 1

    def __init__(
        self,
        remote: Remote,
        *,
        at_once: int,
        timeout: float,
        startup: float,
        warm_for: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_once = at_once
        self._line = Line(remote)
        self._turns = asyncio.Semaphore(at_once)
        self._timeout = timeout
        self._startup = startup
        self._warm_for = warm_for
        self._monotonic = monotonic
        self._last_heard: float | None = None

    def outlook(self, model: str) -> Stage:  # noqa: ARG002  (every container has every model)
        """Whether a container is likely to be there, or has to be started."""
        heard = self._last_heard
        return Stage.WAKING if heard is None or self._monotonic() - heard > self._warm_for else Stage.DRAWING

    async def draw(self, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event) -> list[Drawing]:
        """Have a batch of one model drawn.

        Raises:
            GenerationCancelled: `stop` was set; the container has been told.
            UnreachableError: no container took the batch in time, or the line broke.
            TookTooLongError: drawing passed its time limit.
            EngineError: whatever the container answered.
        """
        async with self._turns:
            if stop.is_set():
                raise GenerationCancelled
            call = self._line.call(wire.call(requests=tuple(requests)))
            try:
                drawn = await self._follow(call, report, stop)
            finally:
                await call.close()
        if sorted(drawn) != list(range(len(requests))):
            raise UnreachableError(BROKE_OFF)
        return [await asyncio.to_thread(unpacked, drawn[place]) for place in range(len(requests))]

    async def close(self) -> None:
        """Let go of calls that have not begun."""
        await self._line.close()

    async def _follow(self, call: Call, report: Report, stop: threading.Event) -> dict[int, Drawn]:
        """The pictures by their places."""
        drawn: dict[int, Drawn] = {}
        starts = 0
        limit = self._monotonic() + self._startup
        while (answer := await self._next(call, stop, limit, began=starts > 0)) is not None:
            self._last_heard = self._monotonic()
            if answer.call is not None:
                starts, limit = starts + 1, self._monotonic() + self._timeout
                if starts > STARTS:
                    raise UnreachableError(BROKE_OFF)
            elif answer.value is not None:
                news = wire.understood(NEWS, answer.value)
                if isinstance(news, Drawn):
                    drawn[news.place] = news
                else:
                    report(news.step, news.steps, _previews(news))
        return drawn

    async def _next(self, call: Call, stop: threading.Event, limit: float, *, began: bool) -> wire.Answer | None:
        answer = asyncio.ensure_future(call.next())
        try:
            while True:
                done, _ = await asyncio.wait({answer}, timeout=POLL_SECONDS)
                if done:
                    return answer.result()
                if stop.is_set():
                    raise GenerationCancelled
                if self._monotonic() <= limit:
                    continue
                if began:
                    raise TookTooLongError(f"Drawing took longer than {self._timeout:g} seconds and was given up.")
                raise UnreachableError("No GPU could be had in time; try again later.")
        finally:
            answer.cancel()
