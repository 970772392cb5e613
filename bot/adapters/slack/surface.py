"""Where the answer to one command goes: a status message, the pictures, and what one person alone sees."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import structlog
from pydantic import ValidationError

from bot.adapters.slack import blocks
from bot.adapters.slack.address import Address, Posted
from bot.adapters.slack.blocks import Block
from bot.adapters.slack.web import Web
from bot.chat import Button, Delivery, Notice, Queued, Refusal, Removed, Reply, Sent, Stopped, Update, Working
from bot.clock import Clock
from bot.errors import DeliveryError
from bot.messages import ENGLISH, say

RESPONSES = 5
"""Uses of a response_url."""
RESPONSE_SECONDS = 29 * 60.0
"""It holds for 30 minutes."""
UPDATE_SECONDS = 1.2
"""Between two changes of messages: 50 a minute (docs.slack.dev/reference/methods/chat.update, tier 3)."""
PREVIEW_SECONDS = 5.0
"""Between two previews of a workspace: each is an upload, and a deletion (tier 3, too)."""

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
    """Keeps the changes of a workspace's messages together within a method's rate tier.

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
        previews: Updates,
        keep: Keep,
        response_url: ResponseUrl | None = None,
        locale: str = ENGLISH,
        pressed: Block | None = None,
        trigger: str | None = None,
    ) -> None:
        """Show what one command brings about.

        Args:
            web: asks Slack.
            address: whom, and where.
            pace: least seconds between two showings of progress.
            updates: how many changes of messages are left.
            previews: how many previews are left.
            keep: writes a job's address down.
            response_url: reaches the person without any permission.
            locale: of the person.
            pressed: the message whose button gave the command, as Slack sent it back.
            trigger: opens a modal for the first private answer.
        """
        self.pace = pace
        self.locale = locale
        self.address = address
        self._web = web
        self._updates = updates
        self._previews = previews
        self._keep = keep
        self._response_url = response_url
        self._pressed = pressed or {}
        self._trigger = trigger
        self._preview: str | None = None
        self._cover: str | None = None
        self._acknowledged = False

    async def show(self, update: Update) -> None:
        """Change the status message, or tell the person alone."""
        match update:
            case Queued(private=True) | Working(private=True) if not self.address.direct:
                await self._aside(update.text)
            case Queued() | Working():
                if self.address.status is None or self._updates.take():
                    await self._progress(update)
            case Stopped():
                await self._status(update.job, update.text, blocks.answer(update.text))
                self.address = self.address.model_copy(update={"status": None})
            case Reply(private=False):
                await self._web.post(self.address, update.text, blocks.answer(update.text))
            case Notice():
                await self._notice(update)
            case Removed():
                await self._removed(update)
            case Delivery():
                pass
            case _:
                await self._privately(update.text, self._answer(update))

    async def send(self, delivery: Delivery) -> str:
        """Upload the pictures; once they stand in the channel, post their parameters and buttons under them."""
        address = await self._for(delivery)
        return await self._finish(delivery, address, await self._web.upload(address, delivery))

    async def find(self, delivery: Delivery) -> str | None:
        """The pictures by their files' names, which hold the job's; what is to stand under them is posted."""
        files = await self._web.uploaded(delivery)
        return await self._finish(delivery, await self._for(delivery), files) if files else None

    async def close(self) -> None:
        """Take the status message away: everything has been said."""
        status = self.address.status
        self.address = self.address.model_copy(update={"status": None})
        try:
            if status is not None:
                await self._web.remove(self.address, status)
            await self._drop_preview()
        except DeliveryError as error:
            log.warning("status message left", reason=error.sentence)

    async def _for(self, delivery: Delivery) -> Address:
        """Where a delivery goes: what is private, to direct messages; what is to be covered, into a thread."""
        if delivery.private and not self.address.direct:
            channel = await self._web.direct(self.address.user)
            return self.address.model_copy(update={"channel": channel, "thread": None, "status": None})
        covered = any(picture.spoiler for picture in delivery.pictures)
        if not covered or self.address.thread is not None or self.address.direct:
            return self.address
        if self._cover is None:
            text = say("slack.spoiler", self.locale)
            self._cover = await self._web.post(self.address, text, blocks.answer(text))
        return self.address.model_copy(update={"thread": self._cover})

    async def _finish(self, delivery: Delivery, address: Address, files: dict[int, str]) -> str:
        """The pictures have arrived, so a message under them that Slack doesn't take at all is done without."""
        posted = Posted(channel=address.channel, files=files, cover=self._cover)
        if shared := await self._web.until_shared(list(files.values())):
            posted = posted.model_copy(update={"shared": shared, "buttons": await self._under(delivery, address)})
        if address.channel != self.address.channel:
            await self._pointed(delivery)
        return posted.model_dump_json(exclude_none=True)

    async def _under(self, delivery: Delivery, address: Address) -> str | None:
        text = " · ".join(picture.caption for picture in delivery.pictures)
        try:
            return await self._web.post(address, text, blocks.under_pictures(delivery, self.locale))
        except DeliveryError as error:
            if not error.permanent:
                raise
            log.warning("pictures without buttons", job=delivery.job, reason=error.sentence)
            return None

    async def _pointed(self, delivery: Delivery) -> None:
        """Tell the person where they asked that the pictures are in their direct messages."""
        text = say("slack.sent_privately", self.locale, pictures=len(delivery.pictures))
        try:
            await self._privately(text, blocks.answer(text))
        except DeliveryError as error:
            log.warning("not pointed to the direct message", job=delivery.job, reason=error.sentence)

    async def _aside(self, text: str) -> None:
        """A private job is acknowledged to its person alone, once: such messages can't be changed."""
        if not self._acknowledged:
            self._acknowledged = True
            await self._privately(text, blocks.answer(text))

    async def _progress(self, update: Queued | Working) -> None:
        preview = update.preview if isinstance(update, Working) else None
        shown = await self._shown(preview) if preview and self.address.status else self._preview
        try:
            message = blocks.progress(update.text, update.job, self.locale, shown)
            await self._status(update.job, update.text, message)
        except DeliveryError:
            if shown is None:
                raise
            # Slack may not be done with the file yet.
            message = blocks.progress(update.text, update.job, self.locale)
            await self._status(update.job, update.text, message)

    async def _shown(self, preview: bytes) -> str | None:
        """A preview as a file of Slack's; the one before it goes."""
        if not self._previews.take():
            return self._preview
        try:
            await self._drop_preview()
            self._preview = await self._web.upload_preview(preview)
        except DeliveryError as error:
            log.warning("preview not shown", reason=error.sentence)
        return self._preview

    async def _drop_preview(self) -> None:
        preview, self._preview = self._preview, None
        if preview is not None:
            await self._web.remove_file(preview)

    async def _status(self, job: str, text: str, message: list[Block]) -> None:
        """One message that changes; it is written down with the job, so that it can be taken away after a restart."""
        if self.address.status is not None:
            await self._web.update(self.address, self.address.status, text, message)
            return
        ts = await self._web.post(self.address, text, message)
        self.address = self.address.model_copy(update={"status": ts})
        await self._keep(job, self.address.model_dump_json())

    def _answer(self, update: Update) -> list[Block]:
        """What is said to one person, with what they can do about it."""
        text = "" if isinstance(update, Delivery) else update.text
        match update:
            case Refusal(appealable=True, job=str() as job):
                return blocks.refusal(text, job, update.index or 0, self.locale)
            case Reply(confirm=str() as confirm) if confirm:
                command, _, rest = confirm.partition(" ")
                label = say("slack_button.confirm", self.locale)
                return blocks.notice(text, (Button(label=label, command=command, text=rest),))
        return blocks.answer(text)

    async def _notice(self, notice: Notice) -> None:
        message = blocks.notice(notice.text, notice.buttons)
        if notice.channel is None:
            await self._privately(notice.text, message)
            return
        away = {"channel": notice.channel, "thread": None, "status": None}
        await self._web.post(self.address.model_copy(update=away), notice.text, message)

    async def _removed(self, update: Removed) -> None:
        for sent in update.messages:
            await self._take_back(update.job, sent)
        await self._privately(update.text, blocks.answer(update.text))

    async def _take_back(self, job: str, sent: Sent) -> None:
        try:
            posted = Posted.model_validate_json(sent.message)
        except ValidationError:
            return
        address = self.address.model_copy(update={"channel": posted.channel, "thread": None, "status": None})
        if not sent.left:
            await self._gone(address, posted.shared)
            await self._gone(address, posted.buttons)
            await self._gone(address, posted.cover)
        elif posted.buttons == self._pressed.get("ts") and (left := blocks.without(self._pressed, job, sent.left)):
            text = say("slack.pictures", self.locale, job=job)
            await self._web.update(address, str(posted.buttons), text, left)
        for index, file in posted.files.items():
            if index not in sent.left:
                await self._web.remove_file(file)

    async def _gone(self, address: Address, ts: str | None) -> None:
        """Take a message away; where its files went before, it may be gone with them."""
        if ts is None:
            return
        try:
            await self._web.remove(address, ts)
        except DeliveryError as error:
            log.warning("message left", reason=error.sentence)

    async def _privately(self, text: str, message: list[Block]) -> None:
        if not await self._in_front(message):
            await self._whispered(text, message)

    async def _in_front(self, message: list[Block]) -> bool:
        """Whether it could be shown as a modal; a trigger holds for 3 seconds alone."""
        trigger, self._trigger = self._trigger, None
        if trigger is None:
            return False
        try:
            await self._web.open_view(trigger, blocks.modal(message, self.locale))
        except DeliveryError as error:
            log.info("no modal opened", reason=error.sentence)
            return False
        return True

    async def _whispered(self, text: str, message: list[Block]) -> None:
        if self.address.direct and self._response_url is None:
            await self._web.post(self.address, text, message)
            return
        url = self._response_url.take() if self._response_url else None
        if url is None or not await self._web.respond(url, text, message):
            await self._web.whisper(self.address, text, message)


async def closing(updates: AsyncGenerator[Update, None], surface: SlackSurface) -> AsyncGenerator[Update, None]:
    """The same updates; when all have been shown, the surface is closed. A stop before that leaves it as it is."""
    async with aclosing(updates):
        async for update in updates:
            yield update
    await surface.close()
