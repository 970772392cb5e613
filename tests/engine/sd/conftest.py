from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.sd.checkpoint import Components, load
from tests.engine.sd.original_layout import single_file
from tests.engine.sd.siblings import Family, reference_pipeline, save_folder, write_tokenizer


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


def write_single(pair: Pair, path: Path) -> Path:
    save_file(single_file(pair.theirs, second=pair.family == "sd2"), path)
    write_tokenizer(path.parent / "tokenizer", pad="!" if pair.family == "sd2" else "<|endoftext|>")
    return path


@pytest.fixture(scope="session")
def singles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Pair], Path]:
    return cache(lambda pair: write_single(pair, tmp_path_factory.mktemp("single") / "v2-1_768-ema-pruned.safetensors"))


@pytest.fixture
def published(pair: Pair, singles: Callable[[Pair], Path]) -> Path:
    """The pair's weights in a single file, not to be changed."""
    return singles(pair)


@pytest.fixture
def single(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / published.name


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
