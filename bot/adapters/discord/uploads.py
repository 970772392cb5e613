"""Files that come with a command: named by Discord in the event, fetched after it was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import discord

from bot import messages
from bot.chat import MAX_ATTACHMENT, Attachment
from bot.errors import BadInputError

FETCH_SECONDS = 30.0
AT_ONCE = 8
"""Files that are fetched side by side; further ones wait."""


class Uploads:
    """Fetches files, a few at a time."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def read(self, files: Iterable[Mapping[str, Any]], locale: str) -> tuple[Attachment, ...]:
        """The files that Discord describes so.

        Raises:
            BadInputError: one is too large, or Discord does not give it.
        """
        return tuple([await self._read(self._described(file), locale) for file in files])

    def _described(self, file: Any) -> discord.Attachment:  # noqa: ANN401  (JSON)
        state = self._client._connection  # noqa: SLF001  (discord.py gives attachments of forms to its own forms alone)
        return discord.Attachment(data=file, state=state)

    async def _read(self, file: discord.Attachment, locale: str) -> Attachment:
        if file.size > MAX_ATTACHMENT:
            limit = messages.bytes_text(MAX_ATTACHMENT)
            raise BadInputError(
                messages.say("discord.file_too_large", locale, name=messages.quote(file.filename), limit=limit)
            )
        try:
            async with self._turn, asyncio.timeout(FETCH_SECONDS):
                data = await file.read()
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            name = messages.quote(file.filename)
            raise BadInputError(messages.say("discord.file_lost", locale, name=name)) from error
        return Attachment(name=file.filename, media_type=file.content_type or "", data=data[:MAX_ATTACHMENT])
