"""Socket Mode: the connection that events come down (docs.slack.dev/apis/events-api/using-socket-mode)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from bot.adapters.slack.trouble import explained

PING_SECONDS = 10.0
CONNECT_SECONDS = 30.0
"""An address of Slack's that has not let us in by then never will: it is good once, and for a short time."""


class Socket(SocketModeClient):
    """As slack_sdk's, which tries one address for ever. Whoever called here comes back with another one."""

    async def connect(self) -> None:
        """Connect to the address that was issued last.

        Raises:
            TimeoutError: it leads nowhere.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await super().connect()  # type: ignore[no-untyped-call]
        finally:
            # The library switches this off for the time of trying, and its monitor would give up without it.
            self.auto_reconnect_enabled = self.default_auto_reconnect_enabled and not self.closed


class Handler(AsyncSocketModeHandler):
    """Hands envelopes to Bolt, and its answers back."""

    def __init__(self, app: AsyncApp, token: str, logger: logging.Logger) -> None:  # not super's: it makes a client
        self.app = app
        self.app_token = token
        self.client = Socket(app_token=token, logger=logger, web_client=app.client, ping_interval=PING_SECONDS)
        self.client.socket_mode_request_listeners.append(self.handle)  # type: ignore[arg-type]


@asynccontextmanager
async def connected(app: AsyncApp, token: str, logger: logging.Logger) -> AsyncIterator[None]:
    """Hold a Socket Mode connection; it is renewed when Slack asks for that, or when it breaks.

    Raises:
        DeliveryError: Slack doesn't take the token, or can't be reached.
    """
    handler = Handler(app, token, logger)
    try:
        with explained():
            handler.client.wss_uri = await handler.client.issue_new_wss_url()
            await handler.connect_async()  # type: ignore[no-untyped-call]
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]
