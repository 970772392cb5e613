"""What `modal.Cls.from_name(…)()` gives, without a network: an engine's methods by name, and the faults of a cloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from modal import exception

from bot.clock import Clock, SystemClock
from engine import wire
from engine.errors import EngineError
from engine.types import SCHEMA_VERSION
from tests.fakes.engine_client import ScriptedEngine


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls one call."""

    late: float = 0.0
    """Seconds before the first answer, as when a container starts."""
    raising: BaseException | None = None
    """Raised in place of an answer, or where the stream breaks."""
    cut_after: int | None = None
    """Answers after which the stream breaks; None lets it end."""
    ending: bool = False
    """The stream ends where it would break, as if that were all."""
    silent: bool = False
    """Nothing ever comes, at the start or where it would break."""
    lingering: bool = False
    """The call goes on and says so, and nothing ever comes of it."""
    version: int | None = None
    """The version that the engine speaks."""


DOWN = Fault(raising=exception.ServiceError("503"))
Weather = Callable[[float], Fault]
"""The fault of a call at a time."""


@dataclass
class Method:
    """A method; `.remote.aio` asks it, `.remote_gen.aio` streams from it."""

    handle: ModalHandle
    name: str

    @property
    def remote(self) -> Method:
        """For methods with one answer."""
        return self

    @property
    def remote_gen(self) -> Streamed:
        """For generators."""
        return Streamed(self.handle)

    async def aio(self, payload: bytes) -> bytes:
        """Ask."""
        return await self.handle.ask(self.name, payload)


@dataclass
class Streamed:
    """A generator method."""

    handle: ModalHandle

    def aio(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Stream."""
        return self.handle.stream(payload)


@dataclass
class ModalHandle:
    """The deployed engine: a scripted one behind the wire's protocol."""

    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    clock: Clock = field(default_factory=SystemClock)
    faults: list[Fault] = field(default_factory=list)
    """Of the next calls, in order."""
    weather: Weather = lambda _: Fault()
    """Of all other calls."""
    streams: int = 0
    questions: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    """Jobs by the id of their call."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self, name)

    async def cancel(self, call: str) -> None:
        """What `FunctionCall.from_id(call).cancel` does."""
        self.cancelled.append(call)
        await self.engine.cancel(self.jobs[call])

    async def ask(self, question: str, payload: bytes) -> bytes:
        """Answer a question."""
        self.questions.append(question)
        fault = await self._weathered()
        try:
            arguments = wire.arguments(payload)
            return _as_version(wire.value(await getattr(self.engine, question)(**arguments)), fault.version)
        except EngineError as error:
            return wire.fault(error)

    async def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Draw an order."""
        self.streams += 1
        call = f"fc-{self.streams}"
        fault = await self._weathered()
        answers = 0
        async for answer in self._answers(payload, call):
            if answers == fault.cut_after:
                if fault.ending:
                    return
                if fault.silent:
                    await asyncio.Event().wait()
                raise fault.raising or exception.ConnectionError("cut off")
            yield _as_version(answer, fault.version)
            answers += 1
            while fault.lingering:
                await self.clock.sleep(5)
                yield wire.alive()

    async def _answers(self, payload: bytes, call: str) -> AsyncGenerator[bytes, None]:
        order = wire.understood(wire.ORDER, wire.arguments(payload)["order"])
        self.jobs[call] = order.job
        yield wire.called(call)
        try:
            async for event in self.engine.generate(order):
                yield wire.value(event)
        except EngineError as error:
            yield wire.fault(error)

    async def _weathered(self) -> Fault:
        fault = self.faults.pop(0) if self.faults else self.weather(self.clock.monotonic())
        if fault.silent and fault.cut_after is None:
            await asyncio.Event().wait()
        await self.clock.sleep(fault.late)
        if fault.raising is not None and fault.cut_after is None:
            raise fault.raising
        return fault


def _as_version(answer: bytes, version: int | None) -> bytes:
    if version is None:
        return answer
    return answer.replace(f'"schema_version": {SCHEMA_VERSION}'.encode(), f'"schema_version": {version}'.encode())
