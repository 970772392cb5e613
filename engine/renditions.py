"""The same picture in fewer bytes, for a chat that doesn't take the whole file: WebP, then JPEG, then smaller sides."""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image

from engine import provenance
from engine.errors import InputError

ENCODINGS = (("webp", 92), ("webp", 80), ("jpeg", 85), ("jpeg", 60))
"""Formats and qualities to try, best first."""
SCALES = (1.0, 0.5, 0.25)


def of(data: bytes) -> Iterator[tuple[bytes, str]]:
    """Encodings of a picture, RGB, and their media types, best first; each is made when it is asked for.

    Raises:
        InputError: the file is no whole picture.
    """
    whole = _decoded(data)
    for scale in SCALES:
        size = [max(1, round(side * scale)) for side in whole.size]
        scaled = whole if scale == 1.0 else whole.resize(size, Image.Resampling.LANCZOS)
        for kind, quality in ENCODINGS:
            file = io.BytesIO()
            scaled.save(file, kind.upper(), quality=quality)
            yield file.getvalue(), f"image/{kind}"


def _decoded(data: bytes) -> Image.Image:
    if not provenance.read(data).intact:
        raise InputError("The picture to make smaller is damaged or no picture.")
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")
