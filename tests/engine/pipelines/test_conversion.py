from __future__ import annotations

import resource
from pathlib import Path

import pytest
import structlog
import torch
from safetensors.torch import load_file

from engine.errors import WeightsError
from engine.pipelines.conversion import as_safetensors


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "v2-768.ckpt"
    torch.save({"state_dict": {"a": torch.arange(6.0).view(2, 3).T, "b": torch.ones(2)}, "step": 3}, path)
    return path


def test_a_checkpoint_is_converted_once_under_its_own_name(checkpoint: Path, tmp_path: Path) -> None:
    converted = as_safetensors(checkpoint, tmp_path / "converted")
    assert converted.name == "v2-768.safetensors"
    weights = load_file(converted)
    assert torch.equal(weights["a"], torch.arange(6.0).view(2, 3).T)
    assert weights.keys() == {"a", "b"}
    written = converted.stat().st_mtime_ns
    assert as_safetensors(checkpoint, tmp_path / "converted") == converted
    assert converted.stat().st_mtime_ns == written
    assert [path.name for path in converted.parent.iterdir()] == [converted.name]


def test_other_weights_under_the_same_name_are_converted_anew(checkpoint: Path, tmp_path: Path) -> None:
    first = as_safetensors(checkpoint, tmp_path / "converted")
    torch.save({"a": torch.zeros(3)}, checkpoint)
    second = as_safetensors(checkpoint, tmp_path / "converted")
    assert first != second
    assert torch.equal(load_file(second)["a"], torch.zeros(3))


def test_safetensors_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert as_safetensors(path, tmp_path / "converted") == path
    assert not (tmp_path / "converted").exists()


def test_where_the_conversion_cannot_be_kept_the_original_serves(checkpoint: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    assert as_safetensors(checkpoint, in_the_way) == checkpoint


def test_where_the_disk_is_full_the_original_serves(checkpoint: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        with structlog.testing.capture_logs():
            assert as_safetensors(checkpoint, tmp_path / "converted") == checkpoint
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path for path in (tmp_path / "converted").rglob("*") if path.is_file()] == []


def test_a_pickle_of_more_than_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "callback": Path}, path)
    with pytest.raises(WeightsError, match="more than tensors"):
        as_safetensors(path, tmp_path / "converted")
