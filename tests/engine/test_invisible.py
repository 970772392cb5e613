from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import invisible
from engine.invisible import FALSE_ALARMS, LIMIT, MAX_NUMBER, apply, find

GOLDEN = Path(__file__).parents[1] / "golden"
NUMBER = 0xBEEF


def scene(side: int = 512, height: int | None = None) -> Image.Image:
    """A picture with a gradient, texture and edges, always the same."""
    size = (side, height or side)
    rng = np.random.default_rng(size[0])
    sky = np.linspace(90, 200, size[1])[:, None, None] * np.array([0.7, 0.9, 1.0])
    ground = np.asarray(
        Image.fromarray(rng.integers(0, 255, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8)).resize(size), np.float32
    )
    mask = (np.add.outer(np.arange(size[1]), 0.4 * np.arange(size[0])) > 0.75 * size[1])[:, :, None]
    return Image.fromarray(np.where(mask, 0.5 * ground + 60, sky).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, kind, quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, Image.Resampling.LANCZOS)


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return float(10 * np.log10(255**2 / np.mean(error**2)))


DAMAGE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "nothing": lambda picture: picture,
    "JPEG 90": lambda picture: encoded(picture, "JPEG", 90),
    "JPEG 75": lambda picture: encoded(picture, "JPEG", 75),
    "WebP 80": lambda picture: encoded(picture, "WEBP", 80),
    "half": lambda picture: scaled(picture, 0.5),
    "two thirds": lambda picture: scaled(picture, 2 / 3),
    "larger": lambda picture: scaled(picture, 1.37),
    "double": lambda picture: scaled(picture, 2),
    "half, then JPEG 75": lambda picture: encoded(scaled(picture, 0.5), "JPEG", 75),
    "grey": lambda picture: picture.convert("L"),
    "palette": lambda picture: picture.quantize(256),
    "darker": lambda picture: picture.point([value * 0.8 for value in range(256)] * 3),
}


@pytest.fixture(scope="module")
def marked() -> Image.Image:
    return apply(scene(), NUMBER)


@pytest.mark.parametrize("damage", DAMAGE)
def test_outlives(marked: Image.Image, damage: str) -> None:
    found = find(DAMAGE[damage](marked), cropped=False)
    assert found is not None
    assert (found.number, found.cropped) == (NUMBER, False)


@pytest.mark.parametrize("box", [(0.05, 0.05, 0.95, 0.95), (0.1, 0.0, 1.0, 0.93)])
def test_outlives_a_mild_crop(marked: Image.Image, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = (share * side for share, side in zip(box, marked.size * 2, strict=True))
    part = marked.crop((round(left), round(top), round(right), round(bottom)))
    found = find(encoded(part, "JPEG", 85))
    assert found is not None
    assert (found.number, found.cropped) == (NUMBER, True)


@pytest.mark.parametrize("name", ["white-128", "black-256", "photo-256", "photo-512", "white-512"])
def test_drawings_and_photographs_keep_it(name: str) -> None:
    picture = Image.open(GOLDEN / f"watermark-{name}.png").convert("RGB")
    marked = apply(picture, 7)
    assert psnr(picture, marked) >= 40
    for damage in ("nothing", "JPEG 75", "half", "double"):
        found = find(DAMAGE[damage](marked), cropped=False)
        assert found is not None, damage
        assert found.number == 7


@pytest.mark.parametrize("size", [(128, 128), (512, 512), (768, 512), (1024, 1024)])
def test_can_hardly_be_seen(size: tuple[int, int]) -> None:
    picture = scene(*size)
    assert psnr(picture, apply(picture, NUMBER)) >= 40


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_keeps_size_and_transparency(mode: str) -> None:
    picture = scene(128).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    marked = apply(picture, 1)
    assert marked.size == picture.size
    assert marked.mode == ("RGBA" if mode == "RGBA" else "RGB")
    if mode == "RGBA":
        assert marked.getchannel("A").tobytes() == picture.getchannel("A").tobytes()


def test_the_same_picture_and_number_give_the_same_pixels() -> None:
    assert apply(scene(128), 5).tobytes() == apply(scene(128), 5).tobytes()
    assert apply(scene(128), 5).tobytes() != apply(scene(128), 6).tobytes()


@pytest.mark.parametrize("number", [0, 1, 255, 256, MAX_NUMBER])
def test_carries_every_number(number: int) -> None:
    found = find(apply(scene(192), number), cropped=False)
    assert found is not None
    assert found.number == number


def test_the_bound_on_false_alarms_counts_every_trial() -> None:
    assert FALSE_ALARMS < 1e-6
    trials = 3 + 2 * len(invisible._parts()) ** 2 * 4 * 32**2
    assert pytest.approx(trials * 2**16 * math.exp(-(LIMIT**2) / 2)) == FALSE_ALARMS


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([64, 96, 128, 200, 300]), st.floats(0, 3))
def test_finds_nothing_in_noise_of_any_colour(seed: int, side: int, slope: float) -> None:
    """Noise whose spectrum falls as 1/f^slope, as that of photographs does for slopes about 1."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=(side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    noise = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / side) ** slope, s=(side, side))
    picture = Image.fromarray(np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8))
    assert find(picture, cropped=False) is None


@pytest.mark.parametrize("period", [2, 3, 4, 8, 16, 32])
def test_finds_nothing_in_regular_patterns(period: int) -> None:
    grid = np.indices((256, 256)) // period
    for pattern in ((grid[0] + grid[1]) % 2, grid[0] % 2, grid[0] * grid[1] % 2):
        assert find(Image.fromarray((pattern * 255).astype(np.uint8)), cropped=False) is None


def test_finds_nothing_in_unmarked_pictures() -> None:
    assert find(scene()) is None
    for path in GOLDEN.glob("*.png"):
        assert find(Image.open(path), cropped=False) is None


def test_the_score_of_unmarked_pictures_is_as_small_as_chance() -> None:
    """Over many pictures the constant part, which is the same in all marks, scores like a normal variable."""
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(200):
        cells = np.cumsum(np.cumsum(rng.normal(size=(64, 64)), 0), 1).astype(np.float32)
        chips = invisible._folded(invisible._whitened(cells)).ravel() * invisible._signs()
        scores.append(chips[invisible._order()[0]].sum() / np.linalg.norm(chips[invisible._order()[0]]))
    assert abs(np.mean(scores)) < 0.3
    assert np.std(scores) < 1.3


@pytest.mark.parametrize("mode", ["1", "P", "PA", "LA", "RGBA", "CMYK", "I;16", "I", "F"])
def test_looks_at_pictures_of_every_mode(mode: str) -> None:
    assert find(Image.new(mode, (4096, 64)), cropped=False) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64), (4096, 8), (5000, 3000)])
def test_takes_any_size(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (120, 150, 190))
    assert find(picture, cropped=False) is None
    if max(size) < 4096:
        assert apply(picture, 1).size == size
