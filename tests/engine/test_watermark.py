"""Marks of every kind against golden pictures (see tests/golden/README.md), and marks that can't be drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from engine import watermark
from engine.errors import InputError
from engine.types import Position, Watermark

GOLDEN = Path(__file__).parents[1] / "golden"
MIN_PSNR = 40.0
"""dB; FreeType's releases differ by a grey level here and there."""


def white(side: int) -> Image.Image:
    return Image.new("RGB", (side, side), "white")


def black(side: int) -> Image.Image:
    return Image.new("RGB", (side, side), "black")


def photo(side: int) -> Image.Image:
    """Smooth colours with detail, made of whole numbers only."""
    y, x = np.mgrid[0:side, 0:side] * 256 // side
    channels = (x, (x * y) // 256, 255 - y)
    grain = (x * 7 + y * 13) % 32
    return Image.fromarray(np.stack([np.clip(c + grain - 16, 0, 255) for c in channels], axis=2).astype(np.uint8))


PICTURES = {
    "white-128": (white(128), Watermark(text="Easel")),
    "white-256": (white(256), Watermark(text="Easel", position=Position.TOP_LEFT, opacity=0.3)),
    "white-512": (white(512), Watermark(text="made by the Friday art club", position=Position.CENTER)),
    "black-256": (black(256), Watermark(text="Żółć ñ Ελλάδα Привет", position=Position.TOP_RIGHT, opacity=1.0)),
    "black-dark": (black(256), Watermark(text="dark on dark", color="#101030", opacity=0.8)),
    "photo-256": (photo(256), Watermark(text="日本語 你好 안녕", position=Position.BOTTOM_LEFT, opacity=0.9, size=24)),
    "photo-512": (photo(512), Watermark(text="Easel 🎨 עברית", color="#ffcc00", opacity=0.7, size=40, margin=30)),
    "photo-1024": (photo(1024), Watermark(text="Easel")),
}


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = float(np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """Bounds of the pixels that differ."""
    different = (np.asarray(before) != np.asarray(after)).any(axis=2)
    rows, columns = np.flatnonzero(different.any(axis=1)), np.flatnonzero(different.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("name", PICTURES)
def test_marks_look_as_they_did(name: str) -> None:
    picture, mark = PICTURES[name]
    marked, _ = watermark.apply(picture, mark)
    box = changed(picture, marked)
    with Image.open(GOLDEN / f"watermark-{name}.png") as golden:
        assert psnr(marked, golden) > MIN_PSNR
        assert psnr(marked.crop(box), golden.crop(box)) > 30, "within the mark itself"


@pytest.mark.parametrize("position", Position)
@pytest.mark.parametrize("size", [None, 6, 17, 40])
def test_a_mark_lies_where_it_was_asked_for(position: Position, size: int | None) -> None:
    mark = Watermark(text="Agypt", position=position, margin=20, opacity=1.0, size=size)
    picture = Image.new("RGB", (400, 300), (128, 128, 128))
    marked, _ = watermark.apply(picture, mark)
    extent = watermark.measure(mark, 400, 300)
    left, top, right, bottom = changed(picture, marked)
    assert (extent.left <= left, extent.top <= top, right <= extent.right, bottom <= extent.bottom) == (True,) * 4
    room = max(2, extent.size // 5)
    distances = {"left": left, "top": top, "right": 400 - right, "bottom": 300 - bottom}
    if position is Position.CENTER:
        assert abs(distances["left"] - distances["right"]) <= room
        assert abs(distances["top"] - distances["bottom"]) <= room
    for side in position.value.split("-"):
        if side in distances:
            assert 20 <= distances[side] <= 20 + room


@pytest.mark.parametrize("picture", [white(256), black(256), photo(256)], ids=["white", "black", "photo"])
@pytest.mark.parametrize("color", ["#ffffff", "#000000", "#777777"])
def test_a_mark_can_be_read_on_any_background(picture: Image.Image, color: str) -> None:
    marked, _ = watermark.apply(picture, Watermark(text="Easel", color=color))
    crop = np.asarray(marked.crop(changed(picture, marked)).convert("L"), float)
    assert crop.max() - crop.min() > 60


@given(st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_no_pixel_changes_by_more_than_the_opacity(opacity: float) -> None:
    picture = photo(128)
    marked, _ = watermark.apply(picture, Watermark(text="Easel", opacity=opacity))
    change = np.abs(np.asarray(marked, float) - np.asarray(picture, float)).max()
    assert change <= 255 * opacity + 1.5


def test_opacity_zero_changes_nothing_and_the_picture_given_is_never_touched() -> None:
    picture = photo(128)
    before = picture.tobytes()
    unmarked, _ = watermark.apply(picture, Watermark(text="Easel 🎨", opacity=0.0))
    assert unmarked.tobytes() == before
    watermark.apply(picture, Watermark(text="Easel"))
    assert picture.tobytes() == before


def test_transparency_is_kept() -> None:
    clear = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    marked, _ = watermark.apply(clear, Watermark(text="Easel", opacity=0.5))
    assert marked.mode == "RGBA"
    assert marked.getpixel((0, 0)) == (0, 0, 0, 0)
    assert marked.getchannel("A").getextrema() == (0, 128)
    assert watermark.apply(Image.new("L", (128, 128)), Watermark(text="Easel"))[0].mode == "RGB"


def test_the_same_mark_gives_the_same_pixels() -> None:
    mark = Watermark(text="Easel 日本")
    assert watermark.apply(photo(256), mark)[0].tobytes() == watermark.apply(photo(256), mark)[0].tobytes()


def test_letters_that_the_fonts_lack_are_named_once_and_drawn_as_boxes() -> None:
    marked, missing = watermark.apply(white(256), Watermark(text="a🎨b🎨ש日", opacity=1.0))
    assert missing == "🎨ש"
    boxless, _ = watermark.apply(white(256), Watermark(text="ab日", opacity=1.0))
    assert changed(white(256), marked)[0] < changed(white(256), boxless)[0]


def test_composed_and_decomposed_accents_are_one() -> None:
    one, other = (watermark.apply(white(256), Watermark(text=text))[0] for text in ("é", "e\u0301"))
    assert one.tobytes() == other.tobytes()


def test_invisible_letters_take_no_room() -> None:
    plain = watermark.apply(white(256), Watermark(text="a b"))
    padded = watermark.apply(white(256), Watermark(text="a\u200b \n b\ufe0f\u2066"))
    assert plain[0].tobytes() == padded[0].tobytes()
    assert padded[1] == ""


@pytest.mark.parametrize("path", watermark.FONTS, ids=lambda path: path.stem)
def test_the_letters_read_from_a_font_are_those_it_draws(path: Path) -> None:
    font = ImageFont.truetype(path, 16, layout_engine=ImageFont.Layout.BASIC)
    missing = font.getmask("\uffff").getbbox(), bytes(font.getmask("\uffff"))
    codes = [
        *range(0x21, 0x7F),
        *range(0xA1, 0x180),
        0x3A9,
        0x416,
        0x5D0,
        0x627,
        0x3042,
        0x4E00,
        0x9F98,
        0xAC00,
        0xE000,
    ]
    for code in codes:
        drawn = font.getmask(chr(code)).getbbox(), bytes(font.getmask(chr(code)))
        assert (drawn != missing) == (code in watermark._coverage(path)), hex(code)


@pytest.mark.parametrize(
    "text",
    [
        "ÀÉÎÕÜßøåæœçñ",
        "ŁąĘżŹćňřšůŐű",
        "ğİışţĂ",
        "ẬếỗữỵĐ",
        "ΑΒΓάώ",
        "ЖЩЫЭЯіїєґ",
        "漢字かなカナ",
        "简体字",
        "繁體字臺灣",
        "한국어뷁",
    ],
)
def test_the_fonts_cover_accents_and_the_scripts_of_east_asia(text: str) -> None:
    assert watermark.apply(white(512), Watermark(text=text))[1] == ""


@pytest.mark.parametrize("side", [64, 128, 256, 512, 1024, 2048])
def test_letters_grow_with_the_picture(side: int) -> None:
    assert watermark.measure(Watermark(text="Easel"), side, side).size == max(10, round(side / 24))


def test_a_long_mark_shrinks_before_it_is_refused() -> None:
    mark = Watermark(text="made by the Friday art club")
    assert watermark.MIN_SIZE <= watermark.measure(mark, 128, 128).size < 10
    with pytest.raises(InputError, match=r"128 x 128: shorten --watermark-text or lower --watermark-size"):
        watermark.check(Watermark(text="w" * 100), 128, 128)


@pytest.mark.parametrize(
    "mark",
    [
        Watermark(text="made by the Friday art club", size=30),
        Watermark(text="Easel", margin=512),
        Watermark(text="i", size=256),
        Watermark(text="m" * 60, size=6, position=Position.CENTER),
    ],
)
def test_a_mark_longer_than_the_picture_gets_its_sentence(mark: Watermark) -> None:
    with pytest.raises(InputError, match="picture has 128 x 128"):
        watermark.apply(white(128), mark)


@pytest.mark.parametrize("text", ["\u200b", "\u2066\ufe0f"])
def test_a_mark_that_nobody_can_see_gets_its_sentence(text: str) -> None:
    with pytest.raises(InputError, match="no letter"):
        watermark.check(Watermark(text=text), 512, 512)


@given(
    text=st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1),
    position=st.sampled_from(Position),
    size=st.none() | st.integers(6, 256),
    margin=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_a_mark_lies_within_the_picture_or_is_refused(
    text: str, position: Position, size: int | None, margin: int
) -> None:
    mark = Watermark.model_construct(
        text=text[:100], position=position, opacity=1.0, size=size, color="#ffffff", margin=margin
    )
    try:
        extent = watermark.measure(mark, 256, 192)
    except InputError as error:
        assert error.sentence.endswith(".")  # noqa: PT017
        return
    assert 0 <= extent.left < extent.right <= 256
    assert 0 <= extent.top < extent.bottom <= 192
    watermark.apply(black(192).resize((256, 192)), mark)
