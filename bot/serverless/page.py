"""The web page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.app import running
from bot.dispatch import Dispatcher
from bot.errors import BotError
from bot.serverless.keeper import Keeper
from bot.settings import Settings
from engine.errors import EngineError

LOOK_SECONDS = 0.5
"""How often it is looked whether the database has changed."""
AGAIN_SECONDS = 30.0
"""How long a page that can't start waits before it tries again."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("bot.serverless")


def page(settings: Settings, keeper: Keeper) -> ASGIApp:
    """The web page, as an ASGI application whose lifespan is the installation's."""
    from bot.adapters.web.adapter import gradio_app

    @asynccontextmanager
    async def start() -> AsyncIterator[Dispatcher]:
        await keeper.restore()
        try:
            async with running(settings) as app, _saving(keeper):
                yield app.dispatcher
        finally:
            await keeper.save()

    return _Standing(lambda: gradio_app(settings, start))


@asynccontextmanager
async def _saving(keeper: Keeper) -> AsyncIterator[None]:
    """Copy the database whenever it has changed."""

    async def save() -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await keeper.save()

    task = asyncio.create_task(save())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Standing:
    """An ASGI application that answers 503 as long as the one inside can't start, which is tried again and again.

    To whoever runs it, it has started all the same: a machine that doesn't start is started again, without end.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._inside: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await (self._inside or PlainTextResponse("", 503))(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        tried, stop = asyncio.Event(), asyncio.Event()
        standing = asyncio.create_task(self._stand(tried, stop))
        await asyncio.wait([standing, asyncio.create_task(tried.wait())], return_when=asyncio.FIRST_COMPLETED)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        stop.set()
        await standing
        await send({"type": "lifespan.shutdown.complete"})

    async def _stand(self, tried: asyncio.Event, stop: asyncio.Event) -> None:
        while not stop.is_set():
            inside = self._make()
            try:
                async with _alive(inside):
                    self._inside = inside
                    tried.set()
                    await stop.wait()
                    self._inside = None
            except (BotError, EngineError) as error:
                log.error("page not served", reason=error.sentence)  # noqa: TRY400  (it says all)
            except Exception:  # the boundary: nobody else would hear of it, or try again
                log.exception("page not served")
            tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS):
                    await stop.wait()


@asynccontextmanager
async def _alive(inside: ASGIApp) -> AsyncIterator[None]:
    """Run the lifespan of an ASGI application; raises what its start raises."""
    said: asyncio.Queue[Message] = asyncio.Queue()
    started = asyncio.Event()

    async def send(_: Message) -> None:
        started.set()

    said.put_nowait({"type": "lifespan.startup"})
    life = asyncio.create_task(_lifetime(inside, said.get, send))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([life, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if life.done():
        life.result()
    try:
        yield
    finally:
        said.put_nowait({"type": "lifespan.shutdown"})
        await life


async def _lifetime(inside: ASGIApp, receive: Receive, send: Send) -> None:
    await inside({"type": "lifespan"}, receive, send)
