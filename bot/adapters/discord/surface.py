"""Where the answer to one interaction goes: one message that is edited, then the pictures, the rest to one person."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import discord

from bot import messages
from bot.adapters.discord import buttons, gallery
from bot.adapters.discord.acks import BROKEN, insisting
from bot.adapters.discord.address import Address
from bot.adapters.discord.files import Shrink, attachments
from bot.adapters.discord.incoming import PLATFORM
from bot.adapters.discord.text import NOTHING, blocks, copies, plain
from bot.adapters.discord.wire import SILENT, TOO_LARGE, TokenLostError, Wire, is_placeless, patiently, say, translated
from bot.chat import Delivery, Failure, Notice, Queued, Refusal, Removed, Reply, Sent, Stopped, Update, Working
from bot.errors import DeliveryError
from engine.types import Stage

PACE_SECONDS = 3.0
LOOK_BACK = 500
"""Messages of a channel, the latest, that are looked through for an earlier attempt."""
SMALLER = 3
"""Times that files are made smaller after Discord called them too large."""
Keep = Callable[[str, str], Awaitable[None]]
"""Writes down where the answer to a job goes, for the next process."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What answering takes, the same for all answers."""

    client: discord.Client
    shrink: Shrink
    keep: Keep
    pace: float = PACE_SECONDS
    """Least seconds between two edits of one message."""
    statuses: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    """How far answers are is left unsaid while it is locked."""


@dataclass(frozen=True, kw_only=True)
class Saying:
    """An answer that may take several messages, and several attempts until Discord has them all."""

    update: Update
    unsaid: list[str]
    """The messages of it that have not been sent."""
    last: bool
    """Whether nothing of the job is to come after it."""


class DiscordSurface:
    """The answer to one interaction; what is private stays private, and mentions nobody."""

    def __init__(self, means: Means, address: Address, locale: str, *, resumed: bool = False) -> None:
        """Answer there, in the person's language; `resumed` says that an earlier process has begun to."""
        self.pace = means.pace
        self._means = means
        self._wire = Wire(means.client, address)
        self._address = address
        self._locale = locale
        self._used: bool | None = True if address.kept else None if resumed else False
        """Whether the first answer holds what must stay; None if that is to be found out."""
        self._pictures = 1
        self._lost = 0
        self._saying: Saying | None = None

    async def show(self, update: Update) -> None:
        """Edit the first answer to how far things are; say the rest to the person alone."""
        if isinstance(update, Queued | Working):
            with translated(self._locale):
                await self._progress(update)
            return
        if self._saying is None or self._saying.update is not update:
            self._saying = Saying(update=update, unsaid=pieces(update), last=self._is_last(update))
        saying = self._saying
        await patiently(lambda: self._said(saying))

    async def _said(self, saying: Saying) -> None:
        update, unsaid, last = saying.update, saying.unsaid, saying.last
        with translated(self._locale):
            match update:
                case Stopped():
                    await self._stopped(plain(update.text))
                case Refusal() | Failure():
                    await self._tell(unsaid, last=last, view=buttons.appeal(update, self._locale))
                case Reply():
                    await self._tell(unsaid, last=last, view=buttons.confirm(update, self._locale))
                case Notice():
                    await self._notice(update, unsaid)
                case Removed():
                    await self._removed(update)

    async def send(self, delivery: Delivery) -> str:
        """Send the pictures: into the first answer, as a further one, to the channel, or to the person."""
        with translated(self._locale):
            limit = self._address.limit
            for _ in range(SMALLER):
                try:
                    return gallery.name_of(await self._post(delivery, limit))
                except discord.HTTPException as error:
                    if error.status != 413 and error.code != TOO_LARGE:
                        raise
                    limit = min(limit, max(len(picture.image.data) for picture in delivery.pictures)) // 2
            return gallery.name_of(await self._post(delivery, limit))

    async def find(self, delivery: Delivery) -> str | None:
        """Look the pictures up by the names of their files: in the first answer, in the channel, at the person's."""
        with translated(self._locale):
            async for message in self._candidates():
                if gallery.holds(message, delivery):
                    self._used = None
                    return gallery.name_of(message)
        return None

    async def _candidates(self) -> AsyncIterator[discord.Message]:
        with suppress(discord.Forbidden, discord.NotFound):
            first = await self._wire.fetch()
            if first is not None:
                yield first
        after = discord.Object(self._address.interaction)
        with suppress(discord.Forbidden, discord.NotFound):
            async for message in self._wire.channel().history(limit=LOOK_BACK, after=after, oldest_first=False):
                yield message
        with suppress(discord.Forbidden, discord.NotFound):
            if self._address.person:
                direct = await self._wire.direct()
                async for message in direct.history(limit=LOOK_BACK, after=after, oldest_first=False):
                    yield message

    # Pictures.

    async def _post(self, delivery: Delivery, limit: int) -> discord.Message:
        if self._address.direct:
            return await self._post_to_person(delivery, limit)
        if self._wire.alive:
            try:
                return await self._answer(delivery, limit)
            except TokenLostError:
                pass
            except discord.HTTPException as error:
                if not is_placeless(error):
                    raise
        if delivery.private or self._address.private:
            return await self._say(await self._wire.direct(), delivery, limit)
        return await self._post_as_bot(delivery, limit)

    async def _answer(self, delivery: Delivery, limit: int) -> discord.Message:
        content, view = gallery.caption(delivery), buttons.under(delivery, self._locale)
        if delivery.private and not self._address.private:
            await self._hide(delivery.job, NOTHING)
        if not await self._is_used():
            files = await self._files(delivery, limit)
            self._used = None  # until Discord has answered, nobody knows
            edited = await self._wire.edit(content, files=files, view=view)
            self._used = True
            if edited is not None:
                return edited
        files = await self._files(delivery, limit)
        return await self._wire.follow(content, files=files, view=view, private=self._address.private)

    async def _post_as_bot(self, delivery: Delivery, limit: int) -> discord.Message:
        """To the channel, or to the person where that is closed or gone."""
        try:
            message = await self._say(self._wire.channel(), delivery, limit)
        except discord.HTTPException as error:
            if not is_placeless(error) or self._address.person is None:
                raise
            return await self._say(await self._wire.direct(), delivery, limit)
        await self._remove_status()
        return message

    async def _post_to_person(self, delivery: Delivery, limit: int) -> discord.Message:
        """To the person's own messages; seen by them alone in the channel if they take none from bots."""
        try:
            message = await self._say(await self._wire.direct(), delivery, limit)
        except discord.HTTPException as error:
            if not is_placeless(error) or not self._wire.alive:
                raise
            return await self._answer(delivery, limit)
        with suppress(TokenLostError, discord.HTTPException):
            await self._whisper([messages.say("discord.sent_to_you", self._locale)], last=True)
        return message

    async def _say(self, where: discord.abc.Messageable, delivery: Delivery, limit: int) -> discord.Message:
        files, view = await self._files(delivery, limit), buttons.under(delivery, self._locale)
        return await say(where, gallery.caption(delivery), files=files, view=view, nonce=delivery.nonce)

    async def _files(self, delivery: Delivery, limit: int) -> list[discord.File]:
        return await attachments(delivery, limit, self._means.shrink)

    async def _hide(self, job: str, text: str) -> None:
        """Go on where the person alone sees it: what was begun for all to see turned out to be for nobody else.

        Where that is is written down, so that after a restart, too, the pictures are edited into that very message.
        """
        hidden = await self._wire.follow(text, private=True)
        await self._remove_first()
        self._address = self._address.model_copy(update={"message": hidden.id, "private": True, "moved": True})
        self._wire = self._wire.of(self._address)
        self._used = False
        await self._means.keep(job, self._address.model_dump_json())

    # What is said beside them.

    async def _progress(self, update: Queued | Working) -> None:
        """Say how far it is, unless the bot is busy: acknowledgements and pictures come before that."""
        self._pictures = update.pictures
        if self._means.statuses.locked():
            return
        text = progress(update, self._locale)
        if update.private and not self._address.private:
            async with self._means.statuses:
                await self._hidden_status(update.job, text)
            return
        preview = update.preview if isinstance(update, Working) else None
        alt = messages.say("discord.preview", self._locale)
        files = [discord.File(io.BytesIO(preview), gallery.PREVIEW, description=alt)] if preview else None
        async with self._means.statuses:
            await self._status(text, files=files)

    async def _hidden_status(self, job: str, text: str) -> None:
        """What a private job is up to concerns nobody else, whoever sees the first answer."""
        with suppress(TokenLostError):
            if self._wire.alive:
                await self._hide(job, text)

    async def _status(self, text: str, *, files: Sequence[discord.File] | None = None) -> None:
        """Edit the first answer, unless there are pictures in it; what is too late for that need not be said."""
        with suppress(TokenLostError):
            if self._wire.alive and not await self._is_used():
                await self._wire.edit(text, files=files)

    async def _stopped(self, text: str) -> None:
        """The last word on a job that was cancelled, in the place of how far it was."""
        if self._wire.alive:
            await self._status(text, files=())
        elif self._address.message is not None and not self._address.private and not await self._stays():
            with suppress(discord.HTTPException):
                status = self._wire.channel().get_partial_message(self._address.message)
                await status.edit(content=text, attachments=[], allowed_mentions=SILENT)

    async def _tell(self, unsaid: list[str], *, last: bool, view: discord.ui.View | None = None) -> None:
        """Say something to the person alone; the buttons are under the last message of it."""
        if self._wire.alive:
            try:
                await self._whisper(unsaid, last=last, view=view)
            except TokenLostError:
                pass
            except discord.HTTPException as error:
                if not is_placeless(error):
                    raise
            else:
                return
        if last:
            await self._remove_status()
        if self._address.person is not None:
            await _post_each(await self._wire.direct(), unsaid, view)

    async def _whisper(self, unsaid: list[str], *, last: bool, view: discord.ui.View | None = None) -> None:
        if self._address.private and not await self._is_used():
            only = view if len(unsaid) == 1 else None
            edited = await self._wire.edit(unsaid[0], files=(), view=only)
            self._used = True
            if edited is not None:
                del unsaid[0]
        elif last:
            await self._remove_first()
        while unsaid:
            await self._wire.follow(unsaid[0], view=view if len(unsaid) == 1 else None, private=True)
            del unsaid[0]

    async def _notice(self, notice: Notice, unsaid: list[str]) -> None:
        view = buttons.offered(notice.buttons)
        if notice.channel is None:
            await self._tell(unsaid, last=False, view=view)
            return
        where = await self._wire.neighbour(notice.channel)
        if where is None:
            raise DeliveryError(messages.say("discord.no_place", self._locale), permanent=True)
        await _post_each(where, unsaid, view)

    def _is_last(self, update: Update) -> bool:
        """Whether nothing of the job is to come any more, as far as can be told."""
        if not isinstance(update, Refusal | Failure):
            return isinstance(update, Reply)
        if update.index is None:
            return True
        self._lost += 1
        return self._lost >= self._pictures

    # Messages that were sent.

    async def _removed(self, update: Removed) -> None:
        """Take pictures out of the messages that held them, all at once, and say so."""
        results = await asyncio.gather(*(self._take_out(sent, update.job) for sent in update.messages))
        text = update.text if all(results) else f"{update.text} {messages.say('discord.not_removed', self._locale)}"
        await self._tell(blocks(text), last=True)

    async def _take_out(self, sent: Sent, job: str) -> bool:
        """Whether the message holds the pictures no more; those of other platforms are out of reach."""
        if sent.place.platform != PLATFORM:
            return False
        try:
            await insisting(lambda: gallery.take_out(self._wire, sent, job, self._locale))
        except (discord.HTTPException, TokenLostError, *BROKEN):
            return False
        return True

    async def _is_used(self) -> bool:
        if self._used is None:
            first = await self._wire.fetch()
            self._used = first is not None and gallery.has_pictures(first)
        return self._used

    async def _remove_first(self) -> None:
        if not await self._is_used():
            await self._wire.remove()
            self._used = True

    async def _remove_status(self) -> None:
        """Take away the line on progress that the token can't edit any more; a message of ours like any other."""
        if self._address.message is None or self._address.private or await self._stays():
            return
        with suppress(discord.HTTPException):
            await self._wire.channel().get_partial_message(self._address.message).delete()
        self._used = True

    async def _stays(self) -> bool:
        """Whether the first answer has pictures in it, as the channel shows it."""
        if self._used is None and self._address.message is not None:
            try:
                first = await self._wire.channel().fetch_message(self._address.message)
            except discord.HTTPException:
                return True
            self._used = gallery.has_pictures(first)
        return bool(self._used)


async def _post_each(where: discord.abc.Messageable, unsaid: list[str], view: discord.ui.View | None) -> None:
    """Post messages as the bot itself; each that is sent is taken from the list, and the last has the buttons."""
    while unsaid:
        await say(where, unsaid[0], view=view if len(unsaid) == 1 else None)
        del unsaid[0]


def pieces(update: Update) -> list[str]:
    """The messages that an answer takes."""
    match update:
        case Reply():
            return copies(update)
        case Refusal() | Failure() | Notice():
            return blocks(update.text)
    return []


def progress(update: Queued | Working, locale: str) -> str:
    """How far it is, with an estimate that Discord's own clients count down."""
    if isinstance(update, Queued):
        text, timed = messages.queued(update.job, update.pictures, update.position, locale=locale), True
    else:
        text = messages.working(update.progress, update.pictures, locale=locale)
        timed = update.progress.stage is Stage.DRAWING  # how long a machine takes to start is in no estimate
    if update.eta_seconds is None or not timed:
        return plain(text)
    then = discord.utils.utcnow() + timedelta(seconds=update.eta_seconds)
    return f"{plain(text)} {discord.utils.format_dt(then, 'R')}"
