"""Where the answer to one command goes: a status message, the pictures, and what one person alone sees."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import structlog

from bot.adapters.slack import blocks
from bot.adapters.slack.address import Address
from bot.adapters.slack.web import Web
from bot.chat import Delivery, Queued, Reply, Stopped, Update, Working
from bot.clock import Clock
from bot.errors import DeliveryError
from bot.messages import ENGLISH

RESPONSES = 5
"""Uses of a response_url."""
RESPONSE_SECONDS = 29 * 60.0
"""It holds for 30 minutes."""
UPDATE_SECONDS = 1.2
"""Between two changes of messages: 50 a minute (docs.slack.dev/reference/methods/chat.update, tier 3)."""

log = structlog.get_logger("bot.adapters.slack")
Keep = Callable[[str, str], Awaitable[None]]
"""Writes down a job's address: its id, and the address as JSON."""


class ResponseUrl:
    """The address that Slack gives with a command: it reaches the person even where the bot is no member."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._left = RESPONSES
        self._until = clock.monotonic() + RESPONSE_SECONDS

    def take(self) -> str | None:
        """The address for one more use; None if there is none left."""
        if self._left == 0 or self._clock.monotonic() > self._until:
            return None
        self._left -= 1
        return self._url


class Updates:
    """Keeps the changes of all status messages together within chat.update's rate tier.

    What is over is left out, not waited for: a later change says more.
    """

    def __init__(self, clock: Clock, seconds: float = UPDATE_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._next = -math.inf

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class SlackSurface:
    """See `bot.adapters.base.Surface`."""

    def __init__(  # noqa: PLR0913  (the adapter names each part)
        self,
        web: Web,
        address: Address,
        *,
        pace: float,
        updates: Updates,
        keep: Keep,
        response_url: ResponseUrl | None = None,
        locale: str = ENGLISH,
    ) -> None:
        self.pace = pace
        self.locale = locale
        self._web = web
        self._address = address
        self._updates = updates
        self._keep = keep
        self._response_url = response_url

    async def show(self, update: Update) -> None:
        """Change the status message, or tell the person alone."""
        match update:
            case Queued() | Working():
                if self._address.status is None or self._updates.take():
                    await self._status(update.job, update.text)
            case Stopped():
                await self._status(update.job, update.text)
                self._address = self._address.model_copy(update={"status": None})
            case Reply(private=False):
                await self._web.post(self._address, update.text, blocks.answer(update.text))
            case Delivery():
                pass
            case _:
                await self._privately(update.text)

    async def send(self, delivery: Delivery) -> str:
        """Upload the pictures; once they stand in the channel, post their parameters and buttons under them."""
        return await self._finish(delivery, await self._web.upload(self._address, delivery))

    async def find(self, delivery: Delivery) -> str | None:
        """The pictures by their files' names, which hold the job's; what is to stand under them is posted."""
        files = await self._web.uploaded(delivery)
        return await self._finish(delivery, files) if files else None

    async def close(self) -> None:
        """Take the status message away: everything has been said."""
        status = self._address.status
        if status is None:
            return
        self._address = self._address.model_copy(update={"status": None})
        try:
            await self._web.remove(self._address, status)
        except DeliveryError as error:
            log.warning("status message left", reason=error.sentence)

    async def _finish(self, delivery: Delivery, files: list[str]) -> str:
        """The pictures have arrived, so a message under them that Slack doesn't take at all is done without."""
        if await self._web.until_shared(files):
            text = " · ".join(picture.caption for picture in delivery.pictures)
            try:
                await self._web.post(self._address, text, blocks.under_pictures(delivery, self.locale))
            except DeliveryError as error:
                if not error.permanent:
                    raise
                log.warning("pictures without buttons", job=delivery.job, reason=error.sentence)
        return files[0]

    async def _status(self, job: str, text: str) -> None:
        """One message that changes; it is written down with the job, so that it can be taken away after a restart."""
        if self._address.status is not None:
            await self._web.update(self._address, self._address.status, text, blocks.answer(text))
            return
        ts = await self._web.post(self._address, text, blocks.answer(text))
        self._address = self._address.model_copy(update={"status": ts})
        await self._keep(job, self._address.model_dump_json())

    async def _privately(self, text: str) -> None:
        message = blocks.answer(text)
        if self._address.direct and self._response_url is None:
            await self._web.post(self._address, text, message)
            return
        url = self._response_url.take() if self._response_url else None
        if url is None or not await self._web.respond(url, text, message):
            await self._web.whisper(self._address, text, message)


async def closing(updates: AsyncGenerator[Update, None], surface: SlackSurface) -> AsyncGenerator[Update, None]:
    """The same updates; when all have been shown, the surface is closed. A stop before that leaves it as it is."""
    async with aclosing(updates):
        async for update in updates:
            yield update
    await surface.close()
