"""Group normalisation followed by SiLU, the pair that every convolution of the networks begins with.

On NVIDIA GPUs one Triton kernel does both on channels-last maps; torch has none for that layout and reads and writes
the map four times instead of twice. Everywhere else, and where Triton is absent, torch does it.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch.nn.functional as F
from torch import Tensor, nn


@cache
def triton_available() -> bool:
    """Whether the fused kernel can be built."""
    return importlib.util.find_spec("triton") is not None


def norm_silu(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """[batch, channels, h, w] in and out, in the layout of the input."""
    if x.is_cuda and triton_available() and not x.requires_grad:
        from engine.sd.triton_kernels import group_norm_silu

        fused: Tensor = group_norm_silu(x, norm.weight, norm.bias, norm.num_groups, norm.eps)
        return fused
    return F.silu(norm(x), inplace=True)
