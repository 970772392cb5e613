"""What can be told of a model's files without loading them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import WeightsError
from engine.models.registry import EMOJI, EMOJI_FOLDER, resolve
from engine.models.whole import look_over
from engine.settings import EngineSettings

WEIGHTS = {"a": torch.zeros(64, 64), "b": torch.ones(3)}


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A folder for single files, with the vocabulary beside them."""
    shutil.copytree(EMOJI_FOLDER / "tokenizer", tmp_path / "tokenizer")
    return tmp_path


def examine(path: Path | str, models: Path) -> None:
    look_over(resolve(str(path), EngineSettings(home=models)), models)


def test_the_bundled_model_is_whole(tmp_path: Path) -> None:
    examine(EMOJI, tmp_path)


@pytest.mark.parametrize("name", ["whole.safetensors", "zipped.ckpt", "old.ckpt"])
def test_whole_single_files(single: Path, name: str) -> None:
    if name.endswith(".ckpt"):
        torch.save(WEIGHTS, single / name, _use_new_zipfile_serialization=name == "zipped.ckpt")
    else:
        save_file(WEIGHTS, single / name)
    examine(single / name, single)


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.ckpt"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_single_files_that_were_cut_off(single: Path, name: str, kept: float) -> None:
    path = single / name
    if path.suffix == ".ckpt":
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(WeightsError, match="truncated or damaged"):
        examine(path, single)


@pytest.mark.parametrize("name", ["page.safetensors", "page.ckpt"])
def test_an_error_page_is_no_model(single: Path, name: str) -> None:
    (single / name).write_text("<!DOCTYPE html><title>401</title>" * 20, encoding="utf-8")
    with pytest.raises(WeightsError, match="truncated or damaged"):
        examine(single / name, single)


def test_a_single_file_without_a_vocabulary(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "alone.safetensors")
    with pytest.raises(WeightsError, match="easel fetch clip-tokenizer"):
        examine(tmp_path / "alone.safetensors", tmp_path)


def test_a_folder_of_which_one_part_was_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EMOJI_FOLDER, folder)
    examine(folder, tmp_path)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="vae"):
        examine(folder, tmp_path)
