"""What every way of talking to people has in common: an adapter takes commands in, a surface shows the answers.

An adapter acknowledges a command at once (Discord and Slack allow 3 seconds), turns it into an Invocation, and gives
the updates of `Dispatcher.handle` to `Answers.start` with a surface: the one place where that command's answer goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Protocol, Self

import structlog

from bot import messages
from bot.chat import Delivery, Queued, Update, Working
from bot.dispatch import Dispatcher
from bot.errors import DeliveryError
from bot.jobs import Arrivals, Recovered
from bot.jobs.sending import AWAY_SECONDS, BACKOFF_SECONDS, LONGEST_PAUSE

Sleep = Callable[[float], Awaitable[None]]

log = structlog.get_logger("bot.adapters")


class Surface(Protocol):
    """Where the answer to one command goes: a reply that is edited, a line on a terminal.

    A surface is made for every command, and again from `Recovered.reply_to` after a restart, when tokens may have
    expired. Methods raise DeliveryError for whatever the platform refuses.
    """

    pace: float
    """Least seconds between two showings of how far a job has come (Discord and Slack count edits)."""

    async def show(self, update: Update) -> None:
        """Show anything but a delivery; a later one may replace an earlier one. A private reply is for one person."""

    async def send(self, delivery: Delivery) -> str:
        """Send pictures as one message and return the platform's id of it."""

    async def find(self, delivery: Delivery) -> str | None:
        """The id of the message if an earlier attempt got through, found by nonce, file name or content."""


class Adapter(Protocol):
    """One platform."""

    name: str
    """As in `Place.platform`."""

    async def run(self, dispatcher: Dispatcher) -> None:
        """Take commands and answer them until there are no more, or until cancelled.

        Unfinished jobs of an earlier process come first: see `Answers.resume`.
        """


class Answers:
    """The answers that an adapter is giving at the moment, each a task of its own.

    Leaving the context waits for them; if it is left by an error or a cancellation, they are cancelled, and their jobs
    go on after the next start.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def __len__(self) -> int:
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.drained()
        finally:
            self._over = True
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def start(self, updates: AsyncGenerator[Update, None], surface: Surface) -> None:
        """Show these updates on this surface, beside everything else; in a process that stops, leave it to the next."""
        if self._over:
            return
        task = asyncio.create_task(relay(updates, surface, self._dispatcher))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def resume(self, platform: str, surface_for: Callable[[Recovered], Surface]) -> None:
        """Go on with what an earlier process left unfinished."""
        for job, updates in await self._dispatcher.recovered(platform):
            self.start(updates, surface_for(job))

    async def drained(self) -> None:
        """Wait until no answer is being given."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an answer broke off", exc_info=error)


async def relay(
    updates: AsyncGenerator[Update, None],
    surface: Surface,
    dispatcher: Dispatcher,
    clock: Callable[[], float] = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """The one loop between dispatch and a platform: show every update at the surface's pace, send every delivery."""
    rhythm = _Rhythm(surface.pace, clock)
    async with aclosing(updates):
        async for update in updates:
            if isinstance(update, Delivery):
                await _deliver(update, surface, dispatcher, sleep)
            elif rhythm.allows(update):
                await _show(update, surface, sleep)


async def _show(update: Update, surface: Surface, sleep: Sleep) -> None:
    """Show an update; where the platform is away, answers wait for it as deliveries do, and only progress is let go.

    A process that stops meanwhile has not let go of the command, which the next one answers: see `settled`.
    """
    left, pause = AWAY_SECONDS, BACKOFF_SECONDS
    while True:
        try:
            with _on_platform():
                await surface.show(update)
        except DeliveryError as error:
            log.warning("update not shown", kind=update.kind, reason=error.sentence)
            if not error.away or isinstance(update, Queued | Working) or left <= 0:
                return
        else:
            return
        await sleep(pause)
        left, pause = left - pause, min(4 * pause, LONGEST_PAUSE)


async def _deliver(delivery: Delivery, surface: Surface, dispatcher: Dispatcher, sleep: Sleep) -> None:
    async def send(attempt: Delivery) -> str:
        with _on_platform():
            earlier = await surface.find(attempt) if attempt.attempt > 1 else None
            return await surface.send(attempt) if earlier is None else earlier

    failure = await dispatcher.deliver(delivery, send)
    if failure is not None:
        await _show(failure, surface, sleep)


@contextmanager
def _on_platform() -> Iterator[None]:
    """The boundary to a platform's SDK: what it raises unforeseen is a message not taken, and so tried again."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:
        log.exception("fault of an adapter")
        raise DeliveryError(messages.say("failure.platform")) from error


async def settled(
    updates: AsyncGenerator[Update, None], arrivals: Arrivals, platform: str, event: str
) -> AsyncGenerator[Update, None]:
    """The same updates; the command is let go of once it has been answered or, first of all queued, is a job."""
    pending = True
    async with aclosing(updates):
        async for update in updates:
            yield update
            if pending and not isinstance(update, Queued):
                await arrivals.settle(platform, event)
            pending = False
    if pending:
        await arrivals.settle(platform, event)


class _Rhythm:
    """Lets the first word on a job's progress through, and further ones at a pace; everything else always."""

    def __init__(self, pace: float, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._last: float | None = None
        self._kinds: set[str] = set()

    def allows(self, update: Update) -> bool:
        if not isinstance(update, Queued | Working):
            return True
        now = self._clock()
        early = self._last is not None and now - self._last < self._pace
        if early and update.kind in self._kinds:
            return False
        self._last = now
        self._kinds.add(update.kind)
        return True
