"""Pictures for the eye: small copies of files, for lists and previews. The files themselves are never changed."""

from __future__ import annotations

import asyncio
import base64
import io
from collections import OrderedDict

from PIL import Image, UnidentifiedImageError

SIDE = 640
"""Pixels of a small copy's longer side."""
QUALITY = 86
KEPT = 256
"""Small copies in memory; some 40 kB each."""
AT_ONCE = 2


class Looks:
    """Makes small copies, and remembers the latest."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def small(self, name: str, data: bytes) -> bytes | None:
        """A WebP copy of a picture whose content goes by that name; None if the bytes are no picture."""
        if name not in self._kept:
            async with self._turn:
                made = await asyncio.to_thread(_small, data)
            if made is None:
                return None
            self._kept[name] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]


def data_uri(data: bytes) -> str:
    """A picture within a page."""
    kind = "png" if data.startswith(b"\x89PNG") else "webp" if data[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _small(data: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.thumbnail((SIDE, SIDE))
            out = io.BytesIO()
            opened.convert("RGB").save(out, "WEBP", quality=QUALITY, method=2)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    return out.getvalue()
