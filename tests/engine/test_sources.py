from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from engine import sources
from engine.errors import InputError
from engine.request import SourceImage

RED, BLUE = (255, 0, 0), (0, 0, 255)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image.convert(mode)


def pixels(source: SourceImage) -> Image.Image:
    image = Image.open(io.BytesIO(source.data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return image


def near(ours: Any, theirs: Any, by: int = 12) -> bool:
    """Whether two colours are as good as equal."""
    return bool(np.abs(np.subtract(ours, theirs)).max() <= by)


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", sources.FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_three_kinds_become_a_plain_png_of_the_wanted_size(kind: str, mode: str) -> None:
    image = pixels(sources.source_image(file_of(halves(mode=mode), kind, quality=95), 64, 48))
    assert image.size == (64, 48)
    assert near(image.getpixel((10, 20)), RED if mode == "RGB" else (76, 76, 76))


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_every_mode_of_pixels_is_read(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    plain = halves().convert("L") if mode == "I;16" else halves(mode=mode)
    wide = Image.fromarray(np.array(plain).astype(np.uint16) * 257) if mode == "I;16" else plain
    image = pixels(sources.source_image(file_of(wide, kind), 64, 48))
    assert near(image.getpixel((60, 20)), plain.convert("RGB").getpixel((60, 20)), by=20)


def test_what_is_transparent_lies_on_white() -> None:
    clear = halves(mode="RGBA")
    clear.putalpha(0)
    assert pixels(sources.source_image(file_of(clear), 64, 48)).getpixel((1, 1)) == (255, 255, 255)
    keyed = file_of(halves(mode="P"), transparency=halves(mode="P").getpixel((0, 0)))
    assert near(pixels(sources.source_image(keyed, 64, 48)).getpixel((1, 1)), (255, 255, 255))


def test_a_picture_taken_sideways_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    data = file_of(halves(), "JPEG", quality=95, exif=exif)
    assert sources.upright_size(data) == (48, 64)
    image = pixels(sources.source_image(data, 48, 64))
    assert near(image.getpixel((24, 10)), RED)
    assert near(image.getpixel((24, 54)), BLUE)


def test_no_metadata_is_passed_on() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    data = file_of(halves(), "JPEG", exif=exif, comment=b"my name", icc_profile=b"profile")
    image = pixels(sources.source_image(data, 64, 48))
    assert not image.info
    assert not image.getexif()


def test_another_shape_is_cropped_at_the_centre() -> None:
    striped = ImageOps.expand(Image.new("RGB", (64, 64), RED), (64, 0), BLUE)
    image = pixels(sources.source_image(file_of(striped), 64, 64))
    assert near(image.getpixel((32, 32)), RED)
    assert near(image.getpixel((3, 32)), RED)


def test_of_a_moving_picture_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in (RED, BLUE)]
    data = file_of(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(sources.source_image(data, 64, 64)).getpixel((9, 9)) == RED


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_kinds_are_refused_whatever_they_are_called(kind: str) -> None:
    with pytest.raises(InputError, match="must be a PNG, JPEG or WebP"):
        sources.source_image(file_of(halves(64, 64), kind), 64, 64)


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ((20_000, 20_000), "at most 40 megapixels"),
        ((12_001, 100), "12000 pixels a side"),
        ((8_000, 6_000), "at most 40 megapixels"),
        ((31, 64), "at least 32 pixels"),
        ((400, 40), "8 times as long"),
    ],
)
def test_dimensions_are_bounded_before_anything_is_decoded(size: tuple[int, int], sentence: str) -> None:
    for read in (sources.upright_size, lambda data: sources.source_image(data, 64, 64)):
        with pytest.raises(InputError, match=sentence):
            read(claimed(*size))


def test_a_bomb_costs_no_memory() -> None:
    """100 MB of zeros in 100 kB, announced as a small picture: nobody unfolds more than announced."""
    data = claimed(64, 64).replace(zlib.compress(b""), zlib.compress(bytes(10**8)))
    with pytest.raises(InputError):
        sources.source_image(data, 64, 64)


def test_large_files_are_not_looked_at() -> None:
    with pytest.raises(InputError, match="at most 10 MiB"):
        sources.source_image(b"\xff" * (sources.MAX_BYTES + 1), 64, 64)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_damage_is_one_sentence(data: st.DataObject) -> None:
    whole = file_of(halves(), data.draw(st.sampled_from(sources.FORMATS)))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from([whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]])
    )
    try:
        source = sources.source_image(damaged, 64, 64)
    except InputError as error:
        assert error.sentence.endswith(".")  # noqa: PT017
    else:
        assert pixels(source).size == (64, 64)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        sources.source_image(data, 64, 64)


@pytest.mark.parametrize(
    ("size", "expected"), [((300, 300), (512, 512)), ((400, 100), (1024, 256)), ((90, 160), (384, 680))]
)
def test_a_request_without_a_size_gets_the_images_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert sources.request_size(file_of(halves(*size)), side=512, low=256, high=1024) == expected


def test_what_came_over_the_network_is_checked_again() -> None:
    source = sources.source_image(file_of(halves()), 64, 48)
    assert sources.opened(source).size == (64, 48)
    for hostile in (source.data[:-30], claimed(20_000, 20_000)):
        with pytest.raises(InputError):
            sources.opened(SourceImage(data=hostile))


def test_nothing_heavy_is_imported() -> None:
    script = "import sys, engine.sources; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
