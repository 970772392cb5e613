"""Where the answer to one command goes: a status message, the pictures, and what one person alone sees."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import structlog

from bot.adapters.slack import blocks
from bot.adapters.slack.address import Address, Posted, Upload
from bot.adapters.slack.blocks import Block
from bot.adapters.slack.limits import ResponseUrl, Updates
from bot.adapters.slack.removal import Removal
from bot.adapters.slack.trouble import SlackError, hurried, translated
from bot.adapters.slack.uploads import Files
from bot.adapters.slack.web import Web
from bot.chat import Button, Delivery, Notice, Queued, Refusal, Removed, Reply, Stopped, Update, Working
from bot.errors import DeliveryError
from bot.messages import ENGLISH, say

log = structlog.get_logger("bot.adapters.slack")
UNINVITED = frozenset({"not_in_channel", "channel_not_found"})
"""Of files in channels that the bot is no member of; its messages are taken in public ones all the same."""
Keep = Callable[[str, str], Awaitable[None]]
"""Writes down a job's address: its id, and the address as JSON."""


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
        trigger: str | None = None,
        looking: Callable[[], bool] = lambda: True,
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
            trigger: opens a modal for the first private answer.
            looking: whether the person is likely to look at the channel still: whispers reach only those who do.
        """
        self.pace = pace
        self.locale = locale
        self.address = address
        self.elsewhere = False
        """The person asked where the bot can't post, so that they have to be told where the answer is."""
        self._web = web
        self._removal = Removal(web)
        self._updates = updates
        self._previews = previews
        self._keep = keep
        self._response_url = response_url
        self._trigger = trigger
        self._looking = looking
        self._acknowledged = False
        self._begun = False
        self._silent = False
        self._uninvited = ""
        """Why the pictures are elsewhere, if it is for want of an invitation."""
        self._saying: Update | None = None
        self._unsaid: list[list[Block]] = []
        """The messages of `_saying` that have not been sent."""

    async def show(self, update: Update) -> None:
        """Change the status message, or tell the person alone."""
        match update:
            case Queued(private=True) | Working(private=True) if not self.address.direct:
                await self._aside(update.text)
            case Queued() | Working():
                await self._progress(update)
            case Stopped():
                await self._stopped(update)
            case Reply(private=False):
                left = self._left(update)
                while left:
                    await self._web.post(self.address, update.text, left[0])
                    del left[0]
            case Notice():
                await self._notice(update)
            case Removed():
                await self._removed(update)
            case Delivery():
                pass
            case _:
                await self._privately(update.text, self._left(update))

    async def send(self, delivery: Delivery) -> str:
        """Upload the pictures; once they stand in the channel, post their parameters and buttons under them."""

        async def announced(files: Files) -> None:
            upload = Upload(files=files, lines=blocks.lines(delivery), locale=self.locale)
            await self._note(delivery.job, uploads={**self.address.uploads, delivery.part: upload})

        with translated(self.locale):
            try:
                address = await self._for(delivery)
                files = await self._web.uploads.send(address, delivery, announced)
            except SlackError as error:
                if error.code not in UNINVITED or delivery.private or self.address.direct:
                    raise
                await self._move(delivery.job, error.told(self.locale))
                address = self.address
                files = await self._web.uploads.send(address, delivery, announced)
            return await self._finish(delivery, address, files)

    async def find(self, delivery: Delivery) -> str | None:
        """The pictures that an earlier attempt has uploaded, brought to where they belong; None if there are none.

        None, too, where they can't be brought for want of an invitation, which `send` knows what to do about.
        """
        with translated(self.locale):
            try:
                return await self._found(delivery)
            except SlackError as error:
                if error.code not in UNINVITED:
                    raise
                return None

    async def _found(self, delivery: Delivery) -> str | None:
        address = await self._for(delivery)
        begun = self.address.uploads.get(delivery.part)
        files: Files = {}
        if begun is not None and set(begun.files) == {picture.image.index for picture in delivery.pictures}:
            files = await self._web.uploads.finish(address, delivery, begun.files)
        files = files or await self._web.uploads.find(delivery)
        return await self._finish(delivery, address, files) if files else None

    async def close(self) -> None:
        """Take the status message away: everything has been said."""
        left, self.address = self.address, self.address.model_copy(update={"status": None, "preview": None})
        if left.status is not None:
            await self._removal.message(left, left.status)
        if left.preview is not None:
            await self._removal.file(left.preview)

    async def _note(self, job: str, **changes: Any) -> None:  # noqa: ANN401  (fields of the address)
        """Change the address, and write it down with the job, for whoever goes on with it after a restart."""
        self.address = self.address.model_copy(update=changes)
        await self._keep(job, self.address.model_dump_json(exclude_defaults=True))

    async def _move(self, job: str, why: str) -> None:
        """Go on in the person's direct messages; what stands in the channel so far is taken away."""
        left, own = self.address, await self._web.direct(self.address.user)
        await self.close()
        if left.cover is not None:
            await self._removal.message(left, left.cover)
        self.elsewhere, self._uninvited = True, why
        await self._note(job, channel=own, thread=None, fresh=False, status=None, preview=None, cover=None, uploads={})

    # Pictures.

    async def _for(self, delivery: Delivery) -> Address:
        """Where a delivery goes: what is private, to direct messages; what is to be covered, into a thread."""
        if delivery.private and not self.address.direct:
            channel = await self._web.direct(self.address.user)
            return self.address.model_copy(update={"channel": channel, "thread": None, "status": None})
        covered = any(picture.spoiler for picture in delivery.pictures)
        if not covered or self.address.thread is not None or self.address.direct:
            return self.address
        if self.address.cover is None:
            text = say("slack.spoiler", self.locale)
            await self._note(delivery.job, cover=await self._web.post(self.address, text, blocks.answer(text)))
        return self.address.model_copy(update={"thread": self.address.cover})

    async def _finish(self, delivery: Delivery, address: Address, files: Files) -> str:
        """The pictures have arrived: what goes wrong from now on, unless Slack is away, is done without."""
        cover = self.address.cover if address.thread == self.address.cover else None
        posted = Posted(channel=address.channel, files=files, cover=cover)
        try:
            if shared := await self._web.uploads.until_shared(files.values()):
                posted = posted.model_copy(update={"shared": shared})
                posted = posted.model_copy(update={"buttons": await self._under(delivery, address)})
        except DeliveryError as error:
            if error.away:
                raise
            log.warning("pictures without buttons", job=delivery.job, reason=error.sentence)
        if self.elsewhere or address.channel != self.address.channel:
            await self._pointed(delivery)
        return posted.model_dump_json(exclude_none=True)

    async def _under(self, delivery: Delivery, address: Address) -> str:
        text = " · ".join(picture.caption for picture in delivery.pictures)
        return await self._web.post(address, text, blocks.under(delivery.job, blocks.lines(delivery), self.locale))

    async def _pointed(self, delivery: Delivery) -> None:
        """Tell the person where they asked that the pictures are in their direct messages, if they still look there."""
        if not (self._looking() or self._uninvited):
            return
        text = say("slack.sent_privately", self.locale, pictures=len(delivery.pictures))
        text, self._uninvited = f"{text} {self._uninvited}".strip(), ""
        try:
            await self._privately(text, [blocks.answer(text)])
        except DeliveryError as error:
            log.warning("not pointed to the direct message", job=delivery.job, reason=error.sentence)

    # How far a job has come.

    async def _aside(self, text: str) -> None:
        """A private job is acknowledged to its person alone, once: such messages can't be changed."""
        if not self._acknowledged:
            self._acknowledged = True
            await self._privately(text, [blocks.answer(text)])

    async def _progress(self, update: Queued | Working) -> None:
        """The first word goes out at once, further ones as far as Slack allows, and none where it takes none at all."""
        if self.elsewhere:
            await self._aside(update.text)
        if self._silent or (self._begun and not self._updates.take()):
            return
        self._begun = True
        before = self.address.preview
        try:
            await self._shown(update)
        except SlackError as error:
            self._updates.pause(error.wait)
            self._silent = error.permanent and self.address.status is None
            raise
        if before not in (None, self.address.preview):
            await self._removal.file(str(before))

    async def _shown(self, update: Queued | Working) -> None:
        preview = await self._preview(update)
        try:
            await self._status(update, preview)
        except SlackError as error:
            if preview is None or error.wait:
                raise
            # Slack may not be done with the file yet.
            await self._status(update, None)

    async def _status(self, update: Queued | Working, preview: str | None) -> None:
        """One message that changes."""
        message = blocks.progress(update.text, update.job, self.locale, preview)
        if self.address.status is None:
            await self._note(update.job, status=await self._web.post(self.address, update.text, message))
            return
        async with hurried():
            await self._web.update(self.address, self.address.status, update.text, message)

    async def _preview(self, update: Queued | Working) -> str | None:
        """What the picture is becoming, as a file of Slack's: the latest one, where there is any."""
        data = update.preview if isinstance(update, Working) else None
        if data is not None and self.address.status is not None and self._previews.take():
            try:
                async with hurried():
                    preview = await self._web.uploads.preview(data)
                await self._note(update.job, preview=preview)
            except DeliveryError as error:
                log.warning("preview not shown", reason=error.sentence)
        return self.address.preview

    async def _stopped(self, update: Stopped) -> None:
        """Say so where its progress stood; where nobody saw any, as of what is private, to the person alone."""
        if self.address.status is not None:
            try:
                await self._web.update(self.address, self.address.status, update.text, blocks.answer(update.text))
            except DeliveryError as error:
                log.warning("status message not changed", job=update.job, reason=error.sentence)
            else:
                self.address = self.address.model_copy(update={"status": None})
                return
        await self._privately(update.text, [blocks.answer(update.text)])

    # What one person alone reads.

    def _answer(self, update: Update) -> list[list[Block]]:
        """What is said to one person, with what they can do about it."""
        text = "" if isinstance(update, Delivery) else update.text
        match update:
            case Refusal(appealable=True, job=str() as job):
                return [blocks.refusal(text, job, update.index or 0, self.locale)]
            case Reply(confirm=str() as confirm) if confirm:
                command, _, rest = confirm.partition(" ")
                label = say("slack_button.confirm", self.locale)
                return [blocks.notice(text, (Button(label=label, command=command, text=rest),))]
        return blocks.pages(text)

    async def _notice(self, notice: Notice) -> None:
        message = blocks.notice(notice.text, notice.buttons)
        if notice.channel is None:
            await self._privately(notice.text, [message])
            return
        away = {"channel": notice.channel, "thread": None, "status": None}
        await self._web.post(self.address.model_copy(update=away), notice.text, message)

    def _left(self, update: Update) -> list[list[Block]]:
        """What is still to be sent of an answer: when it is shown again, only what didn't get through before."""
        if self._saying is not update:
            self._saying, self._unsaid = update, self._answer(update)
        return self._unsaid

    async def _privately(self, text: str, messages: list[list[Block]]) -> None:
        """Say it to the person alone; every message that is sent is taken from the list."""
        if await self._in_front([block for message in messages for block in message]):
            return
        while messages:
            await self._whispered(text, messages[0])
            del messages[0]

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
        """By the first way that works: where the command was given, in the channel, in direct messages, which last."""
        for way in (self._responded, self._ephemeral) if self._looking() else ():
            try:
                if await way(text, message):
                    return
            except DeliveryError as error:
                log.info("not told this way", way=way.__name__, reason=error.sentence)
        channel = self.address.channel if self.address.direct else await self._web.direct(self.address.user)
        changes = {"channel": channel} if self.address.direct else {"channel": channel, "thread": None}
        await self._web.post(self.address.model_copy(update=changes), text, message)

    async def _responded(self, text: str, message: list[Block]) -> bool:
        url = self._response_url.take() if self._response_url else None
        return url is not None and await self._web.respond(url, text, message)

    async def _ephemeral(self, text: str, message: list[Block]) -> bool:
        if self.address.direct:
            return False
        await self._web.whisper(self.address, text, message)
        return True

    # Pictures that are taken back.

    async def _removed(self, update: Removed) -> None:
        taken = [await self._removal.take_back(update.job, sent, self.address, self.locale) for sent in update.messages]
        text = update.text if all(taken) else f"{update.text} {say('slack.not_removed', self.locale)}"
        await self._privately(text, [blocks.answer(text)])


async def closing(updates: AsyncGenerator[Update, None], surface: SlackSurface) -> AsyncGenerator[Update, None]:
    """The same updates; when all have been shown, the surface is closed. A stop before that leaves it as it is."""
    async with aclosing(updates):
        async for update in updates:
            yield update
    await surface.close()
