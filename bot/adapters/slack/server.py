"""HTTP mode: what a proxy hands on from Slack, and the two pages of an installation.

Whatever isn't a sound request of Slack's is a 401 without a word, and nothing of it is logged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.adapters.slack.gate import Gate
from bot.adapters.slack.manifest import EVENTS_PATH, REDIRECT_PATH
from bot.adapters.slack.pages import page
from bot.errors import SettingsError
from bot.messages import say

INSTALL_PATH = "/slack/install"
MAX_BODY = 2**20
"""Bytes of a request; a view, Slack's largest value, ends at 250 kB."""
BODY_SECONDS = 10.0
"""A body that takes longer than this to arrive is none."""

log = structlog.get_logger("bot.adapters.slack")


class Events:
    """Takes what Slack sends."""

    def __init__(self, bolt: AsyncApp, gate: Gate) -> None:
        self._bolt = bolt
        self._gate = gate

    async def taken(self, request: web.Request) -> web.Response:
        """An event, a command or something pressed, as it comes over the wire."""
        body = await _body(request)
        return web.Response(status=401) if body is None else await self.answer(request.headers.items(), body)

    async def answer(self, headers: Iterable[tuple[str, str]], body: bytes) -> web.Response:
        """What a request with these headers, as often as they were sent, and this body gets."""
        signature = self._gate.signature(headers, body)
        asked = None if signature is None else _read(body)
        try:
            if asked is None or signature is None or not await self._gate.is_new(signature):
                return web.Response(status=401)
            return _answered(await self._bolt.async_dispatch(asked))
        except Exception as error:  # noqa: BLE001  (the boundary: a fault of ours is an answer that Slack repeats)
            log.warning("request not taken", error=type(error).__name__)
            return web.Response(status=503)


class Installing:
    """The two pages of an installation."""

    def __init__(self, flow: AsyncOAuthFlow) -> None:
        self._flow = flow

    async def begun(self, request: web.Request) -> web.Response:
        """Send a browser to Slack, which asks its person."""
        return await self._page(request, self._flow.handle_installation)

    async def finished(self, request: web.Request) -> web.Response:
        """Take up a browser that comes back from Slack."""
        return await self._page(request, self._flow.handle_callback)

    async def _page(
        self, request: web.Request, handle: Callable[[AsyncBoltRequest], Awaitable[BoltResponse]]
    ) -> web.Response:
        try:
            headers = {"cookie": request.headers.getall("cookie", [])}
            asked = AsyncBoltRequest(body="", query=request.query_string, headers=headers)  # type: ignore[arg-type]
            return _answered(await handle(asked))
        except Exception as error:  # noqa: BLE001  (the boundary: a browser gets a page, whatever it came with)
            log.warning("installation broke off", error=type(error).__name__)
            return _answered(page(400, say("slack.install_failed")))


def application(events: Events, installing: Installing | None = None) -> web.Application:
    """The routes, for aiohttp."""
    routes = web.Application(client_max_size=MAX_BODY)
    routes.router.add_post(EVENTS_PATH, events.taken)
    if installing is not None:
        routes.router.add_get(INSTALL_PATH, installing.begun)
        routes.router.add_get(REDIRECT_PATH, installing.finished)
    return routes


async def _body(request: web.Request) -> bytes | None:
    """The body; None if it is too long, takes too long, or breaks off."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except Exception:  # noqa: BLE001  (a body that can't be read, for whatever reason, is not Slack's)
        return None


def _read(body: bytes) -> AsyncBoltRequest | None:
    """A body as Bolt takes it; None for what Slack doesn't send.

    Bolt's own reading of a form loses those that have the word "payload" in a field; so it gets the finished dict.
    """
    try:
        return AsyncBoltRequest(body=_payload(body.decode()), mode="socket_mode")
    except Exception:  # noqa: BLE001  (bad UTF-8, bad JSON, fields of other types)
        return None


def _payload(text: str) -> dict[str, Any]:
    if not text.startswith("{"):
        form = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=100))
        if form and "payload" not in form:
            return form
        text = form.get("payload", "")
    read = json.loads(text)
    if not isinstance(read, dict) or not read:
        raise ValueError
    return read


def _answered(response: BoltResponse) -> web.Response:
    """Bolt's answer as aiohttp's; trouble of our own is a 503, after which Slack asks again."""
    answer = web.Response(status=503 if response.status == 500 else response.status, text=response.body)
    for name, values in response.headers.items():
        answer.headers.popall(name, None)
        for value in values:
            answer.headers.add(name, value)
    return answer


@asynccontextmanager
async def listening(application: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Listen for as long as the body runs.

    Raises:
        SettingsError: the address can't be had.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(say("slack.port_taken", host=host, port=port, reason=error.strerror or "")) from error
        log.info("listening", host=host, port=port)
        yield
    finally:
        await runner.cleanup()
