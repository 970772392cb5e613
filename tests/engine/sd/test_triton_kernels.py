"""The Triton kernel, run by Triton's interpreter where there is no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
import torch.nn.functional as F
from engine.sd.triton_kernels import group_norm_silu

device = "cuda" if torch.cuda.is_available() else "cpu"
for batch, channels, height, width, groups in ((2, 32, 5, 7, 32), (1, 320, 9, 8, 32), (2, 24, 65, 33, 4)):
    generator = torch.Generator().manual_seed(channels)
    x = (torch.randn(batch, channels, height, width, generator=generator) * 3 + 20).to(device)
    x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = (torch.randn(channels, generator=generator).to(device) for _ in range(2))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 1e-2)):
        arguments = x.to(dtype), weight.to(dtype), bias.to(dtype)
        ours = group_norm_silu(*arguments, groups, 1e-5)
        exact = [each.double() for each in arguments]
        theirs = F.silu(F.group_norm(exact[0], groups, exact[1], exact[2], 1e-5))
        assert ours.dtype == dtype and ours.is_contiguous(memory_format=torch.channels_last)
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error < tolerance, (channels, dtype, float(error))
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton, a gigabyte: pip install triton")
def test_group_norm_and_silu_are_torchs() -> None:
    import torch

    environment = os.environ | ({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "equal\n", done.stderr
