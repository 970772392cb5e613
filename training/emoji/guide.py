"""Show the UNet's cross-attention where to look (guided attention, Tachibana et al. 2017, arXiv 1710.08969).

``train_text`` leaves in each of the last 16 tokens what belongs in one of 4 x 4 patches of the picture. Left alone, the
UNet hardly finds out which token belongs to which place: it sees positions only through the zeros around its feature
maps. So half of the heads of every cross-attention are rewarded for looking at their own place's token; the others are
free.
"""

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from engine.sd.attention import split_heads
from engine.sd.unet import CrossAttention, TransformerBlock, UNet
from training.emoji.train_text import GRID


def own_token(positions: int, tokens: int) -> Tensor:
    """[positions] index of the token that tells of each position of a square map."""
    side = int(positions**0.5)
    rows, columns = torch.arange(positions) // side, torch.arange(positions) % side
    return tokens - GRID * GRID + rows * GRID // side * GRID + columns * GRID // side


def surprise(layer: CrossAttention, x: Tensor, context: Tensor) -> Tensor:
    """Mean of -log of the attention that the first half of the heads pays to each position's own token."""
    q, k = split_heads(layer.to_q(x), layer.heads), split_heads(layer.to_k(context), layer.heads)
    guided = max(1, layer.heads // 2)
    logits = (q[:, :guided] @ k[:, :guided].mT).float() / q.shape[-1] ** 0.5
    own = own_token(x.shape[1], context.shape[1]).expand(*logits.shape[:2], -1)
    found: Tensor = logits.log_softmax(-1).gather(-1, own[..., None])
    return -found.mean()


class Guide:
    """Collects, within a ``with`` block, the surprise of every cross-attention that a forward pass visits."""

    def __init__(self, unet: UNet) -> None:
        self.layers = [block.attn2 for block in unet.modules() if isinstance(block, TransformerBlock)]
        self.losses: list[Tensor] = []
        self.hooks: list[Any] = []

    def __enter__(self) -> Self:
        self.losses.clear()
        self.hooks = [layer.register_forward_pre_hook(self._watch) for layer in self.layers]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()

    def _watch(self, layer: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        if isinstance(layer, CrossAttention):
            self.losses.append(surprise(layer, *inputs))

    def loss(self) -> Tensor:
        """Mean over the layers seen."""
        return torch.stack(self.losses).mean()
