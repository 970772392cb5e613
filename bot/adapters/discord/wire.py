"""What is said to Discord for one interaction: by its token while that lives, as the bot itself after that.

Lifetimes and limits: discord.com/developers/docs/interactions/receiving-and-responding.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import discord

from bot import messages
from bot.adapters.discord.address import Address
from bot.adapters.discord.text import NOTHING
from bot.errors import DeliveryError
from engine.errors import EngineError

SILENT = discord.AllowedMentions.none()
UNKNOWN_MESSAGE, TOO_LARGE = 10008, 40005
LOST_TOKEN = frozenset({10015, 10062, 50027})
"""Unknown webhook, unknown interaction, invalid webhook token."""
NO_FURTHER = 40094
"""All further messages are used up: where the person alone has installed the app, each interaction has five."""
NO_PLACE = frozenset({10003, 50001, 50013, 50083, 160005})
"""Unknown channel, missing access, missing permissions, archived thread, locked thread."""

PAUSES = (0.0, 2.0, 8.0, 30.0, 60.0, 120.0)
"""Seconds before further tries to say something that will not be said again."""

Files = Sequence[discord.File | discord.Attachment]


class _Original(int):
    """Discord's own name for the first answer to an interaction, where discord.py wants a number."""

    def __format__(self, spec: str) -> str:
        return "@original"


ORIGINAL = _Original()


class TokenLostError(Exception):
    """The interaction's token is used up, for good or for further messages."""


class Wire:
    """The two ways to one person: the interaction's own webhook, and the bot's account."""

    def __init__(self, client: discord.Client, address: Address) -> None:
        self._client = client
        self.address = address
        self._lost = False
        self._begun = address.kept or address.moved
        """The first answer says more than that somebody is thinking, or is gone."""

    @property
    def alive(self) -> bool:
        """Whether the interaction's token can still be used, as far as is known."""
        return not self._lost and self.address.alive

    @property
    def first(self) -> int:
        """The message that is the first answer."""
        moved = self.address.message if self.address.moved else None
        return ORIGINAL if moved is None else moved

    # With the token.

    def of(self, other: Address) -> Wire:
        """The way to another interaction."""
        return Wire(self._client, other)

    async def fetch(self, message: int | None = None) -> discord.Message | None:
        """The first answer, or another message of this token; None if it is gone, or the token is."""
        if not self.alive:
            return None
        try:
            async with self._token():
                return await self._webhook().fetch_message(self.first if message is None else message)
        except TokenLostError:
            return None
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            return None

    async def is_known(self) -> bool:
        """Whether the interaction was acknowledged; its first answer may be gone since.

        Raises:
            discord.HTTPException: Discord doesn't say.
        """
        try:
            async with self._token():
                await self._webhook().fetch_message(ORIGINAL)
        except TokenLostError:
            return False
        except discord.NotFound as error:
            return error.code == UNKNOWN_MESSAGE
        return True

    async def edit(
        self,
        content: str,
        *,
        files: Files | None = None,
        view: discord.ui.View | None = None,
        message: int | None = None,
    ) -> discord.Message | None:
        """Change the first answer, or another message of this token; None if somebody has deleted it.

        Files that are there stay unless others, or none, are given.

        Raises:
            TokenLostError: the token is used up.
        """
        more: dict[str, Any] = {} if files is None else {"attachments": files}
        if view is not None:
            more["view"] = view
        edited: discord.Message | None = None
        try:
            async with self._token():
                edited = await self._webhook().edit_message(
                    self.first if message is None else message, content=content, allowed_mentions=SILENT, **more
                )
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
        self._begun = True
        return edited

    async def follow(
        self,
        content: str,
        *,
        files: Sequence[discord.File] = (),
        view: discord.ui.View | None = None,
        private: bool = False,
    ) -> discord.Message:
        """Send a further message.

        Discord takes the first one for the first answer while that still says that somebody is thinking; so there is
        always one before it.

        Raises:
            TokenLostError: the token is used up, or so many further messages are that edits alone are left.
        """
        more: dict[str, Any] = {"view": view} if view else {}
        if not self._begun:
            await self._begin()
        async with self._token():
            return await self._webhook().send(
                content,
                files=files,
                ephemeral=private,
                allowed_mentions=SILENT,
                suppress_embeds=True,
                wait=True,
                **more,
            )

    async def _begin(self) -> None:
        """Say something where somebody is still said to be thinking."""
        first = await self.fetch()
        if first is not None and first.flags.loading:
            await self.edit(NOTHING)
        self._begun = True

    async def remove(self, message: int | None = None) -> bool:
        """Delete the first answer, or another message of this token; False if there was none.

        Raises:
            TokenLostError: the token is used up.
        """
        removed = True
        try:
            async with self._token():
                await self._webhook().delete_message(self.first if message is None else message)
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            removed = False
        self._begun = True
        return removed

    # As the bot itself.

    def channel(self, number: int | None = None) -> discord.PartialMessageable:
        """The channel of the interaction, or another one."""
        return self._client.get_partial_messageable(number or self.address.channel or 0)

    async def neighbour(self, number: str) -> discord.abc.Messageable | None:
        """A channel of the same server; None if it isn't one, whoever named it."""
        if not number.isdecimal() or self.address.server is None:
            return None
        try:
            found = self._client.get_channel(int(number)) or await self._client.fetch_channel(int(number))
        except (discord.NotFound, discord.Forbidden, discord.InvalidData):
            return None
        here = isinstance(found, discord.abc.GuildChannel | discord.Thread) and found.guild.id == self.address.server
        return found if here and isinstance(found, discord.abc.Messageable) else None

    async def direct(self) -> discord.abc.Messageable:
        """The person's own messages."""
        return await self._client.create_dm(discord.Object(self.address.person or 0))

    def _webhook(self) -> discord.Webhook:
        data: Any = {"id": self.address.application, "type": 3, "token": self.address.token}
        return discord.Webhook.from_state(data, state=self._client._connection)  # noqa: SLF001  (as discord.py does)

    @asynccontextmanager
    async def _token(self) -> AsyncIterator[None]:
        """Turn Discord's ways of saying that the token is used up into TokenLostError."""
        try:
            yield
        except discord.HTTPException as error:
            lost = error.code in LOST_TOKEN or error.status == 401
            self._lost = self._lost or lost
            if lost or error.code == NO_FURTHER:
                raise TokenLostError from error
            raise


async def say(
    where: discord.abc.Messageable,
    content: str,
    *,
    files: Sequence[discord.File] = (),
    view: discord.ui.View | None = None,
    nonce: str | None = None,
) -> discord.Message:
    """Post as the bot itself; Discord drops a second message with the same nonce for some minutes."""
    more: dict[str, Any] = {name: value for name, value in (("view", view), ("nonce", nonce)) if value is not None}
    return await where.send(content, files=files, allowed_mentions=SILENT, suppress_embeds=True, **more)


def is_placeless(error: discord.HTTPException) -> bool:
    """Whether the channel is gone, or closed to the bot."""
    return error.code in NO_PLACE or isinstance(error, discord.Forbidden)


async def patiently(attempt: Callable[[], Awaitable[None]]) -> None:
    """Say something that will not be said again: while Discord is away, for some minutes.

    Raises:
        DeliveryError: Discord doesn't take it, or stays away.
    """
    for pause in PAUSES:
        try:
            return await attempt()
        except DeliveryError as error:
            if not error.away:
                raise
        await asyncio.sleep(pause)
    return await attempt()


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
        busy = error.status == 429 or error.status >= 500
        raise DeliveryError(refused, permanent=not busy and error.status >= 400, away=busy) from error
    except EngineError as error:
        raise DeliveryError(error.sentence) from error
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        raise DeliveryError(messages.say("discord.unreachable", locale), away=True) from error
