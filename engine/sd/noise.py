"""Where a sample's noise comes from: a seed, or several whose draws are blended."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) from `start`, at 0, to `end`, at 1; both of one shape, in any direction.

    A straight line between two draws of unit noise would pass through less than unit noise; the arc does not.
    """
    if share == 0:
        return start
    if share == 1:
        return end
    a, b = start.double(), end.double()
    angle = torch.arccos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin() < 1e-6:
        return torch.lerp(start, end, share)
    return ((((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()).to(start.dtype)


class BlendedNoise:
    """Noise of one seed led towards other seeds': every draw is, those that samplers add on their way included.

    So without strength it draws as its own seed does, and at full strength as the other.
    """

    def __init__(self, seed: int, towards: Sequence[tuple[int, float]]) -> None:
        """`towards`: seeds and shares 0..1, applied in order."""
        self._own = torch.Generator().manual_seed(seed)
        self._others = [(torch.Generator().manual_seed(other), share) for other, share in towards]

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Unit noise in float32 on the CPU."""
        noise = draw(self._own, shape)
        for other, share in self._others:
            noise = slerp(noise, draw(other, shape), share)
        return noise


NoiseSource = torch.Generator | BlendedNoise


def draw(source: NoiseSource, shape: Sequence[int]) -> Tensor:
    """The next unit noise of a source: float32, on the CPU, so that every device sees the same."""
    if isinstance(source, BlendedNoise):
        return source.draw(shape)
    return torch.randn(tuple(shape), generator=source, dtype=torch.float32)


def draw_noise(sources: Sequence[NoiseSource], shape: Sequence[int], device: torch.device) -> Tensor:
    """Unit noise [len(sources), *shape] in float32, each sample from its own source.

    So a picture is the same alone, in a batch and on every device.
    """
    return torch.stack([draw(source, shape) for source in sources]).to(device)
