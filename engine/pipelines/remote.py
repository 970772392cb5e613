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


class Step(Value):
    """The batch has come further."""

    kind: Literal["step"] = "step"
    step: int
    steps: int
    previews: dict[int, bytes] | None = Field(default=None, repr=False)
    """Small PNGs of what the pictures are becoming, by their place in the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Drawn(Value):
    """One picture of the batch, as a PNG of exactly the drawn pixels; they come in the order of the requests."""

    kind: Literal["drawn"] = "drawn"
    data: Annotated[bytes, Field(repr=False)]
    seconds: dict[str, float]
    notes: tuple[Note, ...] = ()
    cost: Cost | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


REQUESTS = TypeAdapter(tuple[ResolvedRequest, ...])
NEWS: TypeAdapter[Step | Drawn] = TypeAdapter(Annotated[Step | Drawn, Field(discriminator="kind")])


def packed(drawing: Drawing) -> Drawn:
    """A drawing for the way back; blocking."""
    return Drawn(data=_png(drawing.image), seconds=drawing.seconds, notes=drawing.notes, cost=drawing.cost)


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
    """Asks GPU containers, one call a batch.

    Args:
        remote: the GPU class.
        timeout: seconds that drawing a batch may take once it has begun.
        startup: seconds that it may take until then: all GPUs may be busy, and a new one has to start.
        warm_for: seconds after its last picture for which a container is still there.
        monotonic: a clock.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        timeout: float,
        startup: float,
        warm_for: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = Line(remote)
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
        if stop.is_set():
            raise GenerationCancelled
        call = self._line.call(wire.call(requests=tuple(requests)))
        try:
            drawn = await self._follow(call, report, stop)
        finally:
            await call.close()
        if len(drawn) != len(requests):
            raise UnreachableError("The GPU service broke off before the picture was finished.")
        return [await asyncio.to_thread(unpacked, one) for one in drawn]

    async def close(self) -> None:
        """Let go of calls that have not begun."""
        await self._line.close()

    async def _follow(self, call: Call, report: Report, stop: threading.Event) -> list[Drawn]:
        drawn: list[Drawn] = []
        began = False
        limit = self._monotonic() + self._startup
        while (answer := await self._next(call, stop, limit, began=began)) is not None:
            self._last_heard = self._monotonic()
            if answer.call is not None:
                began, limit = True, self._monotonic() + self._timeout
            elif answer.value is not None:
                news = wire.understood(NEWS, answer.value)
                if isinstance(news, Drawn):
                    drawn.append(news)
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
