"""The web page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bot.app import App, running
from bot.dispatch import Dispatcher
from bot.errors import BotError
from bot.serverless.keeper import Keeper
from bot.settings import Settings
from engine.errors import EngineError

LOOK_SECONDS = 0.5
"""How often it is looked what is in flight."""
SAVE_SECONDS = 30.0
"""How often the database is copied all the same, if it has changed."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("bot.serverless")


def page(settings: Settings, keeper: Keeper) -> ASGIApp:
    """The web page, as an ASGI application whose lifespan is the installation's."""
    from bot.adapters.web.adapter import gradio_app

    @asynccontextmanager
    async def start() -> AsyncIterator[Dispatcher]:
        await keeper.restore()
        try:
            async with running(settings) as app, _saving(keeper, app):
                yield app.dispatcher
        finally:
            await keeper.save()

    return _Standing(gradio_app(settings, start))


@asynccontextmanager
async def _saving(keeper: Keeper, app: App) -> AsyncIterator[None]:
    """Copy the database whenever jobs have come or gone, and now and then for what else has changed."""

    async def save() -> None:
        before, since = frozenset[str](), 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now, since = await app.jobs.in_flight(), since + LOOK_SECONDS
            if now != before or since >= SAVE_SECONDS:
                before, since = now, 0.0
                await keeper.save()

    task = asyncio.create_task(save())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Standing:
    """An ASGI application that answers 503 where the one inside can't start.

    To whoever runs it, it has started all the same: a machine that doesn't start is started again, without end.
    """

    def __init__(self, inside: ASGIApp) -> None:
        self._inside = inside
        self._down = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await (PlainTextResponse("", 503) if self._down else self._inside)(scope, receive, send)
            return
        try:
            await self._inside(scope, receive, send)
        except (BotError, EngineError) as error:
            log.error("page not served", reason=error.sentence)  # noqa: TRY400  (it says all)
            self._down = True
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
