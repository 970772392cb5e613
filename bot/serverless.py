"""Chats without a server of one's own: an ASGI application on a machine that may be taken away at any time.

Slack's and Discord's events come in by HTTP and are acknowledged at once. What they ask for goes on in this process,
and `attend` keeps the machine until it is done. The database is copied to a volume after each batch of events, so a
machine that is lost without notice loses what was accepted since the last copy: a second or two.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from bot.adapters.base import Adapter
from bot.app import App, running
from bot.clients.base import EngineClient
from bot.dispatch import Dispatcher
from bot.errors import BotError
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.adapters.discord.http import DiscordByHTTP

MAX_BODY = 2**20
"""Bytes of a request."""
PASSED_ON = ("content-type", "x-slack-signature", "x-slack-request-timestamp", "x-slack-retry-num")
READY_SECONDS = 15.0
"""How long the first events wait for the chat to be reached."""
LOOK_SECONDS = 0.5
"""How often it is looked what is in flight."""
QUIET_SECONDS = 5.0
"""How long nothing must be in flight: an event is acknowledged before its job is stored."""
SAVE_SECONDS = 30.0
"""How often the database behind the web page is copied."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Keeper:
    """Brings the database back from a volume, and copies it there.

    Args:
        database: where the bot has it, on the machine's own disk.
        folder: on the volume.
        commit: lets other machines see the folder; blocks.
    """

    def __init__(self, database: Path, folder: Path, commit: Callable[[], None]) -> None:
        self._database = database
        self._copy = folder / database.name
        self._commit = commit
        self._turn = asyncio.Lock()

    async def restore(self) -> None:
        """Begin with the copy, if there is one and nothing here yet."""
        await asyncio.to_thread(self._restore)

    async def save(self) -> None:
        """Copy the database as it is now; writers go on meanwhile."""
        async with self._turn:
            try:
                await asyncio.to_thread(self._save)
            except (OSError, sqlite3.Error) as error:
                log.error("database not copied", reason=str(error))  # noqa: TRY400  (the next copy may work)

    def _restore(self) -> None:
        if self._copy.exists() and not self._database.exists():
            self._database.parent.mkdir(parents=True, exist_ok=True)
            self._database.write_bytes(self._copy.read_bytes())

    def _save(self) -> None:
        draft = self._copy.with_suffix(".part")
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._database)) as source, closing(sqlite3.connect(draft)) as target:
            source.backup(target)
        draft.replace(self._copy)
        self._commit()


class Chats:
    """An installation that is asked by HTTP.

    Args:
        settings: of the bot.
        keeper: of its database.
        keep: asks for the machine to be kept while there is work, by having `attend` called.
        client: the engine, if not the one that the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        keeper: Keeper,
        keep: Callable[[], Awaitable[None]],
        *,
        client: EngineClient | None = None,
    ) -> None:
        self._settings = settings
        self._keeper = keeper
        self._keep = keep
        self._client = client
        self._stack = AsyncExitStack()
        self._attended = 0
        self._asked: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring the database back and take up what an earlier machine left.

        Raises:
            BotError, EngineError: something can't start; the sentence says what, and how to mend it.
        """
        await self._keeper.restore()
        self._stack.push_async_callback(self._keeper.save)
        self._app: App = await self._stack.enter_async_context(running(self._settings, self._client))
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._discord = _discord(self._settings)
        for adapter in (self._discord, _slack(self._settings)):
            if adapter is not None:
                await self._stack.enter_async_context(_answering(adapter, self._app.dispatcher))
        if self._discord is not None:
            with suppress(TimeoutError):  # then requests are asked to come again
                async with asyncio.timeout(READY_SECONDS):
                    await self._discord.ready.wait()

    async def stop(self) -> None:
        """Stop, and copy the database a last time."""
        await self._stack.aclose()

    async def attend(self) -> None:
        """Return once everything that was asked for is done; copies the database whenever jobs have come or gone."""
        self._attended += 1
        quiet, before = 0.0, frozenset[str]()
        try:
            while quiet < QUIET_SECONDS:
                now = await self._app.jobs.in_flight()
                if now != before:
                    await self._keeper.save()
                quiet, before = 0.0 if now else quiet + LOOK_SECONDS, now
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._attended -= 1

    def application(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/discord/interactions", self._from_discord, methods=["POST"]),
                Route("/slack/events", self._from_slack, methods=["POST"]),
                Route("/health", self._health, methods=["GET"]),
            ]
        )

    async def _from_discord(self, request: Request) -> Response:
        body = await _body(request)
        if self._discord is None or body is None:
            return Response(status_code=404 if self._discord is None else 401)
        status, content = await self._discord.taken(dict(request.headers), body)
        if status == 202:
            self._keep_soon()
        return Response(status_code=status) if content is None else JSONResponse(content, status)

    async def _from_slack(self, request: Request) -> Response:
        """Pass on to Slack's own server in this process, which checks the signature."""
        body = await _body(request)
        if not self._settings.slack_http or body is None:
            return Response(status_code=401 if self._settings.slack_http else 404)
        headers = [(name, value) for name, value in request.headers.items() if name in PASSED_ON]
        address = f"http://{self._settings.slack_http_host}:{self._settings.slack_http_port}/slack/events"
        try:
            async with self._session.post(address, data=body, headers=headers) as answer:
                content, status, kind = await answer.read(), answer.status, answer.content_type
        except aiohttp.ClientError:
            return Response(status_code=503)
        if status == 200:
            self._keep_soon()
        return Response(content, status, media_type=kind)

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok")

    def _keep_soon(self) -> None:
        """Ask for the machine to be kept, unless it is; the answer to the event doesn't wait for that."""
        if self._attended == 0 and (self._asked is None or self._asked.done()):
            self._asked = asyncio.create_task(self._ask_to_keep())

    async def _ask_to_keep(self) -> None:
        try:
            await self._keep()
        except Exception:  # the boundary to whoever keeps machines: work goes on as long as this one lives
            log.exception("machine not kept")


async def _body(request: Request) -> bytes | None:
    """The body, or None if it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


@asynccontextmanager
async def _answering(adapter: Adapter, dispatcher: Dispatcher) -> AsyncIterator[None]:
    """An adapter beside everything else; one that can't go on is logged, and leaves the other one alone."""

    async def run() -> None:
        try:
            await adapter.run(dispatcher)
        except BotError as error:
            log.error("chat not served", platform=adapter.name, reason=error.sentence)  # noqa: TRY400  (it says all)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _discord(settings: Settings) -> DiscordByHTTP | None:
    if "discord" not in settings.modal.serve:
        return None
    from bot.adapters.discord.http import DiscordByHTTP

    return DiscordByHTTP(settings)


def _slack(settings: Settings) -> Adapter | None:
    from bot.adapters import slack

    return slack.make(settings) if settings.slack_http else None


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

    return gradio_app(settings, start)


@asynccontextmanager
async def _saving(keeper: Keeper) -> AsyncIterator[None]:
    async def save() -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await keeper.save()

    task = asyncio.create_task(save())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
