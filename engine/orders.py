"""An order on its way through the engine: what was decided about each picture, and which have been answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import structlog

from engine.errors import EngineError, GenerationCancelled
from engine.settings import EngineSettings
from engine.types import (
    Cancelled,
    Cost,
    Event,
    Failed,
    ImageRequest,
    ModelInfo,
    Note,
    Order,
    Progress,
    ResolvedRequest,
    Stage,
    Watermark,
)

INTERNAL_FAULT = "The engine hit a fault of its own; the operator's log has the details."

NOT_SHOWN = frozenset(
    {name for name in ResolvedRequest.model_fields if name.startswith("watermark")}
    | {"force", "waived", "spoiler", "private", "image", "strength"}
)
"""Fields of a request that its parameters leave out, or give in another form."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One picture of an order after the prompt's check: what to draw, how to mark it, where it belongs in the cache."""

    index: int
    request: ResolvedRequest
    """As it is drawn: a steered prompt's negative prompt is longer than what the person asked for."""
    model: ModelInfo
    mark: Watermark | None
    scope: str
    generation_key: str
    finished_key: str
    family: str
    notes: tuple[Note, ...] = ()
    previewed: bool = False
    """Whether anything may be seen of it before it is finished."""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[object, ...]:
        """Pictures that agree in this are drawn as one batch."""
        r = self.request
        return r.model, r.width, r.height, r.steps, r.sampler, r.quality, r.start_strength, r.upscale


def effective_mark(request: ImageRequest, settings: EngineSettings) -> Watermark | None:
    """The visible mark of a request: the person's choices over the operator's settings, or none."""
    if not request.watermark:
        return None
    names = ("text", "position", "opacity", "size", "color", "margin")
    asked = {name: getattr(request, f"watermark_{name}") for name in names}
    preset = {name: getattr(settings, f"watermark_{name}") for name in names}
    return Watermark.model_validate({name: preset[name] if asked[name] is None else asked[name] for name in names})


def parameters(plan: Plan) -> dict[str, Any]:
    """What a picture's file and its cache entry say about how it was made."""
    shown = plan.request.model_dump(mode="json", exclude_none=True, exclude=set(NOT_SHOWN))
    start = {"image": plan.request.image.sha256, "strength": plan.request.start_strength} if plan.request.image else {}
    changes = {name: shown.pop(name) for name in ("variations", "upscale")}
    made = {name: value for name, value in changes.items() if value not in ([], 1)}
    mark = {"watermark": plan.mark.text} if plan.mark else {}
    return shown | start | made | {"model_revision": plan.model.revision} | mark


def batches(plans: Sequence[Plan], size: int) -> Iterator[list[Plan]]:
    """Group by shape, at most `size` pictures to draw in a batch, in the order of asking within a shape.

    All who want the same picture are in the same batch, so that it is drawn once.
    """
    by_shape = sorted(plans, key=lambda plan: (repr(plan.shape), plan.index))
    for _, group in groupby(by_shape, key=lambda plan: plan.shape):
        wanted: dict[str, list[Plan]] = {}
        for plan in group:
            wanted.setdefault(plan.generation_key, []).append(plan)
        pictures = list(wanted.values())
        for start in range(0, len(pictures), size):
            yield [plan for same in pictures[start : start + size] for plan in same]


class Run:
    """An order that is being worked on: its events, and whether somebody asked to stop."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.stop = threading.Event()
        self.log = structlog.get_logger("engine").bind(job=order.job)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._open = set(range(len(order.requests)))
        self._claimed: set[str] = set()
        self.started = time.perf_counter()

    def claim(self, key: str) -> bool:
        """Whether a cached picture is still free for this order, which must not give the same one twice."""
        free = key not in self._claimed
        self._claimed.add(key)
        return free

    def emit(self, event: Event) -> None:
        """Send an event up; a picture's first answer is its last word."""
        if event.index not in self._open:
            return
        if not isinstance(event, Progress):
            self._open.discard(event.index)
        self._events.put_nowait(event)

    def report(
        self, plans: Iterable[Plan], stage: Stage, step: int = 0, steps: int = 0, preview: bytes | None = None
    ) -> None:
        """Send the same progress for several pictures."""
        for plan in plans:
            self.emit(Progress(index=plan.index, stage=stage, step=step, steps=steps, preview=preview))

    def finish(self) -> None:
        """No more events follow. A picture that was neither stopped nor answered is a fault, and gets its answer."""
        for index in sorted(self._open):
            if self.stop.is_set():
                self.emit(Cancelled(index=index))
            else:
                self.log.error("picture left without an answer", index=index)
                self.emit(Failed(index=index, code="internal", sentence=INTERNAL_FAULT))
        self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[Event]:
        """Every event, until `finish`."""
        while (event := await self._events.get()) is not None:
            yield event

    @contextmanager
    def answering(self, indices: Sequence[int], cost: Cost | None = None) -> Iterator[None]:
        """Turn whatever goes wrong inside into an answer for these pictures: the engine's one error boundary.

        What was paid for them so far is the first one's.
        """
        try:
            yield
        except GenerationCancelled:
            for index in indices:
                self.emit(Cancelled(index=index))
        except EngineError as error:
            self.log.warning("picture failed", code=error.code, reason=error.sentence, cause=repr(error.__cause__))
            self._fail(indices, error.code, error.sentence, cost)
        except Exception:  # the boundary: the person gets a sentence, the operator the traceback
            self.log.exception("fault in the engine")
            self._fail(indices, "internal", INTERNAL_FAULT, cost)

    def _fail(self, indices: Sequence[int], code: str, sentence: str, cost: Cost | None) -> None:
        for index in indices:
            self.emit(Failed(index=index, code=code, sentence=sentence, cost=cost))
            cost = None
