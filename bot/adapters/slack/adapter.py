"""The adapter: Slack's events come in by Socket Mode through slack-bolt, answers go out through the Web API."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.slack import blocks, incoming
from bot.adapters.slack.address import PLATFORM, Address
from bot.adapters.slack.incoming import Asked, Payload
from bot.adapters.slack.people import People
from bot.adapters.slack.surface import UPDATE_SECONDS, ResponseUrl, SlackSurface, Updates, closing
from bot.adapters.slack.web import Patience, Web, explained
from bot.chat import Failure, Refusal, Update
from bot.clock import Clock, SystemClock
from bot.dispatch import Dispatcher
from bot.errors import DeliveryError

PROGRESS_SECONDS = 3.0
REMEMBERED_EVENTS = 10_000
REQUEST_SECONDS = 30.0

log = structlog.get_logger("bot.adapters.slack")
library_log = logging.getLogger("bot.adapters.slack.library")


class Slack:
    """One workspace, by its two tokens."""

    name = PLATFORM

    def __init__(
        self,
        *,
        bot_token: str,
        app_token: str,
        base_url: str,
        clock: Clock | None = None,
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        """Talk to Slack at this address.

        Args:
            bot_token: `xoxb-…`, for the Web API.
            app_token: `xapp-…`, for Socket Mode.
            base_url: of the Web API.
            clock: tells the time.
            progress_seconds: least time between two changes of a status message.
        """
        self._bot_token = bot_token
        self._app_token = app_token
        self._base_url = base_url
        self._clock = clock or SystemClock()
        self._pace = progress_seconds

    async def run(self, dispatcher: Dispatcher) -> None:
        """Take commands until cancelled.

        Raises:
            DeliveryError: Slack can't be reached, or takes one of the tokens no more.
        """
        library_log.setLevel(logging.WARNING)
        async with self._client() as client:
            with explained():
                identity = await client.auth_test()
            team, bot = str(identity["team_id"]), str(identity["user_id"])
            web = Web(client, self._clock, bot)
            async with Answers(dispatcher) as answers:
                desk = Desk(web, team, dispatcher, answers, clock=self._clock, pace=self._pace)
                await desk.resume()
                async with connected(bolt(client, desk, bot), self._app_token):
                    await asyncio.Event().wait()

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncWebClient]:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield AsyncWebClient(
                token=self._bot_token,
                base_url=self._base_url,
                session=session,
                logger=library_log,
                retry_handlers=[Patience(self._clock), AsyncConnectionErrorRetryHandler()],
            )


@asynccontextmanager
async def connected(app: AsyncApp, token: str) -> AsyncIterator[None]:
    """Hold a Socket Mode connection; it is renewed when Slack asks for that, or when it breaks.

    Raises:
        DeliveryError: Slack doesn't take the token.
    """
    handler = AsyncSocketModeHandler(app, token, logger=library_log)
    try:
        with explained():
            handler.client.wss_uri = await handler.client.issue_new_wss_url()
        await handler.connect_async()  # type: ignore[no-untyped-call]
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


class Desk:
    """Takes what was asked, once, finds out who asks, and has it answered."""

    def __init__(
        self, web: Web, team: str, dispatcher: Dispatcher, answers: Answers, *, clock: Clock, pace: float
    ) -> None:
        self._web = web
        self._team = team
        self._dispatcher = dispatcher
        self._answers = answers
        self._clock = clock
        self._pace = pace
        self._changes = Updates(clock, min(pace, UPDATE_SECONDS))
        self._people = People(web, team, clock)
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def resume(self) -> None:
        """Go on with what an earlier process left unfinished."""
        for job, updates in await self._dispatcher.recovered(PLATFORM):
            address = Address.read(job.reply_to, job.place, job.requester.id)
            surface = self._surface(address, locale=job.requester.locale)
            self._answers.start(closing(updates, surface), surface)

    def take(self, asked: Asked) -> None:
        """Have it answered, beside everything else; what Slack sends again is left to whoever took it first."""
        if self._is_new(asked.event):
            url = ResponseUrl(asked.response_url, self._clock) if asked.response_url else None
            surface = self._surface(asked.address, url)
            self._answers.start(closing(self._updates(asked, surface), surface), surface)

    def _is_new(self, event: str) -> bool:
        if event in self._seen:
            return False
        self._seen[event] = None
        if len(self._seen) > REMEMBERED_EVENTS:
            self._seen.popitem(last=False)
        return True

    def _surface(
        self, address: Address, url: ResponseUrl | None = None, locale: str = messages.ENGLISH
    ) -> SlackSurface:
        return SlackSurface(
            self._web,
            address,
            pace=self._pace,
            updates=self._changes,
            keep=self._dispatcher.redirect,
            response_url=url,
            locale=locale,
        )

    async def _updates(self, asked: Asked, surface: SlackSurface) -> AsyncGenerator[Update, None]:
        try:
            requester = await self._people.requester(asked.address.user) if asked.team == self._team else None
            if requester is None:
                yield Refusal(job=None, index=None, layer=None, text=messages.say("slack.stranger"))
                return
            surface.locale = requester.locale
            if asked.command == "batch" and asked.trigger and not asked.text:
                view = blocks.batch_view(asked.address.model_dump_json(), requester.locale)
                await self._web.open_view(asked.trigger, view)
                return
        except DeliveryError as error:
            yield Failure(job=None, index=None, text=error.sentence)
            return
        async with aclosing(self._dispatcher.handle(asked.invocation(requester))) as updates:
            async for update in updates:
                yield update


def bolt(client: AsyncWebClient, desk: Desk, bot: str) -> AsyncApp:
    """The events that Easel listens to. Each is acknowledged first; its answer is a task of its own."""
    app = AsyncApp(client=client, logger=library_log)

    async def on_command(ack: AsyncAck, body: Payload) -> None:
        await ack()
        desk.take(incoming.slash_command(body))

    async def on_message(body: Payload) -> None:
        asked = incoming.message(body, bot)
        if asked is not None:
            desk.take(asked)

    async def on_shortcut(ack: AsyncAck, body: Payload) -> None:
        await ack()
        desk.take(incoming.message_shortcut(body, bot))

    async def on_submission(ack: AsyncAck, body: Payload) -> None:
        await ack()
        desk.take(incoming.batch_submission(body))

    async def on_button(ack: AsyncAck, body: Payload) -> None:
        await ack()
        asked = incoming.button(body)
        if asked is not None:
            desk.take(asked)

    for command in incoming.SLASH_COMMANDS:
        app.command(command)(on_command)
    app.event("app_mention")(on_message)
    app.event("message")(on_message)
    app.message_shortcut(incoming.SHORTCUT)(on_shortcut)
    app.view(blocks.BATCH_VIEW)(on_submission)
    app.action(re.compile(f"{blocks.BUTTON}_"))(on_button)
    return app
