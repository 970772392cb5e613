"""A Slack on loopback that speaks the wire protocol: Web API, uploads, events by socket or HTTP, response_urls."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType, web

from tests.fakes.slack_api import APP_TOKEN, Payload, WebApi

SECRET = "signing-secret"
PATIENCE = 10.0
"""Seconds; only a test that fails waits so long."""


def signed(body: bytes, timestamp: str, secret: str = SECRET) -> dict[str, str]:
    """The headers that make a request Slack's own."""
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest}"}


def encoded(kind: str, payload: Payload) -> tuple[bytes, str]:
    """An event as the body of a request, and its type."""
    if kind == "events_api":
        return json.dumps(payload).encode(), "application/json"
    form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
    return urlencode(form).encode(), "application/x-www-form-urlencoded"


@dataclass
class FakeSlack(WebApi):
    """The state behind the server; it outlives the bot's restarts."""

    acked: dict[str, float] = field(default_factory=dict)
    """Seconds until an envelope was acknowledged."""
    errors: dict[str, str] = field(default_factory=dict)
    """What the latest acknowledgement left standing under a form's fields."""
    connections: int = 0
    patience: float = PATIENCE
    events_url: str | None = None
    """Where the bot takes events by HTTP; without it they go down its socket."""
    hosted: dict[str, bytes] = field(default_factory=dict)
    """Files of people, by name."""
    _responses: dict[str, tuple[float, int]] = field(default_factory=dict)
    _pending: dict[str, tuple[Payload, float]] = field(default_factory=dict)
    _began: int = field(default_factory=lambda: int(time.time()))
    _requests: int = 0
    _socket: web.WebSocketResponse | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen on loopback; gives the base address of the Web API."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post("/respond/{token}", self._respond)
        app.router.add_get("/hosted/{name}", self._download)
        app.router.add_get("/socket", self._listen)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield f"{self.base}/api/"
        finally:
            await runner.cleanup()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until something has happened here."""
        async with asyncio.timeout(self.patience):
            while not seen():
                self._news.clear()
                await self._news.wait()

    # What people do

    def trigger(self, name: str | None = None) -> str:
        """A trigger_id; holds for 3 seconds, once."""
        name = name or uuid.uuid4().hex
        self.triggers[name] = self.now + 3.0
        return name

    def response_url(self) -> str:
        """An address for 5 answers in 30 minutes."""
        token = uuid.uuid4().hex
        self._responses[token] = (self.now + 1800.0, 5)
        return f"{self.base}/respond/{token}"

    def hosting(self, name: str, data: bytes, media_type: str) -> Payload:
        """A file that a person has sent, as events tell of it."""
        self.hosted[name] = data
        url = f"{self.base}/hosted/{name}"
        return {"name": name, "mimetype": media_type, "size": len(data), "url_private_download": url}

    async def emit(self, kind: str, payload: Payload, envelope: str | None = None) -> str:
        """Send an event; one that is not acknowledged is sent again on the next connection."""
        envelope = envelope or uuid.uuid4().hex
        if self.events_url is not None:
            await self._request(kind, payload, envelope)
            return envelope
        message = {"envelope_id": envelope, "type": kind, "payload": payload, "accepts_response_payload": True}
        self._pending[envelope] = (message, asyncio.get_running_loop().time())
        await self.until(lambda: self._socket is not None)
        if self._socket is not None:
            await self._socket.send_json(message)
        return envelope

    async def _request(self, kind: str, payload: Payload, envelope: str) -> None:
        body, media_type = encoded(kind, payload)
        self._pending[envelope] = ({}, asyncio.get_running_loop().time())
        # The same body twice in a second would have the same signature, as Slack's retries never have.
        self._requests += 1
        moment = self._began - self._requests % 200
        headers = signed(body, timestamp=str(moment)) | {"Content-Type": media_type}
        async with (
            aiohttp.ClientSession() as session,
            session.post(str(self.events_url), data=body, headers=headers) as response,
        ):
            if response.status != 200:
                raise AssertionError(f"the bot answered {response.status}")
            text = await response.text()
        self._acknowledged(envelope, json.loads(text) if text.startswith("{") else {})

    async def renew(self) -> None:
        """Ask the bot for a new connection, as Slack does every few hours."""
        before = self.connections
        if self._socket is not None:
            await self._socket.send_json({"type": "disconnect", "reason": "refresh_requested"})
        await self.until(lambda: self.connections > before)

    # Socket Mode

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        known = ticket in self.tickets
        self.tickets.discard(ticket)
        if not known or self.fault("socket"):
            return web.Response(status=404)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        for envelope, _ in list(self._pending.values()):
            await socket.send_json(envelope)
        self._socket = socket
        self.connections += 1
        self._news.set()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                said = json.loads(message.data)
                self._acknowledged(said["envelope_id"], said.get("payload") or {})
        if self._socket is socket:
            self._socket = None
            self._news.set()
        return socket

    @property
    def connected(self) -> bool:
        """Whether the bot holds its socket."""
        return self._socket is not None

    def _acknowledged(self, envelope: str, answer: Payload) -> None:
        _, begun = self._pending.pop(envelope, ({}, 0.0))
        self.acked[envelope] = asyncio.get_running_loop().time() - begun
        self.errors = answer.get("errors", {})
        self.shown += list(self.errors.values())
        self._news.set()

    # Web API

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        given = await arguments(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if method == "oauth.v2.access" and scheme == "Basic":
            answer = self.installed(base64.b64decode(token).decode(), given["code"])
            return web.json_response({"ok": "error" not in answer, **answer})
        if token not in ({APP_TOKEN} if method == "apps.connections.open" else self.tokens):
            return web.json_response({"ok": False, "error": "invalid_auth"})
        fault = self.fault(method)
        if fault is not None and fault.until is not None:
            self.waiting[method] += 1
            self._news.set()
            await fault.until.wait()
            fault = None
        if fault is not None and fault.drop:
            self.files = {name: file for name, file in self.files.items() if file.complete}
        if fault is not None and fault.retry_after is not None:
            headers = {"Retry-After": str(fault.retry_after)}
            self.calls.append((method, given))
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        if fault is not None and not fault.after:
            self.calls.append((method, given))
            return web.json_response({"ok": False, "error": fault.error})
        answer = self.called(method, given, self.tokens.get(token, ""))
        self._news.set()
        if fault is not None:
            return web.json_response({"ok": False, "error": fault.error})
        return web.json_response({"ok": "error" not in answer, **answer})

    async def _upload(self, request: web.Request) -> web.Response:
        self.files[request.match_info["file"]].data = await request.read()
        return web.Response(text="OK")

    async def _download(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        return web.Response(body=self.hosted[request.match_info["name"]], content_type="application/octet-stream")

    async def _respond(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        until, left = self._responses.get(token, (0.0, 0))
        if left == 0 or self.now > until:
            return web.Response(status=404, text="used_url" if left == 0 else "expired_url")
        self._responses[token] = (until, left - 1)
        given = await request.json()
        self.calls.append(("response_url", given))
        self.check(given)
        self.stand(given)
        self._news.set()
        return web.Response(text="ok")


async def arguments(request: web.Request) -> Payload:
    """Arguments of a call, however they were sent."""
    if request.content_type == "application/json":
        return dict(await request.json())
    given = {**request.query, **await request.post()}
    return {name: _read(value) for name, value in given.items()}


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
