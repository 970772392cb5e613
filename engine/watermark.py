"""The visible mark: a line of text in a corner or the middle, legible on any background."""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageFont

from engine.errors import InputError
from engine.types import Position, Watermark

VERSION = "1"
"""Raised when the same mark is drawn differently, so that files marked the old way are made again."""

FONTS = tuple(
    Path(__file__).parent / "fonts" / name for name in ("NotoSans-SemiBold.ttf", "NotoSansCJKjp-Bold-subset.otf")
)
"""In order of preference, letter by letter."""

MIN_SIZE = 6
"""Pixels; the smallest letters that a person may ask for, and that a mark shrinks to in order to fit."""
READABLE_SIZE = 10
"""Pixels; letters are at least this high when the size is left to us and there is room."""
WIDTH_PER_SIZE = 24
"""The picture's width over the letters' height, when the size is left to us."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where a mark's ink lies on a picture, in pixels from the top left; `right` and `bottom` are outside."""

    left: int
    top: int
    right: int
    bottom: int
    size: int
    """Height of the letters."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Neighbouring letters drawn by one font; `font` None means boxes in their stead."""

    text: str
    font: Path | None
    left: float


def apply(image: Image.Image, mark: Watermark) -> tuple[Image.Image, str]:
    """Draw a mark on a copy of a picture.

    Args:
        image: of any mode; RGB and RGBA stay as they are, other modes become RGB.
        mark: what to draw.

    Returns:
        The marked picture, and the letters that no bundled font has; boxes stand in for them.

    Raises:
        InputError: the mark doesn't fit the picture.
    """
    extent = measure(mark, image.width, image.height)
    marked = image.copy() if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    missing = "".join(dict.fromkeys(letter for letter in _visible(mark.text) if _font_for(letter) is None))
    if mark.opacity > 0:
        layer = _layer(mark, extent)
        if marked.mode == "RGBA":
            marked.alpha_composite(layer, (extent.left, extent.top))
        else:
            marked.paste(layer, (extent.left, extent.top), layer)
    return marked, missing


def check(mark: Watermark, width: int, height: int) -> None:
    """Raise InputError unless a mark fits a picture of this many pixels."""
    measure(mark, width, height)


def measure(mark: Watermark, width: int, height: int) -> Extent:
    """Where a mark would lie on a picture; errors as of `apply`.

    A mark without a size of its own shrinks to fit, down to `MIN_SIZE`.
    """
    if not _visible(mark.text):
        raise InputError("--watermark-text has no letter that can be seen.")
    size = mark.size or max(READABLE_SIZE, round(width / WIDTH_PER_SIZE))
    margin = 0 if mark.position is Position.CENTER else mark.margin
    ink = _ink(mark.text, size)
    while mark.size is None and size > MIN_SIZE and not _fits(ink, margin, width, height):
        size -= 1
        ink = _ink(mark.text, size)
    if not _fits(ink, margin, width, height):
        raise InputError(
            f"The watermark needs {ink[2] - ink[0] + margin} x {ink[3] - ink[1] + margin} pixels at size {size} with "
            f"margin {margin}, but the picture has {width} x {height}: shorten --watermark-text or lower "
            "--watermark-size or --watermark-margin."
        )
    left, top = _corner(mark.position, (ink[2] - ink[0], ink[3] - ink[1]), margin, (width, height))
    return Extent(left=left, top=top, right=left + ink[2] - ink[0], bottom=top + ink[3] - ink[1], size=size)


def _fits(ink: tuple[int, int, int, int], margin: int, width: int, height: int) -> bool:
    return ink[2] - ink[0] + margin <= width and ink[3] - ink[1] + margin <= height


def _corner(position: Position, ink: tuple[int, int], margin: int, picture: tuple[int, int]) -> tuple[int, int]:
    """Top left of the ink."""
    room = picture[0] - ink[0], picture[1] - ink[1]
    if position is Position.CENTER:
        return room[0] // 2, room[1] // 2
    return (
        margin if position in (Position.TOP_LEFT, Position.BOTTOM_LEFT) else room[0] - margin,
        margin if position in (Position.TOP_LEFT, Position.TOP_RIGHT) else room[1] - margin,
    )


# Drawing.


def _layer(mark: Watermark, extent: Extent) -> Image.Image:
    """The mark alone, RGBA: letters with a soft halo in the opposite shade, all at the mark's opacity."""
    left, top, right, bottom = _ink(mark.text, extent.size)
    letters = Image.new("L", (right - left, bottom - top))
    draw = ImageDraw.Draw(letters)
    for run in _runs(mark.text, extent.size):
        origin = run.left - left, float(-top)
        if run.font:
            draw.text(origin, run.text, fill=255, font=_font(run.font, extent.size), anchor="ls")
        else:
            _draw_boxes(draw, origin, len(run.text), extent.size)
    color = ImageColor.getrgb(mark.color)[:3]
    layer = Image.composite(
        Image.new("RGB", letters.size, color), Image.new("RGB", letters.size, _opposite(color)), letters
    )
    alpha = ImageChops.lighter(letters, _halo(letters, extent.size))
    layer.putalpha(alpha.point([round(value * mark.opacity) for value in range(256)]))
    return layer


def _halo(letters: Image.Image, size: int) -> Image.Image:
    """The letters grown by a rim and softened."""
    rim = _rim(size)
    grown = letters.filter(ImageFilter.MaxFilter(2 * (rim // 2) + 1)) if rim > 1 else letters
    soft = grown.filter(ImageFilter.GaussianBlur(rim * 0.6))
    return soft.point([min(255, round(value * 1.6)) for value in range(256)])


def _rim(size: int) -> int:
    """Pixels of halo around letters of a size."""
    return max(2, round(size / 10))


def _opposite(color: tuple[int, ...]) -> tuple[int, int, int]:
    """Black for light colours, white for dark ones, by luma (Rec. 601)."""
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    return (0, 0, 0) if luma >= 128 else (255, 255, 255)


def _draw_boxes(draw: ImageDraw.ImageDraw, origin: tuple[float, float], count: int, size: int) -> None:
    """An empty box per letter, as high as a capital."""
    width, stroke = _box_width(size), max(1, size // 12)
    for i in range(count):
        left = round(origin[0] + i * width) + stroke
        right = round(origin[0] + (i + 1) * width) - 1 - stroke
        draw.rectangle((left, round(origin[1] - 0.72 * size), right, round(origin[1]) - 1), outline=255, width=stroke)


# Layout.


@lru_cache(maxsize=256)
def _ink(text: str, size: int) -> tuple[int, int, int, int]:
    """Bounds of a line's ink, halo included, from the start of its baseline."""
    boxes = []
    for run in _runs(text, size):
        if run.font:
            left, top, right, bottom = _font(run.font, size).getbbox(run.text, anchor="ls")
        else:
            left, top, right, bottom = 0, -0.72 * size, len(run.text) * _box_width(size), 0
        boxes.append((run.left + left, top, run.left + right, bottom))
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    rim = _rim(size)
    return (
        int(min(lefts) // 1) - rim,
        int(min(tops) // 1) - rim,
        -int(-max(rights) // 1) + rim,
        -int(-max(bottoms) // 1) + rim,
    )


def _runs(text: str, size: int) -> list[_Run]:
    runs, left = [], 0.0
    for font, letters in groupby(_visible(text), key=_font_for):
        part = "".join(letters)
        runs.append(_Run(text=part, font=font, left=left))
        left += _font(font, size).getlength(part) if font else len(part) * _box_width(size)
    return runs


def _box_width(size: int) -> int:
    return max(5, round(0.7 * size))


def _visible(text: str) -> str:
    """A line as it is drawn: accents joined to their letters, white space as spaces, no format characters."""
    line = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(
        letter for letter in line if unicodedata.category(letter) != "Cf" and not _is_selector(letter)
    ).strip()


def _is_selector(letter: str) -> bool:
    """Variation selectors only modify the letter before them."""
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


# Fonts.


def _font_for(letter: str) -> Path | None:
    return next((path for path in FONTS if ord(letter) in _coverage(path)), None)


@lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The basic layout engine is in every build of Pillow, so that the same mark looks the same everywhere."""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=len(FONTS))
def _coverage(path: Path) -> frozenset[int]:
    """Code points of the Basic Multilingual Plane that a font has: its `cmap` subtable of format 4 (OpenType 1.9)."""
    data = path.read_bytes()
    (tables,) = struct.unpack_from(">H", data, 4)
    records = (struct.unpack_from(">4sIII", data, 12 + 16 * i) for i in range(tables))
    cmap = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    (subtables,) = struct.unpack_from(">H", data, cmap + 2)
    starts = (cmap + struct.unpack_from(">HHI", data, cmap + 4 + 8 * i)[2] for i in range(subtables))
    start = next(start for start in starts if struct.unpack_from(">H", data, start) == (4,))
    return frozenset(_mapped(data, start))


def _mapped(data: bytes, start: int) -> set[int]:
    """Code points to which a format 4 subtable gives a glyph other than "missing"."""
    segments = struct.unpack_from(">H", data, start + 6)[0] // 2
    columns = (start + 14, *(start + 16 + 2 * segments * i for i in (1, 2, 3)))
    ends, firsts, deltas, offsets = (struct.unpack_from(f">{segments}H", data, column) for column in columns)
    mapped = set()
    for i, (first, end, delta, offset) in enumerate(zip(firsts, ends, deltas, offsets, strict=True)):
        for code in range(first, end + 1):
            place = columns[3] + 2 * i + offset + 2 * (code - first)
            glyph = code if offset == 0 else struct.unpack_from(">H", data, place)[0]
            if glyph and (glyph + delta) & 0xFFFF and code != 0xFFFF:
                mapped.add(code)
    return mapped
