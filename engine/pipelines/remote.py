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
from engine.errors import BrokeOffError, GenerationCancelled, TookTooLongError, UnreachableError
from engine.line import Call, Line, Remote
from engine.pipelines.base import Drawing, Previews, Report
from engine.types import Cost, Note, ResolvedRequest, Stage, Value

POLL_SECONDS = 0.2
"""How often it is asked whether somebody wants to stop: the wish is set from other threads."""
STARTS = 3
"""Calls for a batch whose containers may be lost one after the other: maybe it is the picture that kills them."""
SILENCE = 60.0
"""Seconds without an answer, once there was one, after which a container counts as lost; they say every five that they
go on. Modal gives what a lost one was at work on to the next, without end, but of its answers those that the first has
given are never heard: their numbers are known already. So the call is given up for another one."""
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


class _LostError(Exception):
    """A container has fallen silent."""


class Patience:
    """How long a call is waited for: until it has begun, until it draws, until it is done, and from sign to sign.

    Args:
        monotonic: a clock.
        startup: seconds until a container takes the call, and then until drawing begins: a model may have to be loaded,
            and those before it come first.
        timeout: seconds that drawing may take.
    """

    def __init__(self, monotonic: Callable[[], float], *, startup: float, timeout: float) -> None:
        self._monotonic = monotonic
        self._startup = startup
        self._timeout = timeout
        self._heard: float | None = None
        self._drawing = False
        self._limit = monotonic() + startup

    def answered(self) -> None:
        """There is a sign of life."""
        if self._heard is None:
            self._limit = self._monotonic() + self._startup
        self._heard = self._monotonic()

    def drawing(self) -> None:
        """There is a step."""
        if not self._drawing:
            self._drawing, self._limit = True, self._monotonic() + self._timeout

    def check(self) -> None:
        """See that it isn't spent.

        Raises:
            UnreachableError: no container took the call, or none came to draw it.
            TookTooLongError: drawing passed its time limit.
            _LostError: there is no sign of life any more.
        """
        now = self._monotonic()
        if self._heard is not None and now - self._heard > SILENCE:
            raise _LostError
        if now <= self._limit:
            return
        if self._drawing:
            raise TookTooLongError(f"Drawing took longer than {self._timeout:g} seconds and was given up.")
        raise UnreachableError("No GPU could be had in time; try again later.")


class RemoteRenderer:
    """Asks GPU containers for one picture a call, so that an order spreads over as many of them as there are.

    Containers draw the calls that reach them in company; see `engine.batcher`.

    Args:
        remote: the GPU class.
        at_once: calls at a time, as many as all containers take together; more would wait over there, uncounted.
        timeout: seconds that drawing may take once it has begun.
        startup: seconds until a container takes the call, and then until it draws: all GPUs may be busy.
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
            BrokeOffError: every container that took it was lost.
            TookTooLongError: drawing passed its time limit.
            EngineError: whatever the container answered.
        """
        async with self._turns:
            for _ in range(STARTS):
                drawn = await self._drawn(requests, report, stop)
                if sorted(drawn) == list(range(len(requests))):
                    return [await asyncio.to_thread(unpacked, drawn[place]) for place in range(len(requests))]
        raise BrokeOffError(BROKE_OFF)

    async def _drawn(
        self, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event
    ) -> dict[int, Drawn]:
        """What one call brings: without some of the pictures, if its container was lost."""
        if stop.is_set():
            raise GenerationCancelled
        call = self._line.call(wire.call(requests=tuple(requests)))
        try:
            return await self._follow(call, report, stop)
        except _LostError:
            return {}
        finally:
            await call.close()

    async def close(self) -> None:
        """Let go of calls that have not begun."""
        await self._line.close()

    async def _follow(self, call: Call, report: Report, stop: threading.Event) -> dict[int, Drawn]:
        """The pictures by their places.

        Raises:
            _LostError: there is no sign of life any more.
        """
        drawn: dict[int, Drawn] = {}
        patience = Patience(self._monotonic, startup=self._startup, timeout=self._timeout)
        while (answer := await self._next(call, stop, patience)) is not None:
            self._last_heard = self._monotonic()
            patience.answered()
            if answer.value is not None:
                news = wire.understood(NEWS, answer.value)
                if isinstance(news, Drawn):
                    drawn[news.place] = news
                else:
                    patience.drawing()
                    report(news.step, news.steps, _previews(news))
        return drawn

    async def _next(self, call: Call, stop: threading.Event, patience: Patience) -> wire.Answer | None:
        answer = asyncio.ensure_future(call.next())
        try:
            while True:
                done, _ = await asyncio.wait({answer}, timeout=POLL_SECONDS)
                if done:
                    return answer.result()
                if stop.is_set():
                    raise GenerationCancelled
                patience.check()
        finally:
            answer.cancel()
