"""Both services of the Modal app, as the app connects them, with a scripted pipeline where the GPU would be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine import wire
from engine.cache.volume import Volume
from engine.deployment.engine import EngineService
from engine.deployment.generator import GeneratorService, Nearby
from engine.errors import UnreachableError
from engine.rental import RentalSettings
from engine.settings import EngineSettings
from engine.types import Event, Image, Order
from tests.engine.scripted_pipeline import ScriptedPipeline

RENTAL = RentalSettings(gpus=("A10",), prices={"A10": 3600.0}, scaledown_window=10)


class Counted(Nearby):
    """A generator whose calls are counted, which can be away, and which remembers what was cancelled."""

    def __init__(self, service: GeneratorService) -> None:
        super().__init__(service)
        self.calls = 0
        self.away = False
        self.cancelled: list[str] = []
        self.full: asyncio.Event | None = None
        """Set, if there is one, once as many have called as are wanted; until it is let go, they wait."""
        self.wanted = 0
        self.let_go = asyncio.Event()

    async def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        self.calls += 1
        if self.away:
            raise UnreachableError("No GPU.")
        if self.full is not None:
            if self.calls == self.wanted:
                self.full.set()
            await self.let_go.wait()
        async for answer in super().stream(payload):
            yield answer

    async def cancel(self, call: str) -> None:
        self.cancelled.append(call)


class Disk(Volume):
    """A volume that is this machine's disk."""

    def __init__(self) -> None:
        self.commits = 0
        self.reloads = 0

    def commit(self) -> None:
        self.commits += 1

    def reload(self) -> None:
        self.reloads += 1


class Deployment:
    """Both services, as the app connects them."""

    def __init__(self, home: Path, pipeline: ScriptedPipeline, **settings: Any) -> None:
        self.settings = EngineSettings(home=home, **settings)
        self.pipeline = pipeline
        self.volume = Disk()
        self.generator = GeneratorService(self.settings, RENTAL, make=pipeline)
        self.generator.load()
        self.generator.wake()
        self.counted = Counted(self.generator)
        self.engine = self.another(home / "index")

    def another(self, index: Path) -> EngineService:
        return EngineService(self.settings, RENTAL, generator=self.counted, volume=self.volume, index_folder=index)

    async def draw(self, wanted: Order) -> list[Event]:
        return [event async for event in self.stream(wanted)]

    async def stream(self, wanted: Order) -> AsyncGenerator[Event, None]:
        async for payload in self.engine.generate(wire.call(order=wanted), "fc-1"):
            answer = wire.read(payload)
            if answer.value is not None:
                yield wire.understood(wire.EVENT, answer.value)

    async def picture(self, wanted: Order) -> Image:
        found = (await self.draw(wanted))[-1]
        assert isinstance(found, Image)
        return found

    async def ask(self, question: str, **arguments: wire.Argument) -> Any:
        answer = wire.read(await self.engine.answer(question, wire.call(**arguments)))
        return wire.understood(wire.VALUES[question], answer.value)


@asynccontextmanager
async def deployed(home: Path, pipeline: ScriptedPipeline, **settings: Any) -> AsyncIterator[Deployment]:
    deployment = Deployment(home, pipeline, **settings)
    await deployment.engine.open()
    try:
        yield deployment
    finally:
        pipeline.gate.set()
        await deployment.engine.close()
        await deployment.generator.close()


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time
