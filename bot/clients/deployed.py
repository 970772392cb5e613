"""The engine on other machines, as the bot knows it: patient while it is away, and certain to get every picture once.

This process needs neither torch nor the engine: what crosses is the JSON of `engine.wire`.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Protocol

import structlog

from bot.clients.breaker import Attempt, Breaker
from bot.clients.session import LATE, Session
from bot.clock import Clock, SystemClock
from bot.files import write_whole
from engine import wire
from engine.errors import EngineError, TookTooLongError, UnreachableError
from engine.line import Call, Line, Remote
from engine.types import (
    CacheCheck,
    CacheEntry,
    CacheStats,
    Cancelled,
    EngineInfo,
    Event,
    Order,
    Rendition,
    Stage,
    Verification,
)

PATIENCE = 3.0
"""Seconds without an answer after which the person is told that a machine is being started."""
SILENCE = 30.0
"""Seconds without a sign of life, once there was one, after which a call counts as broken."""
PAUSES = (1.0, 30.0)
"""Seconds between two attempts at an order, at first and at most; each pause is twice the one before, less a bit."""
ASK_SECONDS = 90.0
"""How long a question may take; a machine may have to start for it."""
ASK_ATTEMPTS = 3
ASK_AT_ONCE = 16
"""Questions that are with the engine at a time; some bring whole pictures, as many as a page shows."""
KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
INFO_SECONDS = 600.0
"""Age at which what is known of the engine is asked anew, beside the work."""

_AWAY = "The GPU service is not answering; try again in some minutes."

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Edge(Remote, Protocol):
    """The engine's machine. All methods raise EngineError alone, and UnreachableError where trying again may help."""

    async def ask(self, question: str, payload: bytes) -> bytes:
        """One of the questions of `wire.VALUES`."""


class DeployedEngine:
    """An `EngineClient` over a network edge.

    Args:
        edge: the engine's machine.
        deadline: seconds for which an order is tried.
        startup: seconds within which a machine must have started.
        memory: file that keeps what is known of the engine, so that the bot can start while it is away.
        trusted: whether what was remembered is as good as meeting the engine: where it was deployed with this bot.
        clock: the time.
        jitter: makes a pause shorter, so that many bots don't come back at once.
    """

    def __init__(  # noqa: PLR0913  (each is a choice of its own)
        self,
        edge: Edge,
        *,
        deadline: float,
        startup: float,
        memory: Path | None = None,
        trusted: Callable[[EngineInfo], bool] = lambda _: False,
        clock: Clock | None = None,
        jitter: Callable[[float], float] = lambda pause: random.uniform(0.5, 1.0) * pause,
    ) -> None:
        self._edge = edge
        self._line = Line(edge)
        self._deadline = deadline
        self._startup = startup
        self._memory = memory
        self._trusted = trusted
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._breaker = Breaker(self._clock.monotonic)
        self._asking = asyncio.Semaphore(ASK_AT_ONCE)
        self._sessions: defaultdict[str, set[Session]] = defaultdict(set)
        self._info: EngineInfo | None = None
        self._info_asked = -math.inf
        self._refresh: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Meet the engine; where it is away but was known before, go on with that.

        Nobody waits for its machine where what is remembered of it can be trusted.

        Raises:
            VersionMismatchError: it is of another version.
            EngineError: it isn't deployed, or refuses this bot.
        """
        if self._memory is not None:
            self._info = await asyncio.to_thread(_remembered, self._memory)
        if self._info is not None and self._trusted(self._info):
            self._refresh = asyncio.create_task(self._meet_again())
            return
        try:
            await self._meet()
        except UnreachableError as error:
            log.warning("the engine is not answering", known=self._info is not None, reason=error.sentence)

    async def close(self) -> None:
        """Let go of everything; safe to call twice."""
        for sessions in self._sessions.values():
            for session in sessions:
                session.stop.set()
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)
        await self._line.close()

    async def info(self) -> EngineInfo:
        """Models, defaults and warnings, as they were a while ago at most."""
        if self._info is None:
            return await self._meet()
        stale = self._clock.monotonic() - self._info_asked > INFO_SECONDS
        if stale and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._meet_again())
        return self._info

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Have an order drawn, however often that has to be tried until its deadline.

        Raises:
            TookTooLongError: the deadline has passed.
            VersionMismatchError: the engine is of another version.
        """
        session = Session(order, self._clock.monotonic() + self._deadline)
        self._sessions[order.job].add(session)
        try:
            async with aclosing(self._persist(session)) as events:
                async for event in events:
                    yield event
        finally:
            self._sessions[order.job].discard(session)
            if not self._sessions[order.job]:
                del self._sessions[order.job]

    async def cancel(self, job: str) -> None:
        """Stop a job's orders, over there as well."""
        for session in self._sessions.get(job, ()):
            session.stop.set()

    async def _persist(self, session: Session) -> AsyncGenerator[Event, None]:
        """Attempts and pauses, until nothing is open."""
        attempts = 0
        while session.open:
            if session.stop.is_set():
                for place in tuple(session.open):
                    yield Cancelled(index=place)
                return
            self._check_time(session)
            pause = self._breaker.pause()
            if not pause:
                async with aclosing(self._attempt(session)) as events:
                    async for event in events:
                        yield event
                attempts += 1
                pause = self._jitter(min(PAUSES[0] * 2 ** min(attempts - 1, 10), PAUSES[1]))
            if session.open and not session.stop.is_set():
                for progress in session.all_at(Stage.UNREACHABLE):
                    yield progress
                await self._wait(session, min(pause, self._left(session)))

    async def _attempt(self, session: Session) -> AsyncGenerator[Event, None]:
        """One call for everything that is open; it ends early where the service doesn't answer, and that is noted."""
        with self._breaker.attempt() as attempt:
            call = self._line.call(wire.call(order=session.begin()))
            try:
                async with aclosing(self._answers(session, call, attempt)) as answers:
                    async for answer in answers:
                        if answer is None:
                            for progress in session.all_at(Stage.WAKING):
                                yield progress
                        elif answer.value is not None:
                            event = session.take(wire.understood(wire.EVENT, answer.value))
                            if event is not None:
                                yield event
                session.check()
            except UnreachableError:
                if attempt.answered:
                    session.broke_off()
                raise
            finally:
                await call.close()

    async def _answers(
        self, session: Session, call: Call, attempt: Attempt
    ) -> AsyncGenerator[wire.Answer | None, None]:
        """The answers of a call until it ends or the session is stopped, and a None if the first is long in coming.

        Raises:
            UnreachableError: it can't be had, or there is no sign of life.
            TookTooLongError: the deadline has passed.
            EngineError: it was answered by an error.
        """
        limits = iter((PATIENCE, self._startup))
        limit = next(limits)
        coming = asyncio.create_task(call.next())
        try:
            while True:
                await self._wait(session, min(limit, self._left(session)), coming)
                if session.stop.is_set():
                    return
                if coming.done():
                    answer = _answered(coming, attempt)
                    if answer is None:
                        return
                    limits, limit = iter(()), SILENCE
                    coming = asyncio.create_task(call.next())
                    yield answer
                    continue
                self._check_time(session)
                limit = next(limits, 0.0)
                if limit <= 0:
                    raise UnreachableError(_AWAY)
                yield None
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _left(self, session: Session) -> float:
        """Seconds until the deadline."""
        return max(session.deadline - self._clock.monotonic(), 0.0)

    def _check_time(self, session: Session) -> None:
        if not self._left(session):
            raise TookTooLongError(LATE)

    async def _wait(self, session: Session, seconds: float, *tasks: asyncio.Task[Any]) -> None:
        """Until one of the tasks is done, the session is stopped, or the time is over."""
        timers = (asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(session.stop.wait()))
        try:
            await asyncio.wait({*tasks, *timers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for timer in timers:
                timer.cancel()
            await asyncio.gather(*timers, return_exceptions=True)

    # Questions with one answer.

    async def _ask(self, question: str, **arguments: wire.Argument) -> Any:  # noqa: ANN401  (what wire.VALUES names)
        """Ask, and again where no answer comes; asking twice changes nothing.

        Raises:
            UnreachableError: no answer came, or none has come for a while and nobody tries now.
            EngineError: it was answered by an error.
        """
        payload = wire.call(**{name: wire.bounded(value) for name, value in arguments.items()})
        for attempt in range(1, ASK_ATTEMPTS + 1):
            if self._breaker.pause():
                break
            with self._breaker.attempt() as call:
                answer = await self._edge_answers(question, payload)
                call.succeeded()
                return wire.understood(wire.VALUES[question], wire.read(answer).value)
            if attempt < ASK_ATTEMPTS:
                await self._clock.sleep(self._jitter(PAUSES[0] * 2 ** (attempt - 1)))
        raise UnreachableError(_AWAY)

    async def _edge_answers(self, question: str, payload: bytes) -> bytes:
        asked = asyncio.create_task(self._in_turn(question, payload))
        late = asyncio.create_task(self._clock.sleep(ASK_SECONDS))
        try:
            await asyncio.wait({asked, late}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise UnreachableError(_AWAY)
            return asked.result()
        finally:
            asked.cancel()
            late.cancel()
            await asyncio.gather(asked, late, return_exceptions=True)

    async def _in_turn(self, question: str, payload: bytes) -> bytes:
        async with self._asking:
            return await self._edge.ask(question, payload)

    async def _meet(self) -> EngineInfo:
        info: EngineInfo = await self._ask("info")
        self._info, self._info_asked = info, self._clock.monotonic()
        if self._memory is not None:
            with suppress(OSError):  # it is met again at the next start
                await asyncio.to_thread(write_whole, self._memory, info.model_dump_json().encode())
        return info

    async def _meet_again(self) -> None:
        try:
            await self._meet()
        except EngineError as error:
            self._info_asked = self._clock.monotonic()
            log.warning("the engine is not answering", reason=error.sentence)

    async def cache_stats(self, scope: str | None) -> CacheStats:
        """Figures of the cache."""
        stats: CacheStats = await self._ask("cache_stats", scope=scope)
        return stats

    async def cache_list(
        self, scope: str | None, *, limit: int = 20, offset: int = 0, search: str = ""
    ) -> tuple[CacheEntry, ...]:
        """Entries, last used first."""
        entries: tuple[CacheEntry, ...] = await self._ask(
            "cache_list", scope=scope, limit=limit, offset=offset, search=search
        )
        return entries

    async def cache_show(self, scope: str | None, key: str) -> CacheEntry | None:
        """One entry by its key."""
        entry: CacheEntry | None = await self._ask("cache_show", scope=scope, key=key)
        return entry

    async def cache_read(self, scope: str | None, key: str) -> bytes | None:
        """The file of an entry."""
        if not KEY.fullmatch(key):
            return None
        data: bytes | None = await self._ask("cache_read", scope=scope, key=key)
        return data

    async def cache_delete(self, scope: str | None, key: str) -> int:
        """Remove an entry; returns files removed."""
        removed: int = await self._ask("cache_delete", scope=scope, key=key)
        return removed

    async def cache_clear(self, scope: str | None) -> int:
        """Remove everything; returns files removed."""
        removed: int = await self._ask("cache_clear", scope=scope)
        return removed

    async def cache_purge(self, scope: str | None, owner: str) -> int:
        """Remove what a person asked for; returns files removed."""
        removed: int = await self._ask("cache_purge", scope=scope, owner=owner)
        return removed

    async def cache_verify(self) -> CacheCheck:
        """Compare every file with its checksum."""
        check: CacheCheck = await self._ask("cache_verify")
        return check

    async def verify(self, data: bytes) -> Verification:
        """Say what a picture file tells of its making."""
        found: Verification = await self._ask("verify", data=data)
        return found

    async def smaller(self, data: bytes, limit: int) -> Rendition:
        """A finished picture in fewer bytes."""
        made: Rendition = await self._ask("smaller", data=data, limit=limit)
        return made


def _answered(coming: asyncio.Task[wire.Answer | None], attempt: Attempt) -> wire.Answer | None:
    """What came, None at the end of the call; an answer, if only an error, shows that the service is there.

    Raises:
        EngineError: it was answered so, or, as UnreachableError, the line broke.
    """
    try:
        answer = coming.result()
    except UnreachableError:
        raise
    except EngineError:
        attempt.succeeded()
        raise
    attempt.succeeded()
    return answer


def _remembered(path: Path) -> EngineInfo | None:
    """What was known of the engine when the bot last met it; blocks."""
    try:
        return EngineInfo.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
