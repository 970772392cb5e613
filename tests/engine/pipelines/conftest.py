from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.pipelines.base import Look
from engine.settings import EngineSettings
from engine.types import ResolvedRequest, Sampler
from tests.engine.sd.siblings import Family, reference_pipeline, save_folder

Ask = Callable[..., ResolvedRequest]


class Sibling:
    """A small random Stable Diffusion: as diffusers has it, and the folder it was saved to."""

    def __init__(self, family: Family, folder: Path) -> None:
        self.family = family
        self.theirs: Any = reference_pipeline(family)
        self.folder = save_folder(self.theirs, family, folder)


@pytest.fixture(scope="session")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Sibling:
    return Sibling("sd1", tmp_path_factory.mktemp("sd1") / "small-sd1")


@pytest.fixture(scope="session")
def sd2(tmp_path_factory: pytest.TempPathFactory) -> Sibling:
    return Sibling("sd2", tmp_path_factory.mktemp("sd2") / "small-sd2")


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings(home=tmp_path / "home", device="cpu", threads=1, compile="off")


def ask(prompt: str = "a red apple", **options: object) -> ResolvedRequest:
    """A resolved request of few steps at 64 pixels."""
    values: dict[str, object] = {
        "prompt": prompt,
        "steps": 4,
        "guidance": 5.0,
        "width": 64,
        "height": 64,
        "seed": 7,
        "sampler": Sampler.DPMPP_2M,
        "model": "small",
    }
    return ResolvedRequest.model_validate(values | options)


def psnr(ours: Image.Image, theirs: Image.Image) -> float:
    """Peak signal-to-noise ratio in decibels; infinite for equal pictures."""
    assert ours.size == theirs.size
    error = float(np.mean((np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ignore_steps(step: int, steps: int, look: Look | None = None, /) -> None:
    """The callback of tests that don't watch."""
