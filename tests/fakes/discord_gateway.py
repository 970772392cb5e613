"""The gateway of the fake Discord: a socket over which the bot identifies itself and hears of events."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord_values import APPLICATION, user

TOKEN = "MTAw.fake.token"
PRIVILEGED = (1 << 1) | (1 << 8) | (1 << 15)
"""Members, presences and message content."""


class Gateway:
    """HELLO, IDENTIFY, READY and RESUME, and no more than one bot at a time."""

    def __init__(self) -> None:
        self.address = ""
        self.ready = asyncio.Event()
        self._socket: web.WebSocketResponse | None = None
        self._sequence = count(1)

    async def connected(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 41_250}})
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                await self._said(socket, json.loads(frame.data))
        self.ready.clear()
        return socket

    async def _said(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        if said["op"] == 1:
            await socket.send_json({"op": 11})
        elif said["op"] == 2:
            if said["d"]["token"] != TOKEN or said["d"]["intents"] & PRIVILEGED:
                await socket.close(code=4004)
                return
            self._socket = socket
            await self.send("READY", self._greeting(said["d"].get("shard", [0, 1])))
            self.ready.set()
        elif said["op"] == 6:
            self._socket = socket
            await self.send("RESUMED", {})
            self.ready.set()

    def _greeting(self, shard: list[int]) -> dict[str, Any]:
        return {
            "v": 10,
            "user": user(APPLICATION, "easel", bot=True),
            "guilds": [],
            "session_id": "session",
            "resume_gateway_url": f"ws://{self.address}/gateway",
            "application": {"id": str(APPLICATION), "flags": 0},
            "shard": shard,
        }

    async def send(self, event: str, data: dict[str, Any]) -> None:
        """Tell the bot of an event."""
        assert self._socket is not None
        await self._socket.send_json({"op": 0, "t": event, "s": next(self._sequence), "d": data})

    async def drop(self) -> None:
        """Break the connection, as a restart of Discord's does."""
        assert self._socket is not None
        self.ready.clear()
        await self._socket.close(code=4000)
