"""The comparison with diffusers compares like with like, and prints what it promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import duel, engine, exact, ladder, quality, report
from benchmarks.similarity import psnr, ssim
from engine.bench import spread
from engine.types import Quality

KEYS = {"ratio", "ours_s", "peer_s", "max_abs_diff", "relative_l2", "tflop", "peak_mb"}


def terms(work: Path, *more: str) -> duel.Terms:
    options = ["--model", "emoji", "--backend", "eager", "--device", "cpu", "--size", "128", "--guidance", "2.5"]
    return engine.read(engine.parse([*options, "--steps", "3", "--repeats", "1", "--work", str(work), *more]))


@pytest.mark.parametrize("against", ["diffusers", "diffusers-tuned"])
def test_both_sides_draw_the_same_latents(tmp_path: Path, against: str) -> None:
    figures = duel.loop(terms(tmp_path, "--against", against)).figures()
    assert figures.keys() >= KEYS
    assert figures["relative_l2"] < 1e-4
    assert figures["ratio"] == pytest.approx(figures["peer_s"] / figures["ours_s"], rel=0.01)


def test_both_sides_draw_the_same_picture(tmp_path: Path) -> None:
    figures = duel.whole(terms(tmp_path, "--whole")).figures()
    assert figures["max_abs_diff"] <= 1.01 / 255


def test_an_approximation_is_seen_in_the_difference(tmp_path: Path) -> None:
    asked = replace(terms(tmp_path, "--whole"), steps=9)
    near, far = (duel.whole(replace(asked, quality=way)).figures() for way in (Quality.EXACT, Quality.FAST))
    assert far["relative_l2"] > 10 * near["relative_l2"]
    assert far["tflop"] < near["tflop"]


def test_every_exact_rung_draws_the_same(tmp_path: Path) -> None:
    figures = exact.measure(terms(tmp_path))
    assert len(figures) >= 4
    assert all(row["relative_l2"] < 1e-4 for row in figures.values())
    assert exact.markdown(figures, "x").count("\n") == len(figures) + 2


def test_the_count_of_work_is_the_published_one() -> None:
    whole = next(rung for rung in ladder.rungs() if rung.name == "exact, 50 steps")
    assert whole.tflop == pytest.approx(82.9, rel=0.01)
    assert whole.evaluations == 100


def test_how_far_times_lie_apart() -> None:
    assert spread([4.0]) == 0
    assert spread([3.0, 4.0, 5.0]) == pytest.approx(0.5)


def test_likeness_is_measured() -> None:
    quick = [replace(way, steps=5 if way.precision == "bfloat16" else 9) for way in quality.WAYS]
    rows = quality.measure(["red apple"], threads=None, ways=quick)
    reference = rows[quality.REFERENCE.name]
    assert reference["ssim"] == pytest.approx(1)
    others = [row for name, row in rows.items() if name != quality.REFERENCE.name]
    assert all(row["psnr"] > 15 and row["ssim"] < 1 for row in others)


def test_a_picture_is_like_itself_and_less_so_when_changed() -> None:
    from PIL import Image, ImageFilter

    generator = torch.Generator().manual_seed(0)
    picture = Image.fromarray(torch.randint(0, 256, (64, 64, 3), generator=generator, dtype=torch.uint8).numpy())
    blurred = picture.filter(ImageFilter.GaussianBlur(1))
    assert ssim(picture, picture) == pytest.approx(1)
    assert psnr(picture, picture) == float("inf")
    assert ssim(picture, blurred) < 0.9
    assert psnr(picture, blurred) < 25


def test_the_page_has_a_block_for_each_section() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    for name in report.SECTIONS:
        assert report.put(page, name, "text") != page
    with pytest.raises(ValueError, match="no block for nothing"):
        report.put(page, "nothing", "text")
