"""A batcher of the bundled model, watched: who takes which step with whom."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from engine.batcher import Batcher
from engine.models.registry import resolve
from engine.pipelines.base import Drawing, OnStep, Previews
from engine.pipelines.native import NativePipeline
from engine.pipelines.stepping import Stepper, Way
from engine.settings import EngineSettings
from engine.types import ResolvedRequest
from tests.engine.pipelines.conftest import ignore_steps


class Watched:
    """The bundled model's pipeline and its stepper, noting what happens and letting a test act at every pass."""

    def __init__(self, native: NativePipeline, name: str = "emoji") -> None:
        self.native = native
        self.name = name
        self.passes: list[list[int]] = []
        """Seeds of the pictures in each forward pass."""
        self.begun: list[int] = []
        self.whole: list[list[int]] = []
        self.at: defaultdict[int, list[Callable[[], object]]] = defaultdict(list)
        """What to do before a pass, by its number from 0."""
        self.fault_of: int | None = None

    def load(self) -> None:
        """It is."""

    def move(self, settings: EngineSettings) -> None:
        """It stays."""

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        self.whole.append([each.seed for each in requests])
        return self.native.draw(requests, on_step)

    def stepper(self) -> Stepper | None:
        stepper = self.native.stepper()
        assert stepper is not None
        self._stepper = stepper
        return self

    def takes(self, request: ResolvedRequest) -> bool:
        return self._stepper.takes(request)

    def begin(self, request: ResolvedRequest, on_step: OnStep) -> Way:
        self.begun.append(request.seed)
        return self._stepper.begin(request, on_step)

    def answer(self, ways: Sequence[Way]) -> list[Tensor]:
        for act in self.at[len(self.passes)]:
            act()
        self.passes.append([way.painting.requests[0].seed for way in ways])
        return self._stepper.answer(ways)

    def resume(self, way: Way, answer: Tensor) -> None:
        if way.painting.requests[0].seed == self.fault_of:
            raise RuntimeError("a fault")
        self._stepper.resume(way, answer)

    def finish(self, way: Way) -> Drawing:
        return self._stepper.finish(way)


class Asker:
    """Asks a batcher from the event loop, also on behalf of the thread that draws."""

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self.loop = asyncio.get_running_loop()
        self.tasks: list[asyncio.Task[list[Drawing]]] = []
        self.stops: list[threading.Event] = []
        self.reports: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.previews: defaultdict[int, list[Previews]] = defaultdict(list)

    def ask(self, *requests: ResolvedRequest) -> asyncio.Task[list[Drawing]]:
        """A batch, from the event loop."""
        number = len(self.tasks)
        stop = threading.Event()

        def report(step: int, steps: int, previews: Previews | None = None, /) -> None:
            self.reports[number].append((step, steps))
            if previews:
                self.previews[number].append(previews)

        self.stops.append(stop)
        self.tasks.append(asyncio.create_task(self.batcher.draw(requests, report, stop)))
        return self.tasks[-1]

    def later(self, *requests: ResolvedRequest) -> Callable[[], object]:
        """A batch, when the thread that draws calls this; it waits until the batch is in line."""

        async def asked() -> None:
            self.ask(*requests)
            await asyncio.sleep(0)

        return lambda: asyncio.run_coroutine_threadsafe(asked(), self.loop).result(30)

    async def pictures(self, number: int) -> list[Image.Image]:
        async with asyncio.timeout(60):
            return [drawing.image for drawing in await self.tasks[number]]

    async def everything(self) -> list[list[Drawing] | BaseException]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*self.tasks, return_exceptions=True)


def bundled(home: Path) -> NativePipeline:
    settings = EngineSettings(home=home, device="cpu", threads=1, compile="off")
    pipeline = NativePipeline(resolve("emoji", settings), settings)
    pipeline.load()
    return pipeline


def still() -> float:
    """A clock that stands, so that company always pays and nobody wants a preview."""
    return 0.0


@asynccontextmanager
async def asking(*pipelines: Watched, **options: Any) -> AsyncIterator[Asker]:
    """A batcher of these pipelines."""
    by_name = {pipeline.name: pipeline for pipeline in pipelines}
    values: dict[str, Any] = {"timeout": 60.0, "monotonic": still} | options
    asker = Asker(Batcher(by_name.__getitem__, **values))
    try:
        yield asker
    finally:
        for stop in asker.stops:
            stop.set()
        await asker.batcher.close()


def alone(native: NativePipeline, wanted: ResolvedRequest) -> Image.Image:
    (drawing,) = native.draw([wanted], ignore_steps)
    return drawing.image


class Hungry:
    """Fails like a full device whenever more than `rows` rows go through at once, or heads aren't sliced."""

    def __init__(self, native: NativePipeline, rows: int, *, needs_slices: bool = False) -> None:
        unet = native._parts.unet
        self._rows, self._needs_slices = rows, needs_slices
        self._layer: Any = next(module for module in unet.modules() if hasattr(module, "to_q"))
        self.handle = unet.conv_in.register_forward_pre_hook(self._check)

    def _check(self, _: object, arguments: tuple[Any, ...]) -> None:
        unsliced = self._layer.attention.slice_size is None
        if len(arguments[0]) > self._rows or (self._needs_slices and unsliced):
            raise torch.OutOfMemoryError("CUDA out of memory.")
