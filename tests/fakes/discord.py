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

from aiohttp import BodyPartReader, web

from tests.fakes.discord_gateway import Gateway
from tests.fakes.discord_schema import violations
from tests.fakes.discord_values import APPLICATION, Asked, File, Message, Refused, user
from tests.fakes.discord_wire import check_token, named, plain_json

EPHEMERAL = 64
MAX_FILE = 10 * 2**20
FURTHER = 5
"""Further messages to an interaction where the bot itself is not on the server."""
EPOCH_MS = 1_420_070_400_000
UNHEARD = 0
"""Stands for the status of an answer that is lost: the connection breaks."""
PATIENCE = 30.0
"""Seconds; only a test that fails waits so long."""


Handler = Callable[[re.Match[str], Any, list[tuple[str, bytes]]], Awaitable[Any]]


class FakeDiscord:
    """State and rules; `serving` puts them on a port, as often as a test likes."""

    def __init__(self) -> None:
        self.patience = PATIENCE
        self.messages: list[Message] = []
        self.asked: dict[str, Asked] = {}
        self.log: list[str] = []
        """What people were shown, in order: every new message and every edit."""
        self.public: list[str] = []
        """Of these, what everybody in the channel was shown."""
        self.pictures: list[bytes] = []
        """Every file that arrived, in order."""
        self.commands: list[Any] = []
        self.judging = True
        """Whether requests are held against Discord's document, which takes time."""
        self.violations: list[str] = []
        self.unsilenced: list[str] = []
        """Requests that leave mentions on."""
        self.requests: list[str] = []
        self.closed: set[int] = set()
        """Channels in which the bot may not write."""
        self.deleted: set[int] = set()
        """Channels that are no more."""
        self.misplaced: list[str] = []
        """Further messages that would have become the first answer."""
        self.about: dict[str, Any] = {}
        """What is special about the app."""
        self.servers: list[dict[str, Any]] = []
        """Those that the bot is on."""
        self.uploads: dict[str, bytes] = {}
        """Files that people attached, by their address at the content network."""
        self.faults: list[tuple[str, int]] = []
        """Parts of `METHOD path` whose next request is answered with this status, or breaks off."""
        self.unheard: list[str] = []
        """Parts of `METHOD path` or `METHOD path with files` whose next request is taken, but its answer is lost."""
        self.pause = 0.01
        """Seconds that a status of 429 asks for."""
        self.max_file = MAX_FILE
        self.claimed_limit = MAX_FILE
        """What interactions say of it."""
        self.hang = False
        """Whether files are taken, but their sender never hears of it."""
        self.held = ""
        """A part of `METHOD path` whose requests are not even looked at."""
        self.hanging = asyncio.Event()
        self.news = asyncio.Event()
        self.gateway = Gateway()
        self._numbers = count()
        self._routes = self._routing()
        self.address = ""

    def _routing(self) -> list[tuple[str, re.Pattern[str], Handler]]:
        return [
            ("GET", re.compile(r"/users/@me"), self._me),
            ("GET", re.compile(r"/users/@me/guilds"), self._servers),
            ("GET", re.compile(r"/applications/@me"), self._application),
            ("GET", re.compile(r"/oauth2/applications/@me"), self._application),
            ("GET", re.compile(r"/gateway/bot"), self._gateway),
            ("PUT", re.compile(rf"/applications/{APPLICATION}/commands"), self._register),
            ("POST", re.compile(r"/interactions/(\d+)/([^/]+)/callback"), self._acknowledge),
            ("POST", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)"), self._follow_up),
            ("GET", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)/messages/(@original|\d+)"), self._original),
            ("PATCH", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)/messages/(@original|\d+)"), self._edit_original),
            ("DELETE", re.compile(rf"/webhooks/{APPLICATION}/([^/]+)/messages/(@original|\d+)"), self._delete_original),
            ("POST", re.compile(r"/channels/(\d+)/messages"), self._post),
            ("GET", re.compile(r"/channels/(\d+)/messages"), self._history),
            ("GET", re.compile(r"/channels/(\d+)/messages/(\d+)"), self._message),
            ("PATCH", re.compile(r"/channels/(\d+)/messages/(\d+)"), self._edit),
            ("DELETE", re.compile(r"/channels/(\d+)/messages/(\d+)"), self._delete),
            ("POST", re.compile(r"/users/@me/channels"), self._direct),
        ]

    def snowflake(self) -> int:
        """A new id, later ones larger."""
        return ((int(time.time() * 1000) - EPOCH_MS) << 22) + next(self._numbers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeDiscord]:
        """Listen on a free port of the loopback."""
        self.gateway = Gateway()
        application = web.Application(client_max_size=2**26)
        application.router.add_get("/gateway/", self.gateway.connected)
        application.router.add_get("/gateway", self.gateway.connected)
        application.router.add_get("/files/{name}", self._upload)
        application.router.add_route("*", "/api{path:.*}", self._request)
        runner = web.AppRunner(application, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        self.address = self.gateway.address = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _upload(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        await self._hold(f"GET /files/{name}")
        if name not in self.uploads:
            raise web.HTTPNotFound
        return web.Response(body=self.uploads[name])

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for something to have happened."""
        async with asyncio.timeout(self.patience):
            while not seen():
                self.news.clear()
                await self.news.wait()

    async def interaction(self, event: dict[str, Any], channel: int, pressed: Message | None = None) -> Asked:
        """Send an interaction to the bot; one with a known id is the same, sent again."""
        async with asyncio.timeout(self.patience):
            await self.gateway.ready.wait()
        number = int(event["id"])
        further = None if "0" in event["authorizing_integration_owners"] else FURTHER
        known = Asked(number, channel, f"token-{number}", pressed=pressed, further=further)
        asked = self.asked.setdefault(known.token, known)
        asked.sent = asked.sent or time.perf_counter()
        event |= {"token": asked.token, "application_id": str(APPLICATION), "version": 1}
        await self.gateway.send("INTERACTION_CREATE", event)
        return asked

    async def _request(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.requests.append(f"{request.method} {path}")
        await self._hold(f"{request.method} {path}")
        try:
            body, files = await self._body(request, path)
            check_token(path, request.headers.get("Authorization"))
            answer = await self._routed(request.method, path, body, files)
            if files and self.hang:
                self.hanging.set()
                await asyncio.Event().wait()
            self._lose(f"{request.method} {path} with files" if files else f"{request.method} {path}")
        except Refused as refusal:
            if refusal.status == UNHEARD:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            content = {"code": refusal.code, "message": refusal.text, "retry_after": self.pause, "global": False}
            return plain_json(content, refusal.status, {"Via": "1.1 loopback"})
        finally:
            self.news.set()
        limits = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "49", "X-RateLimit-Reset-After": "1"}
        return web.Response(status=204) if answer is None else plain_json(answer, 200, limits)

    async def _hold(self, asked: str) -> None:
        if self.held and self.held in asked:
            self.hanging.set()
            await asyncio.Event().wait()

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
        if self.judging:
            self.violations += violations(request.method, path, media, body)
        if isinstance(body, dict) and body.get("content") and body.get("allowed_mentions", {}).get("parse") != []:
            self.unsilenced.append(f"{request.method} {path}")
        return body, files

    async def _routed(self, method: str, path: str, body: Any, files: list[tuple[str, bytes]]) -> Any:
        fault = named([part for part, _ in self.faults], f"{method} {path}")
        if fault is not None:
            raise Refused(self.faults.pop(fault)[1], 0, "injected")
        for verb, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if verb == method and match:
                return await handler(match, body, files)
        raise Refused(404, 0, "404: Not Found")

    def _lose(self, line: str) -> None:
        """Let nobody hear of a request that was taken, where a test wants that."""
        lost = named(self.unheard, line)
        if lost is not None:
            del self.unheard[lost]
            raise Refused(UNHEARD, 0, "the answer is lost")

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
        } | self.about

    async def _servers(self, match: re.Match[str], body: Any, files: Any) -> Any:
        return self.servers

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
        asked.acknowledged, asked.answered = True, time.perf_counter()
        resource: dict[str, Any] = {"id": str(asked.id), "type": 2}
        if body["type"] == 9:
            asked.form = body["data"]
        else:
            flags = body.get("data", {}).get("flags", 0)
            resource |= self._answered(asked, body, flags)
        return {"interaction": resource}

    def _answered(self, asked: Asked, body: Any, flags: int) -> dict[str, Any]:
        """The first answer: one to be written (5), one that is there at once (4), or the message pressed (6)."""
        if body["type"] == 8:
            asked.choices = body["data"]["choices"]
            return {}
        if body["type"] == 6:
            asked.first = asked.pressed
            return {}
        asked.first = Message(self.snowflake(), asked.channel, flags=flags, loading=body["type"] == 5)
        self.messages.append(asked.first)
        if body["type"] == 4:
            self._write(asked.first, body["data"], [])
        return {"response_message_id": str(asked.first.id), "response_message_ephemeral": bool(flags)}

    def _of_token(self, token: str) -> Asked:
        asked = self.asked.get(token)
        if asked is None or not asked.acknowledged:
            raise Refused(404, 10015, "Unknown Webhook")
        if asked.expired:
            raise Refused(401, 50027, "Invalid Webhook Token")
        return asked

    def _by_token(self, match: re.Match[str]) -> tuple[Asked, Message]:
        """The message that a token reaches under this name."""
        asked = self._of_token(match[1])
        if asked.channel in self.deleted:
            raise Refused(404, 10003, "Unknown Channel")
        if match[2] == "@original":
            message = asked.first
        else:
            message = next((known for known in self.messages if known.id == int(match[2])), None)
        if message is None or message.gone:
            raise Refused(404, 10008, "Unknown Message")
        return asked, message

    def _forget(self, message: Message) -> None:
        message.gone = True
        self.messages.remove(message)

    async def _original(self, match: re.Match[str], body: Any, files: Any) -> Any:
        return self._by_token(match)[1].shown()

    async def _edit_original(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        message = self._by_token(match)[1]
        self._write(message, body, files)
        return message.shown()

    async def _delete_original(self, match: re.Match[str], body: Any, files: Any) -> Any:
        self._forget(self._by_token(match)[1])

    async def _follow_up(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        asked = self._of_token(match[1])
        if asked.channel in self.deleted:
            raise Refused(404, 10003, "Unknown Channel")
        if asked.first is not None and asked.first.loading and not asked.first.gone:
            # Discord takes the first further message for the answer that is still being thought about.
            self.misplaced.append(body.get("content", ""))
        asked.count_further()
        message = Message(self.snowflake(), asked.channel, flags=body.get("flags", 0))
        self._write(message, body, files)
        self.messages.append(message)
        return message.shown()

    async def _post(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        channel = int(match[1])
        if channel in self.deleted:
            raise Refused(404, 10003, "Unknown Channel")
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
        message.loading = False
        message.content = body.get("content") or message.content
        message.components = body.get("components", message.components) or []
        if "attachments" in body:
            message.files = self._files(message, body["attachments"], files)
        self.log.append(message.content)
        if not message.flags & EPHEMERAL:
            self.public.append(message.content)

    def _files(self, message: Message, named: list[dict[str, Any]], files: list[tuple[str, bytes]]) -> list[File]:
        """What a message holds after an edit: new files by their place in the request, others by their id."""
        there = {file.id: file for file in message.files}
        kept = [there[int(entry["id"])] for entry in named if int(entry["id"]) in there]
        texts = {int(entry["id"]): entry.get("description", "") for entry in named}
        new = [File(self.snowflake(), name, texts.get(place, ""), data) for place, (name, data) in enumerate(files)]
        return [*kept, *(file if file.name.startswith("preview") else self.arrived(file) for file in new)]

    def arrived(self, file: File) -> File:
        """Take note of a picture; returns what is kept of it."""
        self.pictures.append(file.data)
        return file

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

    async def _edit(self, match: re.Match[str], body: Any, files: list[tuple[str, bytes]]) -> Any:
        message = self._known(match)
        self._write(message, body, files)
        return message.shown()

    async def _delete(self, match: re.Match[str], body: Any, files: Any) -> Any:
        self._forget(self._known(match))

    async def _direct(self, match: re.Match[str], body: Any, files: Any) -> Any:
        person = int(body["recipient_id"])
        return {"id": str(person + 5000), "type": 1, "recipients": [user(person, "ada")], "last_message_id": None}
