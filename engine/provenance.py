"""What a delivered file says about its making: PNG with the parameters in its text, and how to read it back safely."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from engine.errors import InputError
from engine.types import Verification

VERSION = "1"
"""Raised when the same picture and parameters are written differently, so that old files are made again."""

KEYWORD = "easel"
"""Of the iTXt chunk that holds the parameters as JSON."""

COMPRESSION = 1
"""zlib level. At 512 x 512 level 1 takes 62 ms and 493 KiB, level 4 145 ms and 442 KiB, level 9 no less than that."""

MAX_FILE = 64 * 2**20
"""Bytes of a file that is read at all."""
MAX_PIXELS = 64 * 2**20
"""Width times height of a picture that is decoded; sixteen times our largest."""
MAX_TEXT = 256 * 1024
"""Bytes of a parameters chunk that is parsed."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OTHER_FORMATS = ("JPEG", "WEBP")
_LABELS = {
    "steps": "Steps",
    "sampler": "Sampler",
    "guidance": "CFG scale",
    "seed": "Seed",
    "strength": "Denoising strength",
    "upscale": "Hires upscale",
    "size": "Size",
    "model_revision": "Model hash",
    "model": "Model",
}
"""The names that readers of the conventional `parameters` text look for, in their order."""

_UNDECODABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    SyntaxError,
    ValueError,
    OverflowError,
    IndexError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged or hostile files."""


def encode(image: Image.Image, parameters: dict[str, Any] | None) -> bytes:
    """A picture as PNG; the same arguments give the same bytes.

    Args:
        image: RGB or RGBA.
        parameters: JSON values, written as the `easel` text and the conventional `parameters` text; None writes none.
    """
    text = PngInfo()
    if parameters is not None:
        text.add_itxt(KEYWORD, json.dumps(parameters, ensure_ascii=False, sort_keys=True, allow_nan=False))
        text.add_itxt("parameters", _conventional(parameters))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=COMPRESSION, pnginfo=text, icc_profile=None, exif=None)
    return file.getvalue()


def media_type(data: bytes) -> str | None:
    """Of a PNG, JPEG or WebP file by how it begins; None for anything else."""
    if data.startswith(_SIGNATURE):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def read(data: bytes) -> Verification:
    """What a file says about its making, and whether it is whole.

    A file is intact when it decodes fully; of a PNG also every chunk's checksum is compared, and nothing may follow it.
    What the text says is the file's claim: anybody can write it. Whether the file was made here is left open.

    Raises:
        InputError: the file is larger than `MAX_FILE`.
    """
    if len(data) > MAX_FILE:
        raise InputError(
            f"A file to verify may have at most {MAX_FILE // 2**20} MiB, but this one has {len(data) / 2**20:.0f}."
        )
    is_png = data.startswith(_SIGNATURE)
    parameters: dict[str, Any] | None = None
    whole = True
    if is_png:
        try:
            parameters = _parameters(list(_chunks(data)))
        except _DamagedError:
            whole = False
    mark = parameters.get("watermark") if parameters else None
    return Verification(
        made_here=None,
        parameters=parameters,
        visible_mark=mark if isinstance(mark, str) else None,
        intact=whole and _decodes(data, ("PNG",) if is_png else _OTHER_FORMATS),
    )


class _DamagedError(Exception):
    """A PNG's chunks contradict the format (W3C PNG, third edition, section 5)."""


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of every chunk up to IEND, checksums verified."""
    view, place, kind = memoryview(data), len(_SIGNATURE), b""
    while kind != b"IEND":
        if place + 12 > len(data):
            raise _DamagedError
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data) or struct.unpack_from(">I", data, end)[0] != zlib.crc32(view[place + 4 : end]):
            raise _DamagedError
        kind = data[place + 4 : place + 8]
        yield kind, data[place + 8 : end] if kind == b"iTXt" and length <= MAX_TEXT else b""
        place = end + 4
    if place != len(data):
        raise _DamagedError


def _parameters(chunks: list[tuple[bytes, bytes]]) -> dict[str, Any] | None:
    texts = (_text(content) for kind, content in chunks if kind == b"iTXt")
    return next((parameters for text in texts if text and (parameters := _json(text)) is not None), None)


def _text(content: bytes) -> bytes | None:
    """The text of our uncompressed iTXt chunk: keyword, two zero bytes of compression, language, translated keyword."""
    head, _, rest = content.partition(b"\0")
    if head != KEYWORD.encode() or not rest.startswith(b"\0\0"):
        return None
    parts = rest[2:].split(b"\0", 2)
    return parts[2] if len(parts) == 3 else None


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _decodes(data: bytes, formats: tuple[str, ...]) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.load()
    except _UNDECODABLE:
        return False
    return True


def _conventional(parameters: dict[str, Any]) -> str:
    """Prompt, negative prompt and one line of options, as image viewers and other front ends read them."""
    facts = dict(parameters)
    if "width" in facts and "height" in facts:
        facts["size"] = f"{facts['width']}x{facts['height']}"
    options = ", ".join(f"{label}: {facts[name]}" for name, label in _LABELS.items() if name in facts)
    negative = f"Negative prompt: {facts['negative_prompt']}" if facts.get("negative_prompt") else ""
    return "\n".join(line for line in (str(facts.get("prompt", "")), negative, options) if line)
