from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.sd.weights import read_weights


def mapped_megabytes() -> float:
    """Of files, in this process's memory."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssFile"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_pages_that_were_read_can_be_given_back(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    save_file({"a": torch.rand(2**23), "b": torch.rand(2**23)}, path)  # 64 MiB
    weights = read_weights(path)
    total = float(weights["a"].sum() + weights["b"].sum())
    full = mapped_megabytes()
    weights.forget_pages()
    assert mapped_megabytes() < full - 50
    assert float(weights["a"].sum() + weights["b"].sum()) == total


def test_every_number_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "formats.safetensors"
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8)
    written = {str(kind): torch.arange(1, 7).view(2, 3).to(kind) for kind in kinds}
    written |= {"flags": torch.tensor([True, False]), "one": torch.tensor(3.5), "none": torch.zeros(0, 4)}
    save_file(written, path)
    read = read_weights(path)
    assert read.keys() == written.keys()
    for name, weight in written.items():
        assert read[name].dtype == weight.dtype
        assert torch.equal(read[name], weight)
