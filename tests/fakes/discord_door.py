"""Discord's other way in: interactions that it signs and posts, where the fake would use its gateway."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = KEY.public_key().public_bytes_raw().hex()

Post = Callable[[dict[str, str], bytes], Awaitable[int]]
"""Posts headers and body, and returns the status."""


def signed(body: bytes, timestamp: object | None = None, key: Ed25519PrivateKey = KEY) -> dict[str, str]:
    """The headers with which Discord posts a body."""
    moment = str(int(time.time()) if timestamp is None else timestamp)
    signature = key.sign(moment.encode() + body).hex()
    return {"x-signature-ed25519": signature, "x-signature-timestamp": moment, "content-type": "application/json"}


class Door:
    """Stands in the place of `FakeDiscord.gateway`."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._moment = int(time.time())
        """Of every request, so that the same event is the same request however long that takes."""
        self.ready = asyncio.Event()
        self.statuses: list[int] = []

    async def send(self, name: str, event: dict[str, Any]) -> None:
        """Post an event."""
        body = json.dumps(event | {"t": name}).encode()
        self.statuses.append(await self._post(signed(body, self._moment), body))
