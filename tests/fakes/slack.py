"""A Slack on loopback that speaks the wire protocol: Web API, uploads, Socket Mode, response_urls."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes import slack_blocks

TEAM, BOT, CHANNEL, DIRECT = "T1", "UBOT", "C1", "D1"
BOT_TOKEN, APP_TOKEN = "xoxb-test", "xapp-test"
PATIENCE = 10.0
"""Seconds; only a test that fails waits so long."""
Payload = dict[str, Any]


def member(user: str, **record: Any) -> Payload:
    """A record of users.info."""
    return {"id": user, "team_id": TEAM, "name": user.lower(), "locale": "en-US"} | record


@dataclass(kw_only=True)
class File:
    """An uploaded file."""

    id: str
    name: str
    alt: str
    data: bytes = b""
    title: str = ""
    channel: str | None = None
    thread: str | None = None
    looks: int = 0
    """Times that files.info was asked before it stood in its channel."""
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one call: an error code, or a rate limit; `after` lets the call take effect first."""

    error: str = "ratelimited"
    retry_after: int | None = None
    after: bool = False


@dataclass
class FakeSlack:
    """The state behind the server; it outlives the bot's restarts."""

    users: dict[str, Payload] = field(default_factory=lambda: {"UADA": member("UADA")})
    messages: dict[str, Payload] = field(default_factory=dict)
    """Messages that stand in a channel, by timestamp; `user` is the person of one that is ephemeral."""
    shown: list[str] = field(default_factory=list)
    """Every text that somebody has been shown, in order."""
    sent: list[Payload] = field(default_factory=list)
    """Every message as it was sent."""
    files: dict[str, File] = field(default_factory=dict)
    arrived: list[File] = field(default_factory=list)
    views: list[Payload] = field(default_factory=list)
    calls: list[tuple[str, Payload]] = field(default_factory=list)
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    invited: set[str] = field(default_factory=lambda: {CHANNEL, DIRECT})
    """Channels that the bot may post in."""
    trespasses: list[str] = field(default_factory=list)
    """What no bot may do: live markup, blocks that Slack refuses, buttons before their picture."""
    looks: int = 1
    """Times that files.info is asked before a file stands in its channel."""
    now: float = 0.0
    """Seconds on the simulated clock, for triggers and response_urls."""
    acked: dict[str, float] = field(default_factory=dict)
    """Seconds until an envelope was acknowledged."""
    connections: int = 0
    patience: float = PATIENCE
    _triggers: dict[str, float] = field(default_factory=dict)
    _responses: dict[str, tuple[float, int]] = field(default_factory=dict)
    _pending: dict[str, tuple[Payload, float]] = field(default_factory=dict)
    _socket: web.WebSocketResponse | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _clock: int = 0
    base: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen on loopback; gives the base address of the Web API."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post("/respond/{token}", self._respond)
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
        self._triggers[name] = self.now + 3.0
        return name

    def response_url(self) -> str:
        """An address for 5 answers in 30 minutes."""
        token = uuid.uuid4().hex
        self._responses[token] = (self.now + 1800.0, 5)
        return f"{self.base}/respond/{token}"

    async def emit(self, kind: str, payload: Payload, envelope: str | None = None) -> str:
        """Send an envelope down the socket; one that is not acknowledged is sent again on the next connection."""
        envelope = envelope or uuid.uuid4().hex
        message = {"envelope_id": envelope, "type": kind, "payload": payload, "accepts_response_payload": True}
        self._pending[envelope] = (message, asyncio.get_running_loop().time())
        await self.until(lambda: self._socket is not None)
        if self._socket is not None:
            await self._socket.send_json(message)
        return envelope

    async def renew(self) -> None:
        """Ask the bot for a new connection, as Slack does every few hours."""
        before = self.connections
        if self._socket is not None:
            await self._socket.send_json({"type": "disconnect", "reason": "refresh_requested"})
        await self.until(lambda: self.connections > before)

    # Socket Mode

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
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
                self._acknowledged(json.loads(message.data)["envelope_id"])
        if self._socket is socket:
            self._socket = None
        return socket

    def _acknowledged(self, envelope: str) -> None:
        _, begun = self._pending.pop(envelope, ({}, 0.0))
        self.acked[envelope] = asyncio.get_running_loop().time() - begun
        self._news.set()

    # Web API

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        given = await arguments(request)
        self.calls.append((method, given))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN):
            return web.json_response({"ok": False, "error": "invalid_auth"})
        fault = self.faults[method].popleft() if self.faults[method] else None
        if fault is not None and fault.retry_after is not None:
            headers = {"Retry-After": str(fault.retry_after)}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        if fault is not None and not fault.after:
            return web.json_response({"ok": False, "error": fault.error})
        answer = getattr(self, f"_{method.replace('.', '_')}")(given)
        self._news.set()
        if fault is not None:
            return web.json_response({"ok": False, "error": fault.error})
        return web.json_response({"ok": "error" not in answer, **answer})

    def _auth_test(self, given: Payload) -> Payload:
        return {"team_id": TEAM, "user_id": BOT, "bot_id": "B1", "team": "Test", "user": "easel", "url": self.base}

    def _apps_connections_open(self, given: Payload) -> Payload:
        return {"url": self.base.replace("http", "ws") + "/socket"}

    def _users_info(self, given: Payload) -> Payload:
        user = self.users.get(given["user"])
        return {"user": user} if user else {"error": "user_not_found"}

    def _chat_postMessage(self, given: Payload) -> Payload:  # noqa: N802
        return self._refusal(given) or {"ts": self._stand(given)}

    def _chat_postEphemeral(self, given: Payload) -> Payload:  # noqa: N802
        return self._refusal(given) or {"message_ts": self._stand(given)}

    def _chat_update(self, given: Payload) -> Payload:
        if given["ts"] not in self.messages:
            return {"error": "message_not_found"}
        return self._refusal(given) or {"ts": self._stand(given, given["ts"])}

    def _chat_delete(self, given: Payload) -> Payload:
        return {} if self.messages.pop(given["ts"], None) else {"error": "message_not_found"}

    def _views_open(self, given: Payload) -> Payload:
        if self._triggers.pop(given["trigger_id"], -1.0) < self.now:
            return {"error": "invalid_trigger_id"}
        self.trespasses += slack_blocks.view_problems(given["view"])
        self.views.append(given["view"])
        return {"view": {"id": f"V{len(self.views)}"}}

    def _files_getUploadURLExternal(self, given: Payload) -> Payload:  # noqa: N802
        file = File(id=f"F{len(self.files) + 1}", name=given["filename"], alt=given["alt_txt"], looks=self.looks)
        self.files[file.id] = file
        return {"file_id": file.id, "upload_url": f"{self.base}/upload/{file.id}"}

    def _files_completeUploadExternal(self, given: Payload) -> Payload:  # noqa: N802
        if given["channel_id"] not in self.invited:
            return {"error": "channel_not_found"}
        done = [self.files[item["id"]] for item in given["files"]]
        for file, item in zip(done, given["files"], strict=True):
            file.title, file.channel, file.thread = item["title"], given["channel_id"], given.get("thread_ts")
        self.arrived += done
        return {"files": [{"id": file.id, "title": file.title} for file in done]}

    def _files_info(self, given: Payload) -> Payload:
        file = self.files[given["file"]]
        file.shared = file.shared or file.looks <= 0
        file.looks -= 1
        return {"file": {"id": file.id, "shares": {"public": {file.channel: [{"ts": "1.0"}]}} if file.shared else {}}}

    def _files_list(self, given: Payload) -> Payload:
        mine = self.arrived if given["user"] == BOT else []
        return {"files": [{"id": file.id, "name": file.name} for file in reversed(mine)]}

    async def _upload(self, request: web.Request) -> web.Response:
        self.files[request.match_info["file"]].data = await request.read()
        return web.Response(text="OK")

    async def _respond(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        until, left = self._responses.get(token, (0.0, 0))
        if left == 0 or self.now > until:
            return web.Response(status=404, text="used_url" if left == 0 else "expired_url")
        self._responses[token] = (until, left - 1)
        given = await request.json()
        self.calls.append(("response_url", given))
        self._check(given)
        self._stand(given)
        self._news.set()
        return web.Response(text="ok")

    def _refusal(self, given: Payload) -> Payload | None:
        self._check(given)
        if given["channel"] not in self.invited:
            return {"error": "channel_not_found"}
        return None

    def _check(self, given: Payload) -> None:
        found = slack_blocks.problems(given["blocks"]) + slack_blocks.live(given)
        pressable = [item for item in slack_blocks.walk(given["blocks"]) if item.get("type") == "button"]
        jobs = tuple(button["value"].split(":")[2] for button in pressable)
        waiting = [file.name for file in self.arrived if not file.shared and file.name.startswith(jobs)]
        self.trespasses += found + ([f"buttons before {waiting}"] if waiting else [])

    def _stand(self, given: Payload, ts: str | None = None) -> str:
        self._clock += 1
        ts = ts or f"{self._clock}.000100"
        self.messages[ts] = self.messages.get(ts, {}) | given
        self.sent.append(given)
        self.shown += slack_blocks.words(given["blocks"])
        return ts


async def arguments(request: web.Request) -> Payload:
    """Arguments of a call, however they were sent."""
    if request.content_type == "application/json":
        return dict(await request.json())
    given = {**request.query, **await request.post()}
    return {name: _read(value) for name, value in given.items()}


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
