"""One denoising loop for all who wait: at every step pictures of the loaded model join, and finished ones leave.

Pictures of equal size take their steps together by one forward pass of the network, each with its own timestep,
prompt, guidance and sampler. How many do is bounded by the settings, by the device's memory, and by what joining was
found to save. Whatever can't be taken step by step (other pipelines, reused features) has the machine to itself in its
turn. There is one thread in which models load and draw, and one model in memory at a time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import structlog

from engine.pipelines.base import Drawing, OnStep, Pipeline, Report
from engine.pipelines.commission import Commission
from engine.pipelines.company import Company
from engine.pipelines.stepping import Stepped
from engine.types import ResolvedRequest, Stage

MakePipeline = Callable[[str], Pipeline]
"""Builds the unloaded pipeline of a model by its name; called in the batcher's thread."""

STUCK_SECONDS = 240.0
"""How long loading a model or taking a step may last before the thread counts as hanging."""
CLOSE_SECONDS = 3.0
"""How long `close` waits for a load or a step, which nothing can break off."""


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """The model in memory."""

    name: str
    pipeline: Pipeline
    company: Company | None
    """None where its pictures can't be drawn step by step."""


class Batcher:
    """Draws what it is asked for off the event loop, by one thread and with one model in memory at a time."""

    at_once = 1

    def __init__(
        self,
        make: MakePipeline,
        *,
        timeout: float,
        previews: bool = True,
        most: int = 4,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing runs yet.

        Args:
            make: builds pipelines.
            timeout: in seconds, per batch, waiting and loading not counted.
            previews: whether anybody looks at them.
            most: pictures on their way at a time; with 1 they are drawn one after the other.
            monotonic: a clock.
        """
        self._make = make
        self._timeout = timeout
        self._previews = previews
        self.together = most
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="easel-draw")
        self._lock = threading.Lock()
        self._unfinished: list[Commission] = []
        self._serving = False
        self._loaded: _Loaded | None = None
        self._moved = monotonic()

    @property
    def stuck(self) -> bool:
        """Whether the thread hangs: nothing can break off what it does, but this machine can be replaced."""
        return self._serving and self._monotonic() - self._moved > STUCK_SECONDS

    def outlook(self, model: str) -> Stage:
        """Whether a model is in memory, so that drawing starts at once."""
        loaded = self._loaded
        return Stage.DRAWING if loaded is not None and loaded.name == model else Stage.WARMING

    async def draw(self, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event) -> list[Drawing]:
        """Draw a batch of one model, in company where others draw by it.

        Raises:
            GenerationCancelled: `stop` was set, before the start or between two steps.
            EngineError: whatever the pipeline raises, or that it took too long.
        """
        commission = Commission(
            requests, report, stop, timeout=self._timeout, previews=self._previews, monotonic=self._monotonic
        )
        with self._lock:
            if not self._serving:
                self._thread.submit(self._serve)
                self._serving, self._moved = True, self._monotonic()
            self._unfinished.append(commission)
        try:
            return await asyncio.wrap_future(commission.outcome)
        except asyncio.CancelledError:
            stop.set()
            raise

    async def close(self) -> None:
        """Wait for the thread to end, but not for long; whoever drew must have been told to stop.

        A thread that is still busy then ends by itself, or with the process.
        """
        self._thread.shutdown(wait=False)
        with self._lock:
            outcomes = [asyncio.wrap_future(commission.outcome) for commission in self._unfinished]
        _, late = await asyncio.wait([asyncio.gather(*outcomes, return_exceptions=True)], timeout=CLOSE_SECONDS)
        if late:
            structlog.get_logger("engine").warning("drawing did not stop in time", seconds=CLOSE_SECONDS)

    # In the thread.

    def _serve(self) -> None:
        while commissions := self._still_unfinished():
            self._moved = self._monotonic()
            try:
                self._go_round(commissions)
            except Exception as error:  # noqa: BLE001  (it crosses to the event loop, and the thread must go on)
                for commission in commissions:
                    commission.fail(error)

    def _go_round(self, commissions: Sequence[Commission]) -> None:
        """Everybody's next step.

        Nobody overtakes one that needs another model or the machine for itself: it comes when the others are done.
        """
        for commission in commissions:
            commission.check()
        waiting = [commission for commission in commissions if commission.waiting]
        if not self._take_steps(waiting, commissions) and waiting:
            self._draw_whole(waiting[0])

    def _take_steps(self, waiting: Sequence[Commission], commissions: Sequence[Commission]) -> bool:
        """A step of the company, once those have joined who can; whether there is any."""
        company = self._loaded.company if self._loaded is not None else None
        if company is None:
            return False
        company.let_go()
        self._let_join(company, waiting)
        if company.empty:
            return False
        company.step()
        for commission in commissions:
            commission.tell()
        company.deliver()
        return True

    def _still_unfinished(self) -> list[Commission]:
        """In the order of asking; without any the thread goes to rest."""
        with self._lock:
            self._unfinished = [commission for commission in self._unfinished if not commission.ended]
            self._serving = bool(self._unfinished)
            return list(self._unfinished)

    def _let_join(self, company: Company, waiting: Sequence[Commission]) -> None:
        """As many pictures as there is room for, of each commission in turn."""
        joining = list(takewhile(self._can_join, waiting))
        while joining and not company.full:
            company.join(min(joining, key=lambda commission: commission.begun))
            joining = [commission for commission in joining if commission.waiting and not commission.alone]

    def _can_join(self, commission: Commission) -> bool:
        """Whether the model in memory is its own and takes it step by step."""
        loaded = self._loaded
        if loaded is None or loaded.name != commission.model or loaded.company is None:
            return False
        return loaded.company.takes(commission)

    def _draw_whole(self, commission: Commission) -> None:
        """Load its model; and draw it, unless it can now join."""
        with commission.answering():
            pipeline = self._load(commission.model)
            if commission.waiting and not self._can_join(commission):
                commission.start()
                commission.finish(pipeline.draw(commission.requests, self._moving(commission.on_step)))

    def _moving(self, on_step: OnStep) -> OnStep:
        """The same, and it is seen that the thread doesn't hang."""

        def moving(*news: Any) -> None:  # noqa: ANN401  (whatever a pipeline tells)
            self._moved = self._monotonic()
            on_step(*news)

        return moving

    def _load(self, model: str) -> Pipeline:
        """The model's pipeline, loaded; the one before it is let go first, for two may not fit."""
        if self._loaded is None or self._loaded.name != model:
            self._loaded = None
            pipeline = self._make(model)
            pipeline.load()
            stepper = pipeline.stepper() if isinstance(pipeline, Stepped) else None
            company = Company(stepper, self.together, monotonic=self._monotonic) if stepper else None
            self._loaded = _Loaded(name=model, pipeline=pipeline, company=company)
        return self._loaded.pipeline
