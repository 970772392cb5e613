"""Where the answer to one interaction goes: its reply while its token lives, the channel as the bot itself after that.

Lifetimes and limits: discord.com/developers/docs/interactions/receiving-and-responding.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import PurePath
from typing import Any, cast

import aiohttp
import discord

from bot import messages
from bot.adapters.discord.address import Address
from bot.adapters.discord.buttons import under
from bot.adapters.discord.files import attachments
from bot.adapters.discord.text import MAX_CONTENT, blocks, plain, quiet
from bot.chat import Delivery, Failure, Queued, Refusal, Stopped, Update, Working
from bot.errors import DeliveryError

PACE_SECONDS = 3.0
SILENT = discord.AllowedMentions.none()
ORIGINAL = cast("int", "@original")
"""Discord's own name for the first answer to an interaction; discord.py's types know numbers alone."""
UNKNOWN_MESSAGE, TOO_LARGE = 10008, 40005
LOST_TOKEN = frozenset({10015, 10062, 50027})
"""Unknown webhook, unknown interaction, invalid webhook token."""
NO_PLACE = frozenset({10003, 50001, 50013})
"""Unknown channel, missing access, missing permissions."""
LOOK_BACK = 100
"""Messages of the channel that are looked through for an earlier attempt."""
SMALLER = 3
"""Times that files are made smaller after Discord called them too large."""


class TokenLostError(Exception):
    """The interaction's token is used up."""


class DiscordSurface:
    """The answer to one interaction: one message that is edited, then the pictures; what is private stays private."""

    def __init__(
        self,
        client: discord.Client,
        address: Address,
        locale: str,
        *,
        resumed: bool = False,
        pace: float = PACE_SECONDS,
    ) -> None:
        """Answer there.

        Args:
            client: speaks to Discord.
            address: the interaction that asked.
            locale: the person's language.
            resumed: an earlier process has begun to answer.
            pace: least seconds between two edits.
        """
        self.pace = pace
        self._client = client
        self._address = address
        self._locale = locale
        self._alive = address.alive
        self._used: bool | None = None if resumed else False
        """Whether the first answer holds what must stay; None if that is to be found out."""
        self._pictures = 1
        self._lost = 0

    async def show(self, update: Update) -> None:
        """Edit the first answer to how far things are; say the rest to the person alone."""
        with translated(self._locale):
            match update:
                case Queued() | Working():
                    self._pictures = update.pictures
                    await self._status(progress(update, self._locale))
                case Stopped():
                    await self._status(plain(update.text))
                case Refusal() | Failure():
                    await self._tell(update.text, last=self._is_last(update))
                case Delivery():
                    await self.send(update)
                case _:
                    await self._tell(update.text, last=True)

    async def send(self, delivery: Delivery) -> str:
        """Send the pictures: into the first answer, as a further one, to the channel, or to the person."""
        with translated(self._locale):
            limit = self._address.limit
            for _ in range(SMALLER):
                try:
                    return await self._post(delivery, limit)
                except discord.HTTPException as error:
                    if error.status != 413 and error.code != TOO_LARGE:
                        raise
                    limit = min(limit, max(len(picture.image.data) for picture in delivery.pictures)) // 2
            return await self._post(delivery, limit)

    async def find(self, delivery: Delivery) -> str | None:
        """Look the pictures up by the names of their files: in the first answer, then in the channel."""
        with translated(self._locale):
            async for message in self._candidates():
                if holds(message, delivery):
                    return str(message.id)
        return None

    async def _candidates(self) -> AsyncIterator[discord.Message]:
        first = await self._first()
        if first is not None:
            yield first
        with suppress(discord.Forbidden, discord.NotFound):
            after = discord.Object(self._address.interaction)
            async for message in self._channel().history(limit=LOOK_BACK, after=after):
                yield message
        with suppress(discord.Forbidden, discord.NotFound):
            if self._address.person:
                person = await self._client.create_dm(discord.Object(self._address.person))
                async for message in person.history(limit=LOOK_BACK, after=discord.Object(self._address.interaction)):
                    yield message

    async def _post(self, delivery: Delivery, limit: int) -> str:
        content = caption(delivery)
        if self._alive:
            with suppress(TokenLostError):
                return await self._reply(delivery, content, limit)
        try:
            message = await self._say(self._channel(), delivery, content, limit)
        except discord.HTTPException as error:
            if not is_placeless(error) or self._address.person is None:
                raise
            direct = await self._client.create_dm(discord.Object(self._address.person))
            message = await self._say(direct, delivery, content, limit)
        await self._remove_status()
        return message

    async def _reply(self, delivery: Delivery, content: str, limit: int) -> str:
        files = await attachments(delivery, limit)
        view = under(delivery, self._locale)
        async with self._token():
            if not await self._is_used():
                with suppress_code(UNKNOWN_MESSAGE):
                    sent = await self._webhook().edit_message(
                        ORIGINAL, content=content, attachments=files, view=view, allowed_mentions=SILENT
                    )
                    self._used = True
                    return str(sent.id)
                files = await attachments(delivery, limit)
            further = await self._webhook().send(
                content, files=files, view=view, allowed_mentions=SILENT, wait=True, suppress_embeds=True
            )
        self._used = True
        return str(further.id)

    async def _say(self, where: discord.abc.Messageable, delivery: Delivery, content: str, limit: int) -> str:
        """Post as the bot itself; Discord drops a second message with the same nonce for some minutes."""
        sent = await where.send(
            content,
            files=await attachments(delivery, limit),
            nonce=delivery.nonce,
            view=under(delivery, self._locale),
            allowed_mentions=SILENT,
            suppress_embeds=True,
        )
        return str(sent.id)

    async def _status(self, text: str) -> None:
        """Edit the first answer, unless there are pictures in it; what is too late for that need not be said."""
        if not self._alive:
            return
        with suppress(TokenLostError):
            async with self._token():
                if not await self._is_used():
                    with suppress_code(UNKNOWN_MESSAGE):
                        await self._webhook().edit_message(ORIGINAL, content=text, allowed_mentions=SILENT)

    async def _tell(self, text: str, *, last: bool) -> None:
        """Say something to the person alone."""
        pieces = blocks(text)
        if self._alive:
            with suppress(TokenLostError):
                await self._whisper(pieces, last=last)
                return
        if self._address.person is not None:
            direct = await self._client.create_dm(discord.Object(self._address.person))
            for piece in pieces:
                await direct.send(piece, allowed_mentions=SILENT, suppress_embeds=True)

    async def _whisper(self, pieces: list[str], *, last: bool) -> None:
        async with self._token():
            if self._address.private and not self._used:
                await self._webhook().edit_message(ORIGINAL, content=pieces.pop(0), allowed_mentions=SILENT)
                self._used = True
            elif last and not await self._is_used():
                with suppress_code(UNKNOWN_MESSAGE):
                    await self._webhook().delete_message(ORIGINAL)
                self._used = True
            for piece in pieces:
                await self._webhook().send(piece, ephemeral=True, allowed_mentions=SILENT, suppress_embeds=True)

    def _is_last(self, update: Refusal | Failure) -> bool:
        """Whether nothing of the job is to come any more, as far as can be told."""
        if update.index is None:
            return True
        self._lost += 1
        return self._lost >= self._pictures

    async def _is_used(self) -> bool:
        if self._used is None:
            first = await self._first()
            self._used = first is not None and bool(first.attachments)
        return self._used

    async def _first(self) -> discord.Message | None:
        """The first answer, if the token still gives it."""
        if not self._alive:
            return None
        with suppress(TokenLostError):
            async with self._token():
                with suppress_code(UNKNOWN_MESSAGE):
                    return await self._webhook().fetch_message(ORIGINAL)
        return None

    async def _remove_status(self) -> None:
        """Take away the line on progress that the token can't edit any more; a message of ours like any other."""
        if self._address.message is None or self._address.private or await self._stays():
            return
        with suppress(discord.HTTPException):
            await self._channel().get_partial_message(self._address.message).delete()
        self._used = True

    async def _stays(self) -> bool:
        """Whether the first answer has pictures in it, as the channel shows it."""
        if self._used is None and self._address.message is not None:
            try:
                first = await self._channel().fetch_message(self._address.message)
            except discord.HTTPException:
                return True
            self._used = bool(first.attachments)
        return bool(self._used)

    def _webhook(self) -> discord.Webhook:
        data: Any = {"id": self._address.application, "type": 3, "token": self._address.token}
        return discord.Webhook.from_state(data, state=self._client._connection)  # noqa: SLF001  (as discord.py does)

    def _channel(self) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(self._address.channel or 0)

    @asynccontextmanager
    async def _token(self) -> AsyncIterator[None]:
        """Turn Discord's ways of saying that the token is used up into TokenLostError."""
        try:
            yield
        except discord.HTTPException as error:
            if error.code in LOST_TOKEN or error.status == 401:
                self._alive = False
                raise TokenLostError from error
            raise


def holds(message: discord.Message, delivery: Delivery) -> bool:
    """Whether a message carries these pictures, however they were encoded."""
    there = {PurePath(file.filename).stem for file in message.attachments}
    return there >= {PurePath(picture.file_name).stem for picture in delivery.pictures}


def is_placeless(error: discord.HTTPException) -> bool:
    """Whether the channel is gone, or closed to the bot."""
    return error.code in NO_PLACE or isinstance(error, discord.Forbidden)


def progress(update: Queued | Working, locale: str) -> str:
    """How far it is, with an estimate that Discord's own clients count down."""
    if isinstance(update, Queued):
        text = messages.queued(update.job, update.pictures, update.position, locale=locale)
    else:
        text = messages.working(update.progress, update.pictures, locale=locale)
    if update.eta_seconds is None:
        return plain(text)
    return f"{plain(text)} <t:{round(time.time() + update.eta_seconds)}:R>"


def caption(delivery: Delivery) -> str:
    """A quiet line for each picture, numbered if there are several, and what else there is to say of them."""
    lines = [picture.caption for picture in delivery.pictures]
    if len(lines) > 1:
        lines = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    notes = dict.fromkeys(note for picture in delivery.pictures for note in picture.notes)
    text = ""
    for line in (*lines, *notes):
        longer = f"{text}\n{quiet(line)}".lstrip("\n")
        text = longer if len(longer) <= MAX_CONTENT else text
    return text


class suppress_code:  # noqa: N801  (reads like contextlib.suppress)
    """Lets one answer of Discord's pass as none."""

    def __init__(self, code: int) -> None:
        self._code = code

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Swallow that one."""
        return isinstance(error, discord.HTTPException) and error.code == self._code


@contextmanager
def translated(locale: str) -> Iterator[None]:
    """Turn what Discord refuses into a DeliveryError with one sentence.

    Raises:
        DeliveryError: permanent if asking again can't help.
    """
    try:
        yield
    except discord.HTTPException as error:
        if is_placeless(error):
            raise DeliveryError(messages.say("discord.no_place", locale), permanent=True) from error
        refused = messages.say("discord.refused", locale, reason=messages.quote(error.text or error.status))
        raise DeliveryError(refused, permanent=400 <= error.status < 500 and error.status != 429) from error
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        raise DeliveryError(messages.say("discord.unreachable", locale)) from error
