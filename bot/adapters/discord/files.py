"""Pictures as Discord takes them: a file that is too large is encoded anew rather than left out."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import PurePath

import discord
from PIL import Image

from bot.chat import Delivery, Picture

MAX_REQUEST = 25 * 2**20
"""Bytes of one request, all of its files together."""
OVERHEAD = 2**18
"""Bytes of that for everything but the files."""
ENCODINGS = (("webp", 92), ("webp", 80), ("jpeg", 85), ("jpeg", 60))
"""Formats and qualities to try, best first."""
SCALES = (1.0, 0.5, 0.25)


async def attachments(delivery: Delivery, limit: int) -> list[discord.File]:
    """The pictures of a delivery as files of at most `limit` bytes each that fit into one request together."""
    budget = limit
    if sum(len(picture.image.data) for picture in delivery.pictures) > MAX_REQUEST - OVERHEAD:
        budget = min(limit, (MAX_REQUEST - OVERHEAD) // len(delivery.pictures))
    return [await _attachment(picture, budget) for picture in delivery.pictures]


async def _attachment(picture: Picture, limit: int) -> discord.File:
    name, data = picture.file_name, picture.image.data
    if len(data) > limit:
        suffix, data = await asyncio.to_thread(shrunk, data, limit)
        name = PurePath(name).with_suffix(f".{suffix}").name
    return discord.File(io.BytesIO(data), filename=name, spoiler=picture.spoiler, description=picture.alt_text)


def shrunk(data: bytes, limit: int) -> tuple[str, bytes]:
    """The picture in at most `limit` bytes if any way leads there, else as small as it gets; and its file suffix."""
    suffix, smallest = "png", data
    for suffix, encoded in _encoded(data):
        if len(encoded) <= limit:
            return suffix, encoded
        smallest = encoded
    return suffix, smallest


def _encoded(data: bytes) -> Iterator[tuple[str, bytes]]:
    with Image.open(io.BytesIO(data)) as picture:
        whole = picture.convert("RGB")
    for scale in SCALES:
        scaled = whole if scale == 1.0 else whole.resize([max(1, round(side * scale)) for side in whole.size])
        for suffix, quality in ENCODINGS:
            file = io.BytesIO()
            scaled.save(file, suffix.upper(), quality=quality)
            yield suffix, file.getvalue()
