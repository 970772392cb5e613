"""The one thread in which models load and draw."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from engine.errors import GenerationCancelled, TookTooLongError
from engine.pipelines.base import Drawing, Pipeline
from engine.types import ResolvedRequest

MakePipeline = Callable[[str], Pipeline]
"""Builds the unloaded pipeline of a model by its name; called in the worker's thread."""

Report = Callable[[int, int], None]
"""Steps done and steps in all; called on the event loop."""

CLOSE_SECONDS = 3.0
"""How long `close` waits for a load or a step, which nothing can break off."""


class Worker:
    """Draws batches one after the other, off the event loop, with one model in memory at a time."""

    def __init__(self, make: MakePipeline, *, timeout: float) -> None:
        """`timeout` is in seconds, per batch, loading not counted."""
        self._make = make
        self._timeout = timeout
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="easel-draw")
        self._unfinished: set[Future[list[Drawing]]] = set()
        self._loaded: tuple[str, Pipeline] | None = None

    def has(self, model: str) -> bool:
        """Whether a model is in memory, so that drawing starts at once."""
        return self._loaded is not None and self._loaded[0] == model

    async def draw(self, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event) -> list[Drawing]:
        """Draw a batch of one model.

        Raises:
            GenerationCancelled: `stop` was set, before the start or between two steps.
            EngineError: whatever the pipeline raises, or that it took too long.
        """
        loop = asyncio.get_running_loop()

        def work() -> list[Drawing]:
            if stop.is_set():
                raise GenerationCancelled
            pipeline = self._pipeline(requests[0].model)
            deadline = time.monotonic() + self._timeout

            def on_step(step: int, steps: int) -> None:
                if stop.is_set():
                    raise GenerationCancelled
                if time.monotonic() > deadline:
                    raise TookTooLongError(f"Drawing took longer than {self._timeout:g} seconds and was given up.")
                loop.call_soon_threadsafe(report, step, steps)

            return pipeline.draw(requests, on_step)

        future = self._thread.submit(work)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            stop.set()
            raise

    def _pipeline(self, model: str) -> Pipeline:
        """The model's pipeline, loaded; the one before it is let go first, for two may not fit."""
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None
            pipeline = self._make(model)
            pipeline.load()
            self._loaded = (model, pipeline)
        return self._loaded[1]

    async def close(self) -> None:
        """Wait for the thread to end, but not for long; whoever drew must have been told to stop.

        A thread that is still busy then ends by itself, or with the process.
        """
        self._thread.shutdown(wait=False, cancel_futures=True)
        ends = asyncio.gather(*map(asyncio.wrap_future, tuple(self._unfinished)), return_exceptions=True)
        _, late = await asyncio.wait([ends], timeout=CLOSE_SECONDS)
        if late:
            structlog.get_logger("engine").warning("drawing did not stop in time", seconds=CLOSE_SECONDS)
