"""The adapter: Slack's events come in by Socket Mode or by HTTP, answers go out through the Web API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import SecretStr
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler

from bot.adapters.base import Answers
from bot.adapters.slack import oauth
from bot.adapters.slack.address import PLATFORM
from bot.adapters.slack.desk import Desk
from bot.adapters.slack.gate import Gate
from bot.adapters.slack.listeners import bolt
from bot.adapters.slack.oauth import Installations, States
from bot.adapters.slack.server import Events, Installing, application, listening
from bot.adapters.slack.sockets import connected
from bot.adapters.slack.trouble import Patience
from bot.adapters.slack.uploads import Client
from bot.adapters.slack.workspaces import InstalledWorkspaces, Maker, OneWorkspace, Workspaces
from bot.clock import Clock, SystemClock
from bot.dispatch import Dispatcher
from bot.settings import Settings
from bot.store import Store

PROGRESS_SECONDS = 3.0
REQUESTS_AT_ONCE = 16
"""Further ones wait for a connection, so that a rush of pictures keeps no acknowledgement waiting."""
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0)

library_log = logging.getLogger("bot.adapters.slack.library")


class Slack:
    """One workspace by its bot token, or all that install the app; events by Socket Mode or by HTTP."""

    name = PLATFORM

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, progress_seconds: float = PROGRESS_SECONDS
    ) -> None:
        """Talk to Slack as these settings say, of which `make` has seen to it that they suffice.

        Args:
            settings: of the installation.
            clock: tells the time.
            progress_seconds: least time between two changes of a status message.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self._pace = progress_seconds

    async def run(self, dispatcher: Dispatcher) -> None:
        """Take commands until cancelled.

        Raises:
            DeliveryError: Slack can't be reached, or takes one of the tokens no more.
            SettingsError: the address of HTTP mode can't be had.
            DatabaseError: HTTP mode can't open the database.
        """
        library_log.setLevel(logging.WARNING)
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=connector, timeout=REQUEST_TIMEOUT)
            )
            maker = Maker(
                lambda token: self._client(session, token),
                self._clock,
                moderators=frozenset(self._settings.slack_moderators),
                pace=self._pace,
            )
            store = await stack.enter_async_context(Store.open(self._settings.database)) if self._by_http else None
            workspaces = await self._workspaces(maker, store)
            answers = await stack.enter_async_context(Answers(dispatcher))
            desk = Desk(
                workspaces,
                maker,
                dispatcher,
                answers,
                pace=self._pace,
                image_input=self._settings.image_input,
            )
            stack.push_async_callback(desk.close)
            await desk.resume()
            await stack.enter_async_context(self._taking(self._client(session, None), workspaces, desk, store))
            await asyncio.Event().wait()

    @property
    def _by_http(self) -> bool:
        return self._settings.slack_http

    def _client(self, session: aiohttp.ClientSession, token: str | None) -> Client:
        return Client(
            token=token,
            base_url=self._settings.slack_api,
            session=session,
            logger=library_log,
            retry_handlers=[Patience(self._clock), AsyncConnectionErrorRetryHandler()],
        )

    async def _workspaces(self, maker: Maker, store: Store | None) -> Workspaces:
        token = secret(self._settings.slack_bot_token)
        if store is not None and not token:
            # It will hold the workspaces' tokens.
            await asyncio.to_thread(keep_private, store.path)
            return InstalledWorkspaces(store.slack, maker)
        return OneWorkspace(await maker.by_token(token))

    @asynccontextmanager
    async def _taking(
        self, client: Client, workspaces: Workspaces, desk: Desk, store: Store | None
    ) -> AsyncIterator[None]:
        """Take events, in the way that is set up."""
        if store is None:
            app = bolt(client, workspaces, desk, batch_limit=self._settings.batch_limit)
            async with connected(app, secret(self._settings.slack_app_token), library_log):
                yield
            return
        gate = Gate(secret(self._settings.slack_signing_secret), store.slack, self._clock)
        async with gate.open():
            routes = self._application(client, workspaces, desk, store, gate)
            async with listening(routes, self._settings.slack_http_host, self._settings.slack_http_port):
                yield

    def _application(
        self, client: Client, workspaces: Workspaces, desk: Desk, store: Store, gate: Gate
    ) -> web.Application:
        """The routes of HTTP mode."""
        limit = self._settings.batch_limit
        if not isinstance(workspaces, InstalledWorkspaces):
            return application(Events(bolt(client, workspaces, desk, batch_limit=limit), gate))
        installations = Installations(store.slack, workspaces.forget)
        flow = oauth.flow(
            client,
            installations,
            States(store.slack, self._clock),
            client_id=self._settings.slack_client_id or "",
            client_secret=secret(self._settings.slack_client_secret),
            redirect_uri=self._settings.slack_redirect_uri,
        )
        app = bolt(client, workspaces, desk, installations, batch_limit=limit)
        return application(Events(app, gate), Installing(flow))


def keep_private(database: Path) -> None:
    """Let nobody else on this machine read a database, nor what SQLite keeps beside it."""
    for path in (database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))):
        with suppress(FileNotFoundError):
            path.chmod(0o600)


def secret(value: SecretStr | None) -> str:
    """The text of a secret; empty if there is none."""
    return value.get_secret_value() if value else ""
