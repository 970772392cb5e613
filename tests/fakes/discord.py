"""A Discord on loopback: enough of REST API and gateway for a bot, with the real one's refusals."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from aiohttp import BodyPartReader, WSMsgType, web

from tests.fakes.discord_schema import violations
from tests.fakes.discord_values import APPLICATION, Asked, Message, Refused, user

TOKEN = "MTAw.fake.token"
EPHEMERAL = 64
PRIVILEGED = (1 << 1) | (1 << 8) | (1 << 15)
"""Members, presences and message content."""
MAX_FILE = 10 * 2**20
EPOCH_MS = 1_420_070_400_000
UNAUTHORISED = ("/webhooks/", "/interactions/")
"""What the token in the path is enough for."""
PATIENCE = 10.0
"""Seconds; only a test that fails waits so long."""


def check_token(path: str, header: str | None) -> None:
    """Refuse a request without the bot's token where one is needed."""
    if not path.startswith(UNAUTHORISED) and header != f"Bot {TOKEN}":
        raise Refused(401, 0, "401: Unauthorized")


def plain_json(answer: Any, status: int, headers: dict[str, str]) -> web.Response:
    """JSON with the bare media type that Discord gives, which discord.py looks for."""
    headers |= {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(answer).encode(), status=status, headers=headers)


Handler = Callable[[re.Match[str], Any, list[tuple[str, bytes]]], Awaitable[Any]]


class FakeDiscord:
    """State and rules; `serving` puts them on a port, as often as a test likes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.asked: dict[str, Asked] = {}
        self.log: list[str] = []
        """What people were shown, in order: every new message and every edit."""
        self.pictures: list[bytes] = []
        """Every file that arrived, in order."""
        self.commands: list[Any] = []
        self.violations: list[str] = []
        self.unsilenced: list[str] = []
        """Requests that leave mentions on."""
        self.requests: list[str] = []
        self.closed: set[int] = set()
        """Channels in which the bot may not write."""
        self.faults: list[tuple[str, int]] = []
        """Parts of `METHOD path` whose next request is answered with this status."""
        self.max_file = MAX_FILE
        self.claimed_limit = MAX_FILE
        """What interactions say of it."""
        self.hang = False
        """Whether files are taken, but their sender never hears of it."""
        self.hanging = asyncio.Event()
        self.news = asyncio.Event()
        self.ready = asyncio.Event()
        self._socket: web.WebSocketResponse | None = None
        self._sequence = count(1)
        self._numbers = count()
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            ("GET", re.compile(r"/users/@me"), self._me),
            ("GET", re.compile(r"/applications/@me"), self._application),
            ("GET", re.compile(r"/oauth2/applications/@me"), self._application),
            ("GET", re.compile(r"/gateway/bot"), self._gateway),
            ("PUT", re.compile(rf"/applications/{APPLICATION}/commands"), self._register),
            ("POST", re.compile(r"/interactions/(\d+)/([^/]+)/callback"), self._acknowledge),
            ("POST", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)"), self._follow_up),
            ("GET", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)/messages/@original"), self._original),
            ("PATCH", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)/messages/@original"), self._edit_original),
            ("DELETE", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)/messages/@original"), self._delete_original),
            ("POST", re.compile(r"/channels/(\d+)/messages"), self._post),
            ("GET", re.compile(r"/channels/(\d+)/messages"), self._history),
            ("GET", re.compile(r"/channels/(\d+)/messages/(\d+)"), self._message),
            ("DELETE", re.compile(r"/channels/(\d+)/messages/(\d+)"), self._delete),
            ("POST", re.compile(r"/users/@me/channels"), self._direct),
        ]
        self.address = ""

    def snowflake(self) -> int:
        """A new id, later ones larger."""
        return ((int(time.time() * 1000) - EPOCH_MS) << 22) + next(self._numbers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeDiscord]:
        """Listen on a free port of the loopback."""
        self.ready = asyncio.Event()
        application = web.Application(client_max_size=2**26)
        application.router.add_get("/gateway/", self._connected)
        application.router.add_get("/gateway", self._connected)
        application.router.add_route("*", "/api{path:.*}", self._request)
        runner = web.AppRunner(application, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for something to have happened."""
        async with asyncio.timeout(PATIENCE):
            while not seen():
                self.news.clear()
                await self.news.wait()

    # The gateway.

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 41_250}})
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                await self._gateway_said(socket, json.loads(frame.data))
        self.ready.clear()
        return socket

    async def _gateway_said(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        if said["op"] == 1:
            await socket.send_json({"op": 11})
        elif said["op"] == 2:
            if said["d"]["token"] != TOKEN or said["d"]["intents"] & PRIVILEGED:
                await socket.close(code=4004)
                return
            self._socket = socket
            ready = {
                "v": 10,
                "user": user(APPLICATION, "easel", bot=True),
                "guilds": [],
                "session_id": "session",
                "resume_gateway_url": f"ws://{self.address}/gateway",
                "application": {"id": str(APPLICATION), "flags": 0},
                "shard": said["d"].get("shard", [0, 1]),
            }
            await self._send("READY", ready)
            self.ready.set()
        elif said["op"] == 6:
            self._socket = socket
            await self._send("RESUMED", {})
            self.ready.set()

    async def _send(self, event: str, data: dict[str, Any]) -> None:
        assert self._socket is not None
        await self._socket.send_json({"op": 0, "t": event, "s": next(self._sequence), "d": data})

    async def drop_connection(self) -> None:
        """Break the gateway connection, as a restart of Discord's does."""
        assert self._socket is not None
        self.ready.clear()
        await self._socket.close(code=4000)

    async def interaction(self, event: dict[str, Any], channel: int) -> Asked:
        """Send an interaction to the bot; one with a known id is the same, sent again."""
        async with asyncio.timeout(PATIENCE):
            await self.ready.wait()
        number = int(event["id"])
        asked = self.asked.setdefault(f"token-{number}", Asked(number, channel, f"token-{number}"))
        event |= {"token": asked.token, "application_id": str(APPLICATION), "version": 1}
        await self._send("INTERACTION_CREATE", event)
        return asked

    # The REST API.

    async def _request(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.requests.append(f"{request.method} {path}")
        try:
            body, files = await self._body(request, path)
            check_token(path, request.headers.get("Authorization"))
            answer = await self._routed(request.method, path, body, files)
            if files and self.hang:
                self.hanging.set()
                await asyncio.Event().wait()
        except Refused as refusal:
            content = {"code": refusal.code, "message": refusal.text, "retry_after": 0.01, "global": False}
            return plain_json(content, refusal.status, {})
        finally:
            self.news.set()
        limits = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "49", "X-RateLimit-Reset-After": "1"}
        return web.Response(status=204) if answer is None else plain_json(answer, 200, limits)

    async def _body(self, request: web.Request, path: str) -> tuple[Any, list[tuple[str, bytes]]]:
        """The JSON body and the files, judged by the document and by the rule that nobody is ever mentioned."""
        body: Any = None
        files: list[tuple[str, bytes]] = []
        media = request.content_type
        if media == "multipart/form-data":
            async for part in await request.multipart():
                assert isinstance(part, BodyPartReader)
                data = bytes(await part.read())
                if part.name == "payload_json":
                    body = json.loads(data)
                else:
                    files.append((part.filename or "", data))
        elif request.can_read_body:
            body = await request.json()
        self.violations += violations(request.method, path, media, body)
        if isinstance(body, dict) and body.get("content") and body.get("allowed_mentions", {}).get("parse") != []:
            self.unsilenced.append(f"{request.method} {path}")
        return body, files

    async def _routed(self, method: str, path: str, body: Any, files: list[tuple[str, bytes]]) -> Any:
        for fault in self.faults:
            if fault[0] in f"{method} {path}":
                self.faults.remove(fault)
                raise Refused(fault[1], 0, "injected")
        for verb, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if verb == method and match:
                return await handler(match, body, files)
        raise Refused(404, 0, "404: Not Found")

    async def _me(self, match: re.Match[str], body: Any, files: Any) -> Any:
        return user(APPLICATION, "easel", bot=True)

    async def _application(self, match: re.Match[str], body: Any, files: Any) -> Any:
        return {
            "id": str(APPLICATION),
            "name": "easel",
            "description": "",
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": 0,
            "icon": None,
            "summary": "",
            "owner": user(1, "owner"),
            "team": None,
        }

    async def _gateway(self, match: re.Match[str], body: Any, files: Any) -> Any:
        limit = {"total": 1000, "remaining": 999, "reset_after": 1000, "max_concurrency": 1}
        return {"url": f"ws://{self.address}/gateway", "shards": 1, "session_start_limit": limit}

    async def _register(self, match: re.Match[str], body: Any, files: Any) -> Any:
        self.commands = body
        return body

    async def _acknowledge(self, match: re.Match[str], body: Any, files: Any) -> Any:
        asked = self.asked.get(match[2])
        if asked is None or asked.expired:
            raise Refused(404, 10062, "Unknown interaction")
        if asked.acknowledged:
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        asked.acknowledged = True
        resource: dict[str, Any] = {"id": str(asked.id), "type": 2}
        if body["type"] == 9:
            asked.form = body["data"]
        else:
            flags = body.get("data", {}).get("flags", 0)
            asked.first = Message(self.snowflake(), asked.channel, flags=flags)
            self.messages.append(asked.first)
            resource |= {"response_message_id": str(asked.first.id), "response_message_ephemeral": bool(flags)}
        return {"interaction": resource}

    def _of_token(self, token: str) -> Asked:
        asked = self.asked.get(token)
        if asked is None:
            raise Refused(404, 10015, "Unknown Webhook")
        if asked.expired:
            raise Refused(401, 50027, "Invalid Webhook Token")
        return asked

    def _first(self, token: str) -> tuple[Asked, Message]:
        asked = self._of_token(token)
        if asked.first is None:
            raise Refused(404, 10008, "Unknown Message")
        return asked, asked.first

    async def _original(self, match: re.Match[str], body: Any, files: Any) -> Any:
        return self._first(match[1])[1].shown()

    async def _edit_original(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        message = self._first(match[1])[1]
        self._write(message, body, files)
        return message.shown()

    async def _delete_original(self, match: re.Match[str], body: Any, files: Any) -> Any:
        asked, message = self._first(match[1])
        self.messages.remove(message)
        asked.first = None

    async def _follow_up(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        asked = self._of_token(match[1])
        message = Message(self.snowflake(), asked.channel, flags=body.get("flags", 0))
        self._write(message, body, files)
        self.messages.append(message)
        return message.shown()

    async def _post(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        channel = int(match[1])
        if channel in self.closed:
            raise Refused(403, 50013, "Missing Permissions")
        nonce = body.get("nonce")
        for known in self.messages:
            if nonce is not None and known.nonce == nonce and body.get("enforce_nonce"):
                return known.shown()
        message = Message(self.snowflake(), channel, nonce=nonce)
        self._write(message, body, files)
        self.messages.append(message)
        return message.shown()

    def _write(self, message: Message, body: dict[str, Any], files: list[tuple[str, bytes]]) -> None:
        if any(len(data) > self.max_file for _, data in files):
            raise Refused(413, 40005, "Request entity too large")
        message.content = body.get("content") or message.content
        message.components = body.get("components") or message.components
        if "attachments" in body:
            texts = {int(file["id"]): file.get("description", "") for file in body["attachments"]}
            message.files = [(name, texts.get(number, ""), data) for number, (name, data) in enumerate(files)]
            self.pictures += [data for _, data in files]
        self.log.append(message.content)

    async def _history(self, match: re.Match[str], body: Any, files: Any) -> Any:
        if int(match[1]) in self.closed:
            raise Refused(403, 50001, "Missing Access")
        visible = [message for message in self.messages if message.channel == int(match[1])]
        return [message.shown() for message in reversed(visible) if not message.flags & EPHEMERAL]

    def _known(self, match: re.Match[str]) -> Message:
        for message in self.messages:
            if message.id == int(match[2]):
                return message
        raise Refused(404, 10008, "Unknown Message")

    async def _message(self, match: re.Match[str], body: Any, files: Any) -> Any:
        return self._known(match).shown()

    async def _delete(self, match: re.Match[str], body: Any, files: Any) -> Any:
        self.messages.remove(self._known(match))

    async def _direct(self, match: re.Match[str], body: Any, files: Any) -> Any:
        person = int(body["recipient_id"])
        return {"id": str(person + 5000), "type": 1, "recipients": [user(person, "ada")], "last_message_id": None}
