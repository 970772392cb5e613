"""Attention with an explicitly chosen kernel.

`AttentionSettings` says which kernel may run and whether the heads are computed in slices; `attend` is the one place
where queries meet keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Backend = Literal["auto", "flash", "efficient", "math", "xformers"]

FLASH_MAX_HEAD_DIM = 256
"""Above this head width flash kernels don't exist (FlashAttention-2, arXiv 2307.08691, section 4)."""

KERNELS: Mapping[str, list[SDPBackend]] = {
    "flash": [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "math": [SDPBackend.MATH],
}
"""What torch may choose from, in all threads at once. The plain kernel takes everything, so it stands in for layers
that a chosen one can't take, this model's or another thread's."""


@dataclass(frozen=True, kw_only=True)
class AttentionSettings:
    """How attention is computed; the same for every layer of a model."""

    backend: Backend = "auto"
    slice_size: int | None = None
    """Batch-times-heads computed at once; None computes all of them. Smaller needs less memory and more time."""


def choose_backend(wanted: Backend, query: Tensor) -> Backend:
    """Resolve `auto`: flash where head width and device allow, else memory-efficient on CUDA and flash on the CPU.

    CUDA flash kernels need half precision, compute capability 8.0 and a head width of at most 256. The CPU's flash
    kernel takes every width and also float32.
    """
    if wanted != "auto":
        return wanted
    if query.device.type == "cpu":
        return "flash"
    if query.device.type != "cuda":
        return "math"
    half = query.dtype in (torch.float16, torch.bfloat16)
    modern = torch.cuda.get_device_capability(query.device) >= (8, 0)
    if half and modern and query.shape[-1] <= FLASH_MAX_HEAD_DIM:
        return "flash"
    return "efficient"


def _xformers(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from xformers.ops import memory_efficient_attention

    swap = (query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    out: Tensor = memory_efficient_attention(*swap)
    return out.transpose(1, 2)


def _kernel(backend: Backend, *, causal: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if backend == "xformers" and not causal:
        return _xformers
    allowed = KERNELS.get(backend, KERNELS["math"])

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(allowed):
            return F.scaled_dot_product_attention(query, key, value, is_causal=causal)

    return run


def attend(query: Tensor, key: Tensor, value: Tensor, settings: AttentionSettings, *, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of [batch, heads, tokens, head width] tensors; returns the shape of `query`."""
    kernel = _kernel(choose_backend(settings.backend, query), causal=causal)
    rows = query.shape[0] * query.shape[1]
    if settings.slice_size is None or settings.slice_size >= rows:
        return kernel(query, key, value)
    flat = [torch.split(x.flatten(0, 1).unsqueeze(1), settings.slice_size) for x in (query, key, value)]
    return torch.cat([kernel(q, k, v) for q, k, v in zip(*flat, strict=True)]).view(query.shape)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, heads * width] -> [batch, heads, tokens, width]."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[batch, heads, tokens, width] -> [batch, tokens, heads * width]."""
    return x.transpose(1, 2).flatten(-2)
