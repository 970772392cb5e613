"""The convolutional blocks that the UNet and the autoencoder share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResnetBlock(nn.Module):
    """Two norm-SiLU-convolution pairs around a residual; the UNet's are shifted by the time embedding.

    He et al. 2015 (arXiv 1512.03385) in the arrangement of Ho et al. 2020 (arXiv 2006.11239, appendix B).
    """

    def __init__(self, inputs: int, outputs: int, *, groups: int, eps: float, time_dim: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_dim, outputs) if time_dim else None
        self.norm2 = nn.GroupNorm(groups, outputs, eps=eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """[batch, inputs, height, width] and the activated time embedding -> [batch, outputs, height, width]."""
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None and time is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        residual = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = residual + h
        return out


class Downsample(nn.Module):
    """Halves each side by a strided convolution.

    The UNet pads by one on every side, the autoencoder only to the right and below.
    """

    def __init__(self, width: int, *, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1 if symmetric else 0)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, height, width] -> the same at half the sides, rounded up."""
        out: Tensor = self.conv(x if self.symmetric else F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Doubles each side by repeating pixels, then smooths by a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """`size` overrides doubling, for skips whose sides were odd before they were halved."""
        if size is None or size == (x.shape[-2] * 2, x.shape[-1] * 2):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        else:
            x = F.interpolate(x, size=size, mode="nearest")
        out: Tensor = self.conv(x)
        return out
