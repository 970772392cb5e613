"""The layers and convolutional blocks that the networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from engine.sd.group_norm import norm_silu


class _FirstWeights(nn.Module):
    """Draws no first weights on the meta device, where loading replaces them.

    Drawing them there takes half the time of building a network, and imports torch's compiler, 2 s of a start.
    """

    weight: Tensor

    def reset_parameters(self) -> None:
        """Draw first weights, unless they have no memory."""
        if not self.weight.is_meta:
            super().reset_parameters()  # type: ignore[misc]  # of the layer that this is mixed into


class PlainLinear(_FirstWeights, nn.Linear):
    """A linear layer."""


class Embedding(_FirstWeights, nn.Embedding):
    """A table."""


class Linear(PlainLinear):
    """A linear layer that can add its output to a residual, which some of its replacements do for nothing."""

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[…, inputs] -> […, outputs], plus a residual of that shape where one is given."""
        out = F.linear(x, self.weight, self.bias)
        return out if plus is None else plus + out


class Conv2d(_FirstWeights, nn.Conv2d):
    """A convolution that can add its output to a residual, which some of its replacements do for nothing."""

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h', w'], plus a residual of that shape where one is given."""
        out = super().forward(x)
        return out if plus is None else plus + out


class ResnetBlock(nn.Module):
    """Two norm-SiLU-convolution pairs around a residual; the UNet's are shifted by the time embedding.

    He et al. 2015 (arXiv 1512.03385) in the arrangement of Ho et al. 2020 (arXiv 2006.11239, appendix B).
    """

    place = 0
    """Which of the shifts is this block's, where they were all made beforehand."""

    def __init__(self, inputs: int, outputs: int, *, groups: int, eps: float, time_dim: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=eps)
        self.conv1 = Conv2d(inputs, outputs, 3, padding=1)
        if time_dim:
            self.time_emb_proj = Linear(time_dim, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=eps)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, time: Tensor | Sequence[Tensor] | None = None) -> Tensor:
        """[batch, inputs, height, width] -> [batch, outputs, height, width].

        `time` is the activated time embedding, or what the blocks have made of it: [batch, outputs] each.
        """
        h = self.conv1(norm_silu(self.norm1, x))
        if time is not None:
            shift = self.time_emb_proj(time) if isinstance(time, Tensor) else time[self.place]
            h = h + shift[:, :, None, None]
        residual = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = self.conv2(norm_silu(self.norm2, h), plus=residual)
        return out


class Downsample(nn.Module):
    """Halves each side by a strided convolution.

    The UNet pads by one on every side, the autoencoder only to the right and below.
    """

    def __init__(self, width: int, *, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.conv = Conv2d(width, width, 3, stride=2, padding=1 if symmetric else 0)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, height, width] -> the same at half the sides, rounded up."""
        out: Tensor = self.conv(x if self.symmetric else F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Doubles each side by repeating pixels, then smooths by a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """`size` overrides doubling, for skips whose sides were odd before they were halved."""
        height, width = x.shape[-2:]
        out: Tensor = self.conv(F.interpolate(x, size=size or (2 * height, 2 * width), mode="nearest"))
        return out
