"""Discord without a gateway: interactions that Discord posts to an address of ours, each signed.

What is taken is handed to the same client as from the gateway, which answers through Discord's API; only a ping must be
answered in place. See discord.com/developers/docs/interactions/overview.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import discord
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.discord.client import EaselClient, use_addresses
from bot.adapters.discord.incoming import PLATFORM
from bot.adapters.discord.surface import PACE_SECONDS
from bot.clock import Clock, SystemClock
from bot.dispatch import Dispatcher
from bot.errors import SettingsError
from bot.settings import Settings

WINDOW_SECONDS = 300.0
"""How far a request's time may be from ours; Discord's own helpers check none."""
LOGIN_SECONDS = 2.0
"""How long a request waits for the client; Discord gives up after 3."""
REMEMBERED = 100_000
"""Requests that are known again: those of the whole window, at three hundred a second."""
PING, PONG = 1, {"type": 1}
SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)

log = structlog.get_logger("bot.adapters.discord")


class Answer(NamedTuple):
    """What a request is answered with at once."""

    status: int
    body: dict[str, Any] | None = None


class Signatures:
    """Tells what Discord has signed, just now, and for the first time.

    Raises:
        SettingsError: the key is none.
    """

    def __init__(self, public_key: str, clock: Clock) -> None:
        try:
            self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        except ValueError as error:
            raise SettingsError(messages.say("discord.bad_key")) from error
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()

    def sound(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a request, its headers in lower case, is Discord's and new."""
        signature = headers.get("x-signature-ed25519", "").lower()
        timestamp = headers.get("x-signature-timestamp", "")
        if not SIGNATURE.fullmatch(signature) or not TIMESTAMP.fullmatch(timestamp):
            return False
        try:
            self._key.verify(bytes.fromhex(signature), timestamp.encode() + body)
        except InvalidSignature:
            return False
        return abs(self._clock.now() - int(timestamp)) <= WINDOW_SECONDS and self._is_new(signature)

    def _is_new(self, signature: str) -> bool:
        if signature in self._seen:
            return False
        self._seen[signature] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True


class DiscordByHTTP:
    """Takes what Discord posts, while `run` runs."""

    name = PLATFORM

    def __init__(self, settings: Settings, *, clock: Clock | None = None, pace: float = PACE_SECONDS) -> None:
        """Speak with this installation's token, and listen to its app.

        Raises:
            SettingsError: token or public key are missing, or the key is none.
        """
        if settings.discord_token is None or settings.discord_public_key is None:
            raise SettingsError(messages.say("discord.half_http"))
        self._token = settings.discord_token.get_secret_value()
        self._settings = settings
        self._pace = pace
        self._signatures = Signatures(settings.discord_public_key, clock or SystemClock())
        self._client: EaselClient | None = None
        self.ready = asyncio.Event()
        """Set while requests can be taken."""

    async def run(self, dispatcher: Dispatcher) -> None:
        """Answer until cancelled.

        Raises:
            SettingsError: Discord refuses the token, or can't be reached at the start.
        """
        async with self._logged_in(dispatcher) as client:
            self._client = client
            self.ready.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ready.clear()
                self._client = None

    async def taken(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take a request, its headers in lower case; what it asks for is answered through Discord's API."""
        if not self._signatures.sound(headers, body):
            return Answer(401)
        try:
            event = json.loads(body)
            if event["type"] == PING:
                return Answer(200, PONG)
            client = await self._logged_in_client()
            if client is None:
                return Answer(503)
            # The same entry as the gateway's, below discord.py's public surface: it has none for HTTP.
            client._connection.parse_interaction_create(event)  # noqa: SLF001
        except (ValueError, KeyError, TypeError) as error:
            log.warning("request not understood", error=type(error).__name__)
            return Answer(400)
        return Answer(202)

    async def _logged_in_client(self) -> EaselClient | None:
        """The client, once it has logged in; None if that takes too long."""
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                await self.ready.wait()
        except TimeoutError:
            return None
        return self._client

    @asynccontextmanager
    async def _logged_in(self, dispatcher: Dispatcher) -> AsyncIterator[EaselClient]:
        use_addresses(self._settings.discord_api, self._settings.discord_gateway)
        answers = Answers(dispatcher)
        client = EaselClient(dispatcher, answers, pace=self._pace, images=self._settings.image_input)
        async with client, answers:
            try:
                await client.login(self._token)
            except discord.LoginFailure as error:
                raise SettingsError(messages.say("discord.bad_token")) from error
            except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
                raise SettingsError(messages.say("discord.lost", reason=messages.shorten(str(error), 200))) from error
            yield client
