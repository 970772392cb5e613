"""What the two classes of the Modal app do, without Modal: pixels beside a GPU, and everything else without one.

`GeneratorService` draws batches. `EngineService` checks, looks up, marks and stores, and asks a generator only for what
the cache doesn't hold. Both answer in the language of `engine.wire` and don't raise: an error that ended a container
would be met by the next one, and that without end.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from engine import marks, wire
from engine.batcher import Batcher
from engine.cache import Cache
from engine.cache.volume import Volume, VolumeFiles
from engine.engine import Engine
from engine.errors import EngineError, MemoryExhaustedError
from engine.line import Remote
from engine.models import fetch as models
from engine.models.registry import DETOXIFY_NAME, ModelSource, resolve
from engine.orders import INTERNAL_FAULT
from engine.pipelines.base import Drawing, Pipeline, Previews, Report
from engine.pipelines.remote import REQUESTS, RemoteRenderer, Step, packed, progress
from engine.pipelines.resident import MakePipeline, ResidentPipeline
from engine.rental import Meter, RentalSettings, gpu_named
from engine.settings import EngineSettings
from engine.types import Progress, ResolvedRequest

ALIVE_SECONDS = 5.0
"""How often a call that has nothing to tell says that it goes on."""

FRUGAL = "\0frugal"
"""Behind a model's name: the same model with as little as possible on the GPU. It is in memory instead of the other."""
LEAST_MEMORY = {"offload": True, "attention_slice": 1}
"""Only the network that works is on the GPU, and attention is computed a head at a time."""
CHECKPOINT = ".ckpt"
CONVERTED = "converted"

log: structlog.stdlib.BoundLogger = structlog.get_logger("engine.deployment")


class Fault:
    """What kept a service from starting, if anything did: every call is answered by it."""

    def __init__(self) -> None:
        self._error: EngineError | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what goes wrong inside."""
        try:
            yield
        except EngineError as error:
            log.error("service not ready", code=error.code, reason=error.sentence)  # noqa: TRY400  (it says everything)
            self._error = error
        except Exception:  # the boundary: a container that doesn't start is started again, for ever and for money
            log.exception("service not ready")
            self._error = EngineError(INTERNAL_FAULT)

    def check(self) -> None:
        """Raise what was kept."""
        if self._error is not None:
            raise self._error


class GeneratorService:
    """Draws batches on this machine's GPU, in company where the model can.

    Args:
        settings: of the engine; `device` says where to draw once there is a GPU.
        rental: how GPUs are paid for.
        make: builds pipelines.
        monotonic: a clock.
    """

    def __init__(
        self,
        settings: EngineSettings,
        rental: RentalSettings,
        *,
        make: MakePipeline | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._rental = rental
        self._make = make or _pipeline
        self._monotonic = monotonic
        self._ready: ResidentPipeline | None = None
        self._moved = False
        self._fault = Fault()

    def load(self) -> None:
        """Bring the default model into plain memory; nothing here looks for a GPU, so that a snapshot may follow."""
        here: dict[str, object] = {"device": "cpu", "attention": "auto", "offload": False, "compile": "off"}
        if self._settings.precision == "auto" and self._settings.device == "cuda":
            here["precision"] = "float16"
        with self._fault.kept():
            source = resolve(self._settings.model, self._settings)
            self._ready = ResidentPipeline(self._make(source, self._settings.model_copy(update=here)))
            self._ready.load()

    def move(self) -> None:
        """Bring the loaded model to the GPU."""
        with self._fault.kept():
            if self._ready is not None and not self._moved:
                self._ready.move(self._settings)
                self._moved = True

    def wake(self) -> None:
        """Be ready to draw, and begin to count what the container costs."""
        with self._fault.kept():
            self._meter = Meter(
                gpu_named(_device_name(self._settings), self._rental),
                wait_after=self._rental.scaledown_window,
                monotonic=self._monotonic,
            )
            self._batcher = Batcher(
                self._pipeline,
                timeout=self._settings.generation_timeout,
                previews=self._settings.previews,
                most=self._settings.max_batch,
            )
        self.move()

    async def draw(self, payload: bytes, call: str) -> AsyncGenerator[bytes, None]:
        """Draw a batch; answers with each step, then with the pictures in the order of the requests."""
        async with aclosing(_answers(self._draw(payload), call)) as answers:
            async for answer in answers:
                yield answer

    async def close(self) -> None:
        """Stop."""
        await self._batcher.close()

    async def _draw(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        requests = wire.understood(REQUESTS, wire.arguments(payload).get("requests"))
        self._fault.check()
        news: asyncio.Queue[Step | None] = asyncio.Queue()

        def report(step: int, steps: int, previews: Previews | None = None, /) -> None:
            news.put_nowait(progress(step, steps, previews))

        begun = self._meter.now()
        drawing = asyncio.create_task(self._drawn(requests, report, stop := threading.Event()))
        drawing.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (step := await news.get()) is not None:
                yield wire.value(step)
            drawings = await drawing
        finally:
            stop.set()
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
        for drawn, cost in zip(drawings, self._meter.read(begun, len(drawings)), strict=True):
            yield wire.value(await asyncio.to_thread(packed, replace(drawn, cost=cost)))

    async def _drawn(self, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event) -> list[Drawing]:
        """Draw, and what doesn't fit the GPU once more with as little on it as possible."""
        try:
            return await self._batcher.draw(requests, report, stop)
        except MemoryExhaustedError:
            if self._settings.offload:
                raise
        log.warning("out of memory, drawing with as little as possible")
        frugal = [request.model_copy(update={"model": request.model + FRUGAL}) for request in requests]
        return await self._batcher.draw(frugal, report, stop)

    def _pipeline(self, model: str) -> Pipeline:
        """The one that is ready, or of another model a new one."""
        ready, self._ready = self._ready, None
        if ready is not None and model == self._settings.model:
            return ready
        name = model.removesuffix(FRUGAL)
        least = {} if name == model else LEAST_MEMORY
        return self._make(resolve(name, self._settings), self._settings.model_copy(update=least))


class EngineService:
    """The engine, with its cache on a volume and its pixels from elsewhere.

    Args:
        settings: of the engine.
        rental: how long containers take and stay.
        generator: the GPU class.
        volume: that the cache's folder lies on.
        index_folder: on this machine's own disk; the index is made anew from the volume's files.
    """

    def __init__(
        self, settings: EngineSettings, rental: RentalSettings, *, generator: Remote, volume: Volume, index_folder: Path
    ) -> None:
        self._settings = settings
        self._index_folder = index_folder
        self._files = VolumeFiles(settings.cache_folder, volume)
        self._engine = Engine(
            settings,
            renderer=RemoteRenderer(
                generator,
                timeout=settings.generation_timeout,
                startup=rental.startup_timeout + settings.generation_timeout,  # all GPUs may be busy with a batch
                warm_for=rental.scaledown_window,
            ),
            cache=Cache(
                settings.cache_folder, max_bytes=settings.cache_bytes, files=self._files, index_folder=index_folder
            ),
        )
        self._fault = Fault()

    async def open(self) -> None:
        """Read the cache, and see that every check that is switched on can be made."""
        with self._fault.kept():
            await asyncio.to_thread(self._make_room)
            await self._engine.start()

    async def close(self) -> None:
        """Stop what runs, and commit what was stored."""
        await self._engine.close()
        await asyncio.to_thread(self._files.close)

    async def generate(self, payload: bytes, call: str) -> AsyncGenerator[bytes, None]:
        """Draw the order that a call brings; answers with its events."""
        async with aclosing(_answers(self._generate(payload), call)) as answers:
            async for answer in answers:
                yield answer

    async def generate_batch(self, payload: bytes) -> list[bytes]:
        """Draw an order and answer once, with how each of its pictures ended."""
        endings: list[bytes] = []
        try:
            self._fault.check()
            order = wire.understood(wire.ORDER, wire.arguments(payload).get("order"))
            events = self._engine.generate(order)
            endings += [wire.value(event) async for event in events if not isinstance(event, Progress)]
        except EngineError as error:
            endings.append(wire.fault(error))
        return endings

    async def answer(self, question: str, payload: bytes) -> bytes:
        """Answer one of the questions of `wire.VALUES`, which are the engine's methods of the same names."""
        try:
            arguments = wire.arguments(payload)
            self._fault.check()
            if "data" in arguments:
                arguments["data"] = base64.urlsafe_b64decode(arguments["data"])
            return wire.value(await getattr(self._engine, question)(**arguments))
        except EngineError as error:
            return wire.fault(error)

    def _make_room(self) -> None:
        """The index is on this machine; the certificate that signs pictures has to outlive it, on the volume."""
        self._index_folder.mkdir(parents=True, exist_ok=True)
        kept, wanted = self._settings.cache_folder / marks.FOLDER, self._settings.home / marks.FOLDER
        kept.mkdir(parents=True, exist_ok=True)
        if not wanted.exists():
            wanted.symlink_to(kept, target_is_directory=True)

    async def _generate(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        order = wire.understood(wire.ORDER, wire.arguments(payload).get("order"))
        self._fault.check()
        async with aclosing(self._engine.generate(order)) as events:
            async for event in events:
                yield wire.value(event)


async def _answers(stream: AsyncGenerator[bytes, None], call: str) -> AsyncGenerator[bytes, None]:
    """A stream with the call's name before it, signs of life in its pauses, and its error at its end."""
    yield wire.called(call)
    try:
        async with aclosing(_kept_alive(stream)) as answers:
            async for answer in answers:
                yield answer
    except EngineError as error:
        yield wire.fault(error)
    except Exception:  # the boundary: the caller gets a sentence, the operator the traceback
        log.exception("fault in a call")
        yield wire.fault(EngineError(INTERNAL_FAULT))


async def _kept_alive(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async def following() -> bytes | None:
        return await anext(stream, None)

    coming = asyncio.create_task(following())
    try:
        while True:
            await asyncio.wait({coming}, timeout=ALIVE_SECONDS)
            if not coming.done():
                yield wire.alive()
                continue
            answer = await coming
            if answer is None:
                return
            coming = asyncio.create_task(following())
            yield answer
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await stream.aclose()


def _pipeline(source: ModelSource, settings: EngineSettings) -> Pipeline:
    from engine.pipelines.factory import make

    return make(source, settings)


def _device_name(settings: EngineSettings) -> str:
    """What the driver calls the GPU; `CPU` where drawing happens without one."""
    import torch

    from engine.pipelines.placement import choose_device

    device = choose_device(settings)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


class Nearby:
    """A generator in this process, as `engine.line.Remote`: for running the app's classes where nothing is deployed."""

    def __init__(self, service: GeneratorService) -> None:
        self._service = service

    def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Draw a batch."""
        return self._service.draw(payload, "nearby")

    async def cancel(self, call: str) -> None:
        """Closing the stream has stopped it."""


def download(name: str, settings: EngineSettings, report: models.Report) -> Path:
    """Fetch a model at its pinned revision, verified, and turn what is not in safetensors into it; returns its path.

    Raises:
        EngineError: the name is unknown, the download failed, or the disk is full.
    """
    folder = models.fetch(name, settings, report)
    if name == DETOXIFY_NAME:
        return folder
    path = resolve(name, settings).path
    if path.suffix != CHECKPOINT:
        return path
    from engine.pipelines.conversion import as_safetensors

    return as_safetensors(path, settings.models_folder / CONVERTED)
