"""Decoding large latents piece by piece, so that memory stays that of one piece.

The pieces overlap and are blended. What is drawn differs a little from decoding at once, because the autoencoder
normalises and attends over what it sees.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TILED_ABOVE = 128 * 128
"""Positions of the latents above which they are decoded in pieces: 1024 x 1024 pixels with Stable Diffusion's."""
TILE = 96
OVERLAP = 24
"""Latents."""


def _starts(length: int) -> list[int]:
    """Where pieces begin along a side; the last one ends where the side does."""
    if length <= TILE:
        return [0]
    stride = TILE - OVERLAP
    return [*range(0, length - TILE, stride), length - TILE]


def _ramp(start: int, length: int, total: int, factor: int, device: torch.device) -> Tensor:
    """Weights of a piece along a side: rising over the overlap at its beginning and falling at its end."""
    weights = torch.ones(length * factor, device=device)
    rising = (torch.arange(OVERLAP * factor, device=device) + 0.5) / (OVERLAP * factor)
    if start > 0:
        weights[: len(rising)] = rising
    if start + length < total:
        weights[-len(rising) :] = rising.flip(0)
    return weights


def decode_tiled(decode: Callable[[Tensor], Tensor], latents: Tensor, factor: int) -> Tensor:
    """[batch, channels, h, w] -> [batch, 3, h*factor, w*factor] by a decoder; in pieces only where they are large."""
    height, width = latents.shape[-2:]
    if height * width <= TILED_ABOVE:
        return decode(latents)
    pixels = torch.zeros(len(latents), 3, height * factor, width * factor, device=latents.device)
    total = torch.zeros(1, 1, height * factor, width * factor, device=latents.device)
    for top in _starts(height):
        for left in _starts(width):
            piece = latents[:, :, top : top + TILE, left : left + TILE]
            rows = _ramp(top, piece.shape[2], height, factor, latents.device)
            columns = _ramp(left, piece.shape[3], width, factor, latents.device)
            weight = rows[:, None] * columns[None, :]
            area = (
                ...,
                slice(top * factor, top * factor + len(rows)),
                slice(left * factor, left * factor + len(columns)),
            )
            pixels[area] += decode(piece).float() * weight
            total[area] += weight
    return pixels / total
