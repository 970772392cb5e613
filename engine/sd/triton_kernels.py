"""The kernels that torch lacks, in Triton. Importing this needs Triton, which comes with torch's CUDA build."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 4096
"""Elements that a program holds at once."""


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _group_norm_silu(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0913, PLR0917  (the kernel language is not Python)
    source,  # noqa: ANN001
    weight,  # noqa: ANN001
    bias,  # noqa: ANN001
    target,  # noqa: ANN001
    positions,  # noqa: ANN001
    channels,  # noqa: ANN001
    width,  # noqa: ANN001
    eps,  # noqa: ANN001
    rows: tl.constexpr,
    columns: tl.constexpr,
):
    """One group of one sample: mean, then variance around it, then the normalised values through SiLU."""
    first = tl.program_id(1) * width
    base = tl.program_id(0).to(tl.int64) * positions * channels + first
    column = tl.arange(0, columns)[None, :]
    inside = column < width
    count = positions * width

    total = tl.zeros([rows, columns], dtype=tl.float32)
    for start in range(0, positions, rows):
        row = start + tl.arange(0, rows)[:, None]
        mask = (row < positions) & inside
        total += tl.load(source + base + row * channels + column, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(tl.sum(total, axis=1), axis=0) / count

    squares = tl.zeros([rows, columns], dtype=tl.float32)
    for start in range(0, positions, rows):
        row = start + tl.arange(0, rows)[:, None]
        mask = (row < positions) & inside
        value = tl.load(source + base + row * channels + column, mask=mask, other=0.0).to(tl.float32)
        centred = tl.where(mask, value - mean, 0.0)
        squares += centred * centred
    scale = 1.0 / tl.sqrt(tl.sum(tl.sum(squares, axis=1), axis=0) / count + eps)

    gain = tl.load(weight + first + column, mask=inside, other=0.0).to(tl.float32) * scale
    shift = tl.load(bias + first + column, mask=inside, other=0.0).to(tl.float32)
    for start in range(0, positions, rows):
        row = start + tl.arange(0, rows)[:, None]
        mask = (row < positions) & inside
        place = base + row * channels + column
        value = (tl.load(source + place, mask=mask, other=0.0).to(tl.float32) - mean) * gain + shift
        value = value * tl.sigmoid(value)
        tl.store(target + place, value.to(target.dtype.element_ty), mask=mask)


def group_norm_silu(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """[batch, channels, h, w] -> the same, channels last: group normalisation (arXiv 1803.08494), then SiLU.

    A program of the kernel does one group of one sample, whose values it reads three times; after the first they come
    from the GPU's caches.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(x)
    batch, channels = x.shape[:2]
    positions, width = x.shape[2] * x.shape[3], channels // groups
    columns = triton.next_power_of_2(width)
    rows = min(triton.next_power_of_2(positions), max(1, TILE // columns))
    _group_norm_silu[batch, groups](x, weight, bias, out, positions, channels, width, eps, rows=rows, columns=columns)
    return out
