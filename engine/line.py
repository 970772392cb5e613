"""Calls to a machine elsewhere that answers by a stream, and that must be told when nobody listens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import structlog

from engine import wire
from engine.errors import EngineError, UnreachableError

ORPHAN_SECONDS = 900.0
"""How long a call that nobody wants is awaited, to be cancelled once it has begun."""
CANCEL_SECONDS = 10.0
"""How long telling the other side may take."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("engine.line")


class Remote(Protocol):
    """The other machine. Both methods raise EngineError alone."""

    def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Call, and give the answers as they come."""

    async def cancel(self, call: str) -> None:
        """Cancel a call by the name that its first answer gave."""


class Line:
    """Makes calls, and outlives them: a call that was given up before it began is cancelled when it begins."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._orphans: set[asyncio.Task[None]] = set()

    def call(self, payload: bytes) -> Call:
        """Call the other side."""
        return Call(self, payload)

    def adopt(self, orphan: asyncio.Task[None]) -> None:
        """Look after a call that nobody listens to."""
        self._orphans.add(orphan)
        orphan.add_done_callback(self._orphans.discard)

    async def close(self) -> None:
        """Forget calls that have not begun."""
        orphans = tuple(self._orphans)
        for orphan in orphans:
            orphan.cancel()
        await asyncio.gather(*orphans, return_exceptions=True)


class Call:
    """One call: its answers in order, `None` after the last."""

    def __init__(self, line: Line, payload: bytes) -> None:
        self._line = line
        self._answers: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        self._named: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = False
        self._listener = asyncio.create_task(self._listen(payload))

    async def next(self) -> wire.Answer | None:
        """The next answer; safe to cancel.

        Raises:
            EngineError: the other side answered so, can't be reached, or doesn't speak this version.
        """
        answer = await self._answers.get()
        if isinstance(answer, EngineError):
            raise answer
        return None if answer is None else wire.read(answer)

    async def close(self) -> None:
        """End the call; where it is still going on, over there as well."""
        if self._ended:
            await self._listener
        elif self._named.done():
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            await self._cancel(self._named.result())
        else:
            self._line.adopt(asyncio.create_task(self._cancel_once_named()))

    async def _listen(self, payload: bytes) -> None:
        stream = self._line.remote.stream(payload)
        try:
            async for answer in stream:
                if not self._named.done():
                    self._note_name(answer)
                self._answers.put_nowait(answer)
            self._answers.put_nowait(None)
        except EngineError as error:
            self._answers.put_nowait(error)
        except Exception:  # whoever waits must hear of it, or waits for ever
            log.exception("fault in a line")
            self._answers.put_nowait(UnreachableError("The GPU service broke off before the picture was finished."))
        finally:
            self._ended = True
            await stream.aclose()

    def _note_name(self, answer: bytes) -> None:
        try:
            name = wire.read(answer).call
        except EngineError:
            return  # whoever awaits the answers gets it
        if name is not None:
            self._named.set_result(name)

    async def _cancel_once_named(self) -> None:
        try:
            async with asyncio.timeout(ORPHAN_SECONDS):
                ends: set[asyncio.Future[Any]] = {self._named, self._listener}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return
        finally:
            self._listener.cancel()
        if self._named.done() and not self._ended:
            await self._cancel(self._named.result())

    async def _cancel(self, name: str) -> None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._line.remote.cancel(name)
        except (EngineError, TimeoutError) as error:
            log.warning("call not cancelled", call=name, reason=str(error))
