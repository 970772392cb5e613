"""From a stranger's file to an image to start from. Torch-free, so that a bot without an engine can do it as well.

Nothing is decoded before its kind and its dimensions are known: the kind by content, never by name, and one of three;
the dimensions from the header, so that a small file can't unfold into gigabytes. What is passed on is a PNG of our own
making, without the file's metadata.
"""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, ImageOps, UnidentifiedImageError

from engine.errors import InputError
from engine.request import SIZE_STEP, SourceImage

MAX_BYTES = 10 * 2**20
"""Of a file that is looked at."""
MAX_SIDE = 12_000
MAX_PIXELS = 40_000_000
"""Width times height: a large photograph, 160 MB decoded."""
MIN_SIDE = 32
MAX_RATIO = 8
"""Of the longer side to the shorter."""
FORMATS = ("PNG", "JPEG", "WEBP")
COMPRESSION = 1

_TOO_LARGE = f"An image to start from may have at most {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE} pixels a side."
_UNDECODABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    OverflowError,
    IndexError,
    KeyError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged or hostile files."""


def source_image(data: bytes, width: int, height: int) -> SourceImage:
    """Check a file and bring it to the size of a request, in pixels: turned upright, on white, cropped at the centre.

    Takes up to a second and belongs in a thread. Of a moving picture the first frame is taken.

    Raises:
        InputError: it is no PNG, JPEG or WebP, is damaged, or is out of bounds; the sentence says which.
    """
    try:
        with _opened(data) as image:
            image.draft("RGB", (width, height))  # a JPEG is decoded no larger than needed
            return _as_source(fitted(_flat(image), width, height))
    except _UNDECODABLE as error:
        raise InputError("The image is damaged and can't be read.") from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a file as it is shown, from its header alone.

    Raises:
        InputError: as of `source_image`.
    """
    try:
        with _opened(data) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # TIFF's orientations that lie on their side
            return (image.height, image.width) if turned else (image.width, image.height)
    except _UNDECODABLE as error:
        raise InputError("The image is damaged and can't be read.") from error


def request_size(data: bytes, *, side: int, low: int, high: int) -> tuple[int, int]:
    """Width and height for a request that names none: the image's shape, of about `side` x `side` pixels.

    `low` and `high` bound each side, as of a model.

    Raises:
        InputError: as of `source_image`.
    """
    width, height = upright_size(data)
    scale = side / (width * height) ** 0.5
    return _stepped(width * scale, low, high), _stepped(height * scale, low, high)


def opened(source: SourceImage) -> Image.Image:
    """The pixels of a checked image, checked once more: it may have come over a network.

    Raises:
        InputError: it is damaged or out of bounds.
    """
    try:
        with _opened(source.data, limit=len(source.data)) as image:
            return _flat(image)
    except _UNDECODABLE as error:
        raise InputError("The image is damaged and can't be read.") from error


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of an image, scaled by Lanczos' filter to fill width x height pixels."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def _opened(data: bytes, *, limit: int = MAX_BYTES) -> Image.Image:
    """A file whose kind and dimensions are in bounds; only its header has been read.

    Raises:
        InputError: they aren't.
    """
    if len(data) > limit:
        raise InputError(f"An image to start from may have at most {MAX_BYTES // 2**20} MiB.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InputError("An image to start from must be a PNG, JPEG or WebP file.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # Pillow's own, wider bounds
        raise InputError(_TOO_LARGE) from error
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(_TOO_LARGE)
    if min(width, height) < MIN_SIDE:
        raise InputError(f"An image to start from needs at least {MIN_SIDE} pixels a side, not {width}x{height}.")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InputError(f"An image to start from may be at most {MAX_RATIO} times as long as wide.")
    return image


def _flat(image: Image.Image) -> Image.Image:
    """Decoded RGB, upright, transparent parts on white."""
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel, which a plain conversion would cut off at 255
        upright = upright.convert("I").point(lambda level: level / 257).convert("L")
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    clear = upright.convert("RGBA")
    white = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(white, clear).convert("RGB")


def _as_source(image: Image.Image) -> SourceImage:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=COMPRESSION, icc_profile=None, exif=b"")
    return SourceImage(data=file.getvalue())


def _stepped(side: float, low: int, high: int) -> int:
    """The nearest allowed side."""
    return min(max(round(side / SIZE_STEP) * SIZE_STEP, low), high)
