"""What the tests of jobs share: a clock to turn by hand, an engine that can fail, a platform that remembers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.chat import Delivery, Invocation, Place, Requester, Role, Update
from bot.errors import DeliveryError
from bot.jobs import JobRow, Jobs, JobState, Submitted
from bot.moderation import Moderation
from bot.quota import Quota
from bot.settings import Settings
from bot.store import Store
from engine.types import Event, ImageRequest, Order, ResolvedRequest, Sampler
from tests.fakes.engine_client import ScriptedEngine

NOON = 1_790_078_400.0
"""2026-09-22 12:00 UTC."""
HOME = Place(platform="discord", workspace="guild", channel="channel")
ELSEWHERE = Place(platform="discord", workspace="other", channel="channel")
ANN = Requester(platform="discord", id="ann", name="Ann")
BEN = Requester(platform="discord", id="ben", name="Ben")
MOD = Requester(platform="discord", id="mod", role=Role.MODERATOR)
OWNER = Requester(platform="discord", id="owner")

EVENTS = itertools.count()


class ManualClock:
    """Stands still until it is turned, or until somebody sleeps; `awake` unset holds every sleeper."""

    def __init__(self, now: float = NOON) -> None:
        self.time = now
        self.slept: list[float] = []
        self.asleep = asyncio.Event()
        self.awake = asyncio.Event()
        self.awake.set()

    def now(self) -> float:
        """Seconds since 1970."""
        return self.time

    def monotonic(self) -> float:
        """The same clock."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Remember the wish, and turn the clock."""
        self.slept.append(seconds)
        self.asleep.set()
        await self.awake.wait()
        self.time += seconds


class Painter(ScriptedEngine):
    """A scripted engine that breaks off its first orders with `faults_by_order`, in that order."""

    def __init__(self) -> None:
        super().__init__()
        self.faults_by_order: list[Exception] = []
        self.taken = asyncio.Semaphore(0)
        """Released once for each order."""

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Follow the script."""
        self.taken.release()
        async for event in super().generate(order):
            yield event
            if self.faults_by_order:
                raise self.faults_by_order.pop(0)


@dataclass
class Platform:
    """Keeps messages by nonce, as a chat platform does; refuses the first ones with `faults`."""

    messages: dict[str, Delivery] = field(default_factory=dict)
    calls: list[tuple[int, int]] = field(default_factory=list)
    """Part and attempt of every call."""
    faults: list[DeliveryError] = field(default_factory=list)
    posted: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, delivery: Delivery) -> str:
        """Post a message, unless an earlier attempt did."""
        self.calls.append((delivery.part, delivery.attempt))
        if self.faults:
            raise self.faults.pop(0)
        self.messages.setdefault(delivery.nonce, delivery)
        self.posted.set()
        return f"message-{delivery.nonce}"

    def prompts(self) -> list[str]:
        """Prompts of all pictures that were posted, in order."""
        return [picture.image.request.prompt for message in self.messages.values() for picture in message.pictures]


@dataclass
class Bench:
    """A bot's middle, ready to work."""

    store: Store
    jobs: Jobs
    engine: Painter
    clock: ManualClock
    quota: Quota
    moderation: Moderation
    settings: Settings

    async def submit(
        self,
        *prompts: str,
        who: Requester = ANN,
        place: Place = HOME,
        event: str | None = None,
        **options: Any,
    ) -> Submitted:
        """Ask for one picture per prompt."""
        invocation = Invocation(
            event=event or f"event-{next(EVENTS)}",
            command="imagine",
            requester=who,
            place=place,
            reply_to="reply",
        )
        asked = [ImageRequest(prompt=prompt) for prompt in prompts]
        return await self.jobs.submit(invocation, asked, [resolved(prompt, **options) for prompt in prompts], True)

    async def row(self, job: str) -> JobRow:
        """A job as it is stored."""
        row = await self.jobs.get(job)
        assert row is not None
        return row

    async def state(self, job: str) -> JobState:
        """The stored state of a job."""
        return (await self.row(job)).state

    async def used(self, who: Requester = ANN) -> int:
        """Pictures that count against a person today."""
        return (await self.quota.usage(who)).used

    async def follow(self, job: str, platform: Platform | None = None) -> list[Update]:
        """Watch a job to its end as an adapter does, sending what there is to send."""
        updates: list[Update] = []
        async for update in self.jobs.watch(job):
            updates.append(update)
            if isinstance(update, Delivery) and platform is not None:
                await self.jobs.deliver(update, platform.send)
        return updates


def resolved(prompt: str, **options: Any) -> ResolvedRequest:
    """A request in which nothing is open."""
    values: dict[str, Any] = {
        "prompt": prompt,
        "steps": 4,
        "guidance": 3.0,
        "width": 64,
        "height": 64,
        "seed": 7,
        "sampler": Sampler.EULER,
        "model": "emoji",
    }
    return ResolvedRequest(**(values | options))


@asynccontextmanager
async def working(
    home: Path,
    *,
    engine: Painter | None = None,
    clock: ManualClock | None = None,
    started: bool = True,
    **settings: Any,
) -> AsyncIterator[Bench]:
    """Jobs on a real database in `home`."""
    engine, clock = engine or Painter(), clock or ManualClock()
    chosen = Settings(home=home, operators=(OWNER.key,), **settings)
    async with Store.open(chosen.database) as store:
        quota = Quota(store, chosen, clock=clock)
        moderation = Moderation(store, operators=chosen.operators, clock=clock)
        jobs = Jobs(store, engine, chosen, quota=quota, moderation=moderation, clock=clock)
        if started:
            await jobs.start()
        try:
            yield Bench(store, jobs, engine, clock, quota, moderation, chosen)
        finally:
            await jobs.stop()


def kinds(updates: list[Update]) -> list[str]:
    """The updates' kinds, in order."""
    return [update.kind for update in updates]
