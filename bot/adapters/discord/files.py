"""Pictures as Discord takes them: a file that is too large is encoded anew rather than left out."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from pathlib import PurePath

import discord

from bot.chat import Delivery, Picture
from engine.types import Rendition

MAX_REQUEST = 25 * 2**20
"""Bytes of one request, all of its files together."""
OVERHEAD = 2**18
"""Bytes of that for everything but the files."""

Shrink = Callable[[bytes, int], Awaitable[Rendition]]
"""Encodes a finished picture in at most so many bytes, if any way leads there; the new file is signed like the old."""


async def attachments(delivery: Delivery, limit: int, shrink: Shrink) -> list[discord.File]:
    """The pictures of a delivery as files of at most `limit` bytes each that fit into one request together."""
    budget = limit
    if sum(len(picture.image.data) for picture in delivery.pictures) > MAX_REQUEST - OVERHEAD:
        budget = min(limit, (MAX_REQUEST - OVERHEAD) // len(delivery.pictures))
    return [await _attachment(picture, budget, shrink) for picture in delivery.pictures]


async def _attachment(picture: Picture, limit: int, shrink: Shrink) -> discord.File:
    name, data = picture.file_name, picture.image.data
    if len(data) > limit:
        made = await shrink(data, limit)
        name, data = str(PurePath(name).with_suffix(f".{made.media_type.rpartition('/')[2]}")), made.data
    return discord.File(io.BytesIO(data), filename=name, spoiler=picture.spoiler, description=picture.alt_text)
