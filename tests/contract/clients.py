"""Both ways to reach an engine, over the same scripted pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.clients.base import EngineClient
from bot.clients.deployed import DeployedEngine
from bot.clients.modal import Deployed
from engine.deployment.engine import EngineService
from engine.deployment.generator import GeneratorService, Nearby
from engine.engine import Engine
from engine.rental import RentalSettings
from engine.settings import EngineSettings
from tests.engine.scripted_pipeline import ScriptedPipeline

RENTAL = RentalSettings()


@asynccontextmanager
async def local(settings: EngineSettings, pipeline: ScriptedPipeline) -> AsyncIterator[EngineClient]:
    """The engine in this process."""
    engine = Engine(settings, make_pipeline=pipeline)
    try:
        yield engine
    finally:
        pipeline.gate.set()
        await engine.close()


class Disk:
    """A volume that is this machine's disk."""

    def commit(self) -> None:
        """It is written."""

    def reload(self) -> None:
        """It is here."""


@dataclass
class Containers:
    """What Modal puts between: methods by name, calls as tasks that can be cancelled by their id."""

    service: EngineService

    def __post_init__(self) -> None:
        self.calls: dict[str, asyncio.Task[None]] = {}

    def __getattr__(self, question: str) -> Any:
        if question.startswith("_"):
            raise AttributeError(question)
        return Asked(self, question)

    async def cancel(self, call: str) -> None:
        """Cancel the task in which the call runs."""
        self.calls[call].cancel()

    async def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Run the generator method in a task, as a container does, and hand its answers over."""
        call = f"fc-{len(self.calls)}"
        answers: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def run() -> None:
            try:
                async for answer in self.service.generate(payload, call):
                    answers.put_nowait(answer)
            finally:
                answers.put_nowait(None)

        self.calls[call] = asyncio.create_task(run())
        while (answer := await answers.get()) is not None:
            yield answer


@dataclass
class Asked:
    """A method of a container."""

    containers: Containers
    question: str

    @property
    def remote(self) -> Asked:
        """For one answer."""
        return self

    async def aio(self, payload: bytes) -> bytes:
        """Ask."""
        return await self.containers.service.answer(self.question, payload)

    @property
    def remote_gen(self) -> Streamed:
        """For streams."""
        return Streamed(self.containers)


@dataclass
class Streamed:
    """A generator method of a container."""

    containers: Containers

    def aio(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Stream."""
        return self.containers.stream(payload)


class Edge(Deployed):
    """The real edge; only ids of calls are looked up here."""

    def __init__(self, containers: Containers) -> None:
        super().__init__(lambda: containers, "generate")
        self._containers = containers

    async def cancel(self, call: str) -> None:
        """Cancel."""
        await self._containers.cancel(call)


@asynccontextmanager
async def modal(settings: EngineSettings, pipeline: ScriptedPipeline) -> AsyncIterator[EngineClient]:
    """The engine as it is deployed, but for the network."""
    generator = GeneratorService(settings, RENTAL, make=pipeline)
    generator.load()
    generator.wake()
    index: Path = settings.home / "index"
    service = EngineService(settings, RENTAL, generator=Nearby(generator), volume=Disk(), index_folder=index)
    await service.open()
    containers = Containers(service)
    client = DeployedEngine(Edge(containers), deadline=60.0, startup=60.0)
    try:
        yield client
    finally:
        pipeline.gate.set()
        await client.close()
        await asyncio.gather(*containers.calls.values(), return_exceptions=True)
        await service.close()
        await generator.close()
