"""A bot and an engine on Modal that meet over a faulty line, in few words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.clients.deployed import DeployedEngine
from bot.clients.modal import Deployed
from engine.types import Event, Image, Order, Progress, Stage
from tests.bot.workbench import resolved
from tests.fakes.modal_handle import ModalHandle
from tests.fakes.virtual_clock import VirtualClock


class Edge(Deployed):
    """The real edge, whose calls are cancelled at the fake."""

    def __init__(self, handle: ModalHandle) -> None:
        super().__init__(lambda: handle, "generate")
        self.fake = handle

    async def cancel(self, call: str) -> None:
        await self.fake.cancel(call)


@asynccontextmanager
async def meeting(
    handle: ModalHandle, *, clock: VirtualClock | None = None, **options: Any
) -> AsyncIterator[DeployedEngine]:
    clock = clock or VirtualClock()
    handle.clock = clock
    values: dict[str, Any] = {"deadline": 1800.0, "startup": 300.0, "clock": clock, "jitter": lambda pause: pause}
    client = DeployedEngine(Edge(handle), **(values | options))
    async with clock.running():
        try:
            yield client
        finally:
            await client.close()


def order(*prompts: str, job: str = "J1") -> Order:
    return Order(job=job, requests=tuple(map(resolved, prompts)), scope="discord:guild", owner="discord:ann")


async def follow(client: DeployedEngine, *prompts: str) -> list[Event]:
    return [event async for event in client.generate(order(*prompts))]


def endings(events: list[Event]) -> list[tuple[int, str]]:
    """Place and prompt of every picture, in order of arrival."""
    return [(event.index, event.request.prompt) for event in events if isinstance(event, Image)]


def stages(events: list[Event]) -> list[Stage]:
    """What was said of the first picture, without repeats."""
    told = [event.stage for event in events if isinstance(event, Progress) and event.index == 0]
    return [stage for place, stage in enumerate(told) if told[place - 1 : place] != [stage]]
