"""Pixels beside a GPU."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog

from engine import wire
from engine.batcher import Batcher
from engine.cache.volume import Volume
from engine.deployment.answers import answers
from engine.deployment.fault import Fault, reloaded
from engine.errors import BrokeOffError, EngineError, MemoryExhaustedError
from engine.models.registry import ModelSource, resolve
from engine.orders import INTERNAL_FAULT
from engine.pipelines.base import Drawing, Pipeline, Previews, Report
from engine.pipelines.remote import REQUESTS, Step, packed, progress
from engine.pipelines.resident import MakePipeline, ResidentPipeline
from engine.rental import Meter, RentalSettings, gpu_named
from engine.settings import EngineSettings
from engine.types import ResolvedRequest

FRUGAL = "\0frugal"
"""Behind a model's name: the same model with as little as possible on the GPU. It is in memory instead of the other."""
GPU_FAILED = "The GPU failed while the picture was drawn; another one is tried."
LEAST_MEMORY = {"offload": True, "attention_slice": 1}
"""Only the network that works is on the GPU, and attention is computed a head at a time."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("engine.deployment")


class GeneratorService:
    """Draws batches on this machine's GPU, in company where the model can.

    Args:
        settings: of the engine; `device` says where to draw once there is a GPU.
        rental: how GPUs are paid for.
        weights: the volume that the models lie on, if they do.
        retire: asks for another machine in the place of this one, once its calls have ended.
        make: builds pipelines.
        monotonic: a clock.
    """

    def __init__(
        self,
        settings: EngineSettings,
        rental: RentalSettings,
        *,
        weights: Volume | None = None,
        retire: Callable[[], Awaitable[None]] | None = None,
        make: MakePipeline | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._rental = rental
        self._weights = weights
        self._retire = retire or _stay
        self._make = make or _pipeline
        self._monotonic = monotonic
        self._ready: ResidentPipeline | None = None
        self._batcher: Batcher | None = None
        self._moved = False
        self._loading_began = monotonic()
        self._fault = Fault(monotonic)
        self._starting = asyncio.Lock()

    def load(self) -> None:
        """Bring the default model into plain memory; nothing here looks for a GPU, so that a snapshot may follow."""
        here: dict[str, object] = {"device": "cpu", "attention": "auto", "offload": False, "compile": "off"}
        if self._settings.precision == "auto" and self._settings.device == "cuda":
            here["precision"] = "float16"
        self._loading_began = self._monotonic()
        with self._fault.kept():
            source = self._source(self._settings.model)
            resident = ResidentPipeline(self._make(source, self._settings.model_copy(update=here)))
            resident.load()
            self._ready = resident

    def move(self) -> None:
        """Bring the loaded model to the GPU."""
        with self._fault.kept():
            if self._ready is not None and not self._moved:
                self._ready.move(self._settings)
                self._moved = True

    def wake(self) -> None:
        """Be ready to draw, and begin to count what the container costs."""
        if self._ready is None:  # what went wrong before a snapshot may be right by now
            self._fault.forget()
            self.load()
        with self._fault.kept():
            snapshot = self._rental.memory_snapshot or self._rental.gpu_snapshot
            self._meter = Meter(
                gpu_named(_device_name(self._settings), self._rental),
                wait_after=self._rental.scaledown_window,
                since=None if snapshot else self._loading_began,  # of a snapshot that was another container's time
                monotonic=self._monotonic,
            )
            self._batcher = Batcher(
                self._pipeline,
                timeout=self._settings.generation_timeout,
                previews=self._settings.previews,
                most=self._settings.max_batch,
                monotonic=self._monotonic,
            )
        self.move()

    async def draw(self, payload: bytes, call: str) -> AsyncGenerator[bytes, None]:
        """Draw a batch; answers with each step, then with the pictures in the order of the requests."""
        async with aclosing(answers(self._draw(payload), call)) as found:
            async for answer in found:
                yield answer

    async def close(self) -> None:
        """Stop."""
        if self._batcher is not None:
            await self._batcher.close()

    async def _draw(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        requests = wire.understood(REQUESTS, wire.arguments(payload).get("requests"))
        batcher = await self._started()
        news: asyncio.Queue[Step | None] = asyncio.Queue()

        def report(step: int, steps: int, previews: Previews | None = None, /) -> None:
            news.put_nowait(progress(step, steps, previews))

        begun = self._meter.now()
        drawing = asyncio.create_task(self._drawn(batcher, requests, report, stop := threading.Event()))
        drawing.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (step := await news.get()) is not None:
                yield wire.value(step)
            drawings = await drawing
        except RuntimeError as error:
            if not _is_gpu_failure(error):
                raise
            log.exception("the GPU failed")
            await self._retire()
            raise BrokeOffError(GPU_FAILED) from error
        finally:
            stop.set()
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
            if batcher.stuck:  # whoever comes next would wait behind what hangs
                log.error("drawing hangs")
                await self._retire()
        costs = self._meter.read(begun, len(drawings))
        for place, (drawn, cost) in enumerate(zip(drawings, costs, strict=True)):
            yield wire.value(await asyncio.to_thread(packed, replace(drawn, cost=cost), place))

    async def _started(self) -> Batcher:
        """What draws, started once more if that went wrong a while ago: the weights may have come meanwhile.

        Raises:
            EngineError: it doesn't start.
        """
        async with self._starting:
            if self._fault.is_old:
                await asyncio.to_thread(self._start_again)
                if self._fault.is_of_the_machine:
                    await self._retire()
        self._fault.check()
        if self._batcher is None:
            raise EngineError(INTERNAL_FAULT)
        return self._batcher

    def _start_again(self) -> None:
        self._ready, self._moved = None, False
        self.wake()

    async def _drawn(
        self, batcher: Batcher, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event
    ) -> list[Drawing]:
        """Draw, and what doesn't fit the GPU once more with as little on it as possible."""
        try:
            return await batcher.draw(requests, report, stop)
        except MemoryExhaustedError:
            if self._settings.offload:
                raise
        log.warning("out of memory, drawing with as little as possible")
        frugal = [request.model_copy(update={"model": request.model + FRUGAL}) for request in requests]
        return await batcher.draw(frugal, report, stop)

    def _pipeline(self, model: str) -> Pipeline:
        """The one that is ready, or of another model a new one."""
        ready, self._ready = self._ready, None
        if ready is not None and model == self._settings.model:
            return ready
        name = model.removesuffix(FRUGAL)
        least = {} if name == model else LEAST_MEMORY
        return self._make(self._source(name), self._settings.model_copy(update=least))

    def _source(self, name: str) -> ModelSource:
        """Where a model comes from; one that isn't there may have been brought since this machine started."""
        source = resolve(name, self._settings)
        if not source.info.installed and reloaded(self._weights):
            source = resolve(name, self._settings)
        return source


class Nearby:
    """A generator in this process, as `engine.line.Remote`: for running the app's classes where nothing is deployed."""

    def __init__(self, service: GeneratorService) -> None:
        self._service = service

    def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Draw a batch."""
        return self._service.draw(payload, "nearby")

    async def cancel(self, call: str) -> None:
        """Closing the stream has stopped it."""


def _pipeline(source: ModelSource, settings: EngineSettings) -> Pipeline:
    from engine.pipelines.factory import make

    return make(source, settings)


async def _stay() -> None:
    """A machine that nobody replaces."""


def _is_gpu_failure(error: RuntimeError) -> bool:
    """Whether the driver gave up: whatever this process asks of the GPU from now on will fail, too."""
    import torch

    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def _device_name(settings: EngineSettings) -> str:
    """What the driver calls the GPU; `CPU` where drawing happens without one."""
    import torch

    from engine.pipelines.placement import choose_device

    device = choose_device(settings)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
