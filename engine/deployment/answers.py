"""The answers to a call, as they leave a container: its name first, signs of life in between, an error at the worst."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog

from engine import wire
from engine.errors import EngineError
from engine.orders import INTERNAL_FAULT

ALIVE_SECONDS = 5.0
"""How often a call that has nothing to tell says that it goes on."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("engine.deployment")


def broken(error: Exception) -> bytes:
    """The answer to a call in which something went wrong: the caller gets a sentence, the operator the traceback."""
    if isinstance(error, EngineError):
        return wire.fault(error)
    log.error("fault in a call", exc_info=error)
    return wire.fault(EngineError(INTERNAL_FAULT))


async def answers(stream: AsyncGenerator[bytes, None], call: str) -> AsyncGenerator[bytes, None]:
    """A stream with the call's name before it, signs of life in its pauses, and its error at its end."""
    yield wire.called(call)
    try:
        async with aclosing(_kept_alive(stream)) as alive:
            async for answer in alive:
                yield answer
    except Exception as error:  # noqa: BLE001  (the boundary)
        yield broken(error)


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
