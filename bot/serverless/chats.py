"""Slack and Discord by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.adapters.base import Adapter
from bot.app import App, running
from bot.clients.base import EngineClient
from bot.dispatch import Dispatcher
from bot.errors import BotError, DatabaseError
from bot.serverless.keeper import Keeper
from bot.settings import Settings
from engine.errors import EngineError

if TYPE_CHECKING:
    from bot.adapters.discord.http import DiscordByHTTP

MAX_BODY = 2**20
"""Bytes of a request."""
PASSED_ON = ("content-type", "x-slack-signature", "x-slack-request-timestamp", "x-slack-retry-num")
PASSING = aiohttp.ClientTimeout(total=10.0)
"""How long an event may take from one server of this machine to the other."""
READY_SECONDS = 15.0
"""How long the first events wait for the chat to be reached."""
LOOK_SECONDS = 0.5
"""How often it is looked what is in flight."""
LOOKS_BETWEEN = 10
"""Looks at what is in flight between two at who holds the database."""
QUIET_SECONDS = 5.0
"""How long nothing must be in flight: an event is acknowledged before its job is stored."""
AGAIN_SECONDS = 30.0
"""How long a chat that can't start waits before it tries again."""
ATTEND_SECONDS = 600.0
"""How long a call attends before it asks for the next one."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("bot.serverless")


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
        self._session: aiohttp.ClientSession | None = None
        """Set while events can be taken."""
        self._discord: DiscordByHTTP | None = None
        self._tried = 0.0
        """When it was last started, by the event loop's clock."""
        self._starting: asyncio.Task[None] | None = None
        self._over = False
        self._attended = 0
        self._events = 0
        """Taken so far."""
        self._asked: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring the database back and take up what an earlier machine left.

        What can't start is logged, and tried again beside events that come later; until then each is answered by 503.
        A machine that didn't start would be started again, without end.
        """
        try:
            await self._start()
        except (BotError, EngineError) as error:
            log.error("chats not served", reason=error.sentence)  # noqa: TRY400  (it says all)
            await self._stack.aclose()
        self._tried = asyncio.get_running_loop().time()

    async def _start(self) -> None:
        await self._keeper.restore()
        self._stack.push_async_callback(self._keeper.save)
        self._app: App = await self._stack.enter_async_context(running(self._settings, self._client))
        session = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=PASSING))
        self._discord = _discord(self._settings)
        for adapter in (self._discord, _slack(self._settings)):
            if adapter is not None:
                await self._stack.enter_async_context(_answering(adapter, self._app.dispatcher))
        if self._discord is not None:
            with suppress(TimeoutError):  # then requests are asked to come again
                async with asyncio.timeout(READY_SECONDS):
                    await self._discord.ready.wait()
        self._session = session

    async def stop(self) -> None:
        """Stop for good, and copy the database a last time; safe to call twice."""
        self._session, self._over = None, True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._stack.aclose()

    def _not_now(self) -> Response:
        """The answer while nothing can be taken; what couldn't start is tried again."""
        overdue = asyncio.get_running_loop().time() - self._tried >= AGAIN_SECONDS
        if overdue and not self._over and (self._starting is None or self._starting.done()):
            self._starting = asyncio.create_task(self.start())
        return Response(status_code=503)

    async def attend(self) -> None:
        """Return once everything that was asked for is done; copies the database whenever it has changed.

        Modal ends calls that take too long, so this asks for another one in time. Where another machine has taken
        over, this one stops: both would answer the same people.
        """
        self._attended += 1
        try:
            async with asyncio.timeout(ATTEND_SECONDS):
                await self._attend()
        except TimeoutError:
            await self._keep()
        except DatabaseError:
            if self._session is not None:  # otherwise it is closed because everything stops
                raise
        finally:
            self._attended -= 1

    async def _attend(self) -> None:
        """A command may be answered between two looks, so what it has changed is not for what is in flight to say."""
        quiet, looks = 0.0, 0
        seen = self._events
        while self._session is not None and (quiet < QUIET_SECONDS or self._events != seen):
            if self._events != seen:  # one that came while this slept found itself attended to
                quiet, seen = 0.0, self._events
            if looks % LOOKS_BETWEEN == 0 and not await self._keeper.holds():
                log.warning("stopping, since another machine has taken over")
                await self.stop()
                return
            busy = await self._app.jobs.in_flight()
            await self._keeper.save()
            quiet, looks = 0.0 if busy else quiet + LOOK_SECONDS, looks + 1
            await asyncio.sleep(LOOK_SECONDS)
        await self._keeper.save()

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
        if "discord" not in self._settings.modal.serve or body is None:
            return Response(status_code=404 if body is not None else 401)
        if self._session is None or self._discord is None:
            return self._not_now()
        status, content = await self._discord.taken(dict(request.headers), body)
        if status == 202:
            self._keep_soon()
        return Response(status_code=status) if content is None else JSONResponse(content, status)

    async def _from_slack(self, request: Request) -> Response:
        """Pass on to Slack's own server in this process, which checks the signature."""
        body = await _body(request)
        if not self._settings.slack_http or body is None:
            return Response(status_code=401 if self._settings.slack_http else 404)
        if self._session is None:
            return self._not_now()
        headers = [(name, value) for name, value in request.headers.items() if name in PASSED_ON]
        address = f"http://{self._settings.slack_http_host}:{self._settings.slack_http_port}/slack/events"
        try:
            async with self._session.post(address, data=body, headers=headers) as answer:
                content, status, kind = await answer.read(), answer.status, answer.content_type
        except (aiohttp.ClientError, TimeoutError):
            return Response(status_code=503)
        if status == 200:
            self._keep_soon()
        return Response(content, status, media_type=kind)

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok")

    def _keep_soon(self) -> None:
        """Ask for the machine to be kept, unless it is; the answer to the event doesn't wait for that."""
        self._events += 1
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
    """An adapter beside everything else; one that can't go on is started again, and leaves the other one alone."""

    async def run() -> None:
        while True:
            try:
                await adapter.run(dispatcher)
            except BotError as error:
                log.error("chat not served", platform=adapter.name, reason=error.sentence)  # noqa: TRY400  (it says all)
            except Exception:  # the boundary: whatever it was, the next attempt may fare better
                log.exception("chat not served", platform=adapter.name)
            await asyncio.sleep(AGAIN_SECONDS)

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
