from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.sd import tiling
from engine.sd.tiling import decode_tiled


def enlarge(latents: Tensor) -> Tensor:
    """A decoder that looks at single positions, so that pieces must fit exactly."""
    return F.interpolate(latents[:, :3], scale_factor=2.0)


def test_small_latents_are_decoded_at_once() -> None:
    seen: list[tuple[int, ...]] = []

    def decode(latents: Tensor) -> Tensor:
        seen.append(tuple(latents.shape))
        return enlarge(latents)

    decode_tiled(decode, torch.randn(1, 4, 128, 128), 2)
    assert seen == [(1, 4, 128, 128)]


def test_pieces_join_without_seams_and_none_is_larger_than_a_tile() -> None:
    latents = torch.randn(1, 4, 200, 131)
    sides: list[int] = []

    def decode(piece: Tensor) -> Tensor:
        sides.extend(piece.shape[2:])
        return enlarge(piece)

    assert torch.allclose(decode_tiled(decode, latents, 2), enlarge(latents), atol=1e-5)
    assert max(sides) == tiling.TILE


def test_long_thin_latents_are_cut_along_one_side() -> None:
    latents = torch.randn(1, 4, 40, 500)
    assert torch.allclose(decode_tiled(enlarge, latents, 2), enlarge(latents), atol=1e-5)
