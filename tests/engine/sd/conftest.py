from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.sd.checkpoint import Components, load
from tests.engine.sd.siblings import Family, reference_pipeline, save_folder


class Pair:
    """A pipeline of diffusers, the folder it was saved to, and ours loaded from there."""

    def __init__(self, family: Family, folder: Path) -> None:
        self.family = family
        self.theirs: Any = reference_pipeline(family)
        self.folder = save_folder(self.theirs, family, folder)
        self.ours: Components = load(self.folder)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], Pair]:
    return cache(lambda family: Pair(family, tmp_path_factory.mktemp(family)))


@pytest.fixture(params=["sd1", "sd2"])
def pair(request: pytest.FixtureRequest, pairs: Callable[[Family], Pair]) -> Pair:
    return pairs(request.param)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from more, and lose much when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield
