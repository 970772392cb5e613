"""The denoising UNet of Stable Diffusion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.sd.attention import AttentionSettings, attend, join_heads, split_heads
from engine.sd.config import UNetConfig
from engine.sd.layers import Downsample, ResnetBlock, Upsample

TRANSFORMER_NORM_EPS = 1e-6
MAX_PERIOD = 10_000.0


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoids of [batch] timesteps -> [batch, width], cosines first (Vaswani et al. 2017, arXiv 1706.03762)."""
    half = width // 2
    exponent = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(MAX_PERIOD) * exponent)[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """Two-layer network on the sinusoids."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inputs, outputs)
        self.linear_2 = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, outputs]."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class CrossAttention(nn.Module):
    """Attention of the picture's positions to themselves or to the tokens of the prompt."""

    def __init__(self, width: int, context_dim: int, heads: int, attention: AttentionSettings) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_dim, width, bias=False)
        self.to_v = nn.Linear(context_dim, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """[batch, positions, width]; without a context, self-attention."""
        source = x if context is None else context
        q, k, v = self.to_q(x), self.to_k(source), self.to_v(source)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        out: Tensor = self.to_out[0](join_heads(attend(q, k, v, self.attention)))
        return out


class GEGLU(nn.Module):
    """Gated linear unit with GELU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, outputs * 2)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, positions, width] -> [batch, positions, outputs]."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        out: Tensor = value * F.gelu(gate)
        return out


class FeedForward(nn.Module):
    """Gated feed-forward network, four times as wide inside.

    The list mirrors the checkpoint, whose entry 1 is a dropout without weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, width * 4), nn.Identity(), nn.Linear(width * 4, width))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, positions, width] in and out."""
        out: Tensor = self.net(x)
        return out


class TransformerBlock(nn.Module):
    """Self-attention, attention to the prompt, feed-forward; each pre-normed and residual."""

    def __init__(self, width: int, config: UNetConfig, heads: int, attention: AttentionSettings) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = CrossAttention(width, width, heads, attention)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = CrossAttention(width, config.context_dim, heads, attention)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[batch, positions, width] and the prompt's [batch, tokens, context width]."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class SpatialTransformer(nn.Module):
    """A transformer over the positions of a feature map (Rombach et al. 2022, arXiv 2112.10752, section 3.3).

    1.x projects in and out by 1x1 convolutions, 2.x by linear layers; the arithmetic is the same.
    """

    def __init__(self, width: int, config: UNetConfig, heads: int, attention: AttentionSettings) -> None:
        super().__init__()
        self.linear = config.linear_projection
        self.norm = nn.GroupNorm(config.norm_groups, width, eps=TRANSFORMER_NORM_EPS)
        self.proj_in: nn.Module = nn.Linear(width, width) if self.linear else nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, config, heads, attention) for _ in range(config.transformer_depth)
        )
        self.proj_out: nn.Module = nn.Linear(width, width) if self.linear else nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[batch, width, h, w] and [batch, tokens, context width] -> [batch, width, h, w]."""
        h = self.norm(x)
        h = self.proj_in(_to_tokens(h)) if self.linear else _to_tokens(self.proj_in(h))
        for block in self.transformer_blocks:
            h = block(h, context)
        h = _to_map(self.proj_out(h), x) if self.linear else self.proj_out(_to_map(h, x))
        out: Tensor = x + h
        return out


def _to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _to_map(x: Tensor, like: Tensor) -> Tensor:
    return torch.unflatten(x.transpose(1, 2), 2, like.shape[-2:])


class UNetBlock(nn.Module):
    """A run of residual blocks, each followed by a transformer where the level has them."""

    def __init__(
        self,
        channels: list[tuple[int, int]],
        config: UNetConfig,
        attention: AttentionSettings,
        *,
        heads: int | None,
    ) -> None:
        super().__init__()
        if heads is not None:
            self.attentions = nn.ModuleList(
                SpatialTransformer(outputs, config, heads, attention) for _, outputs in channels
            )
        self.resnets = nn.ModuleList(
            ResnetBlock(inputs, outputs, groups=config.norm_groups, eps=config.norm_eps, time_dim=config.time_dim)
            for inputs, outputs in channels
        )

    def layers(self) -> Iterator[tuple[ResnetBlock, SpatialTransformer | None]]:
        """Each residual block with the transformer that follows it."""
        transformers = getattr(self, "attentions", (None,) * len(self.resnets))
        yield from zip(self.resnets, transformers, strict=True)


class DownBlock(UNetBlock):
    """One level of the way down; keeps every intermediate map as a skip."""

    def __init__(self, level: int, config: UNetConfig, attention: AttentionSettings) -> None:
        inputs, outputs = config.widths[max(level - 1, 0)], config.widths[level]
        channels = [(inputs if i == 0 else outputs, outputs) for i in range(config.layers_per_block)]
        heads = config.heads[level] if config.cross_attention[level] else None
        super().__init__(channels, config, attention, heads=heads)
        if level < len(config.widths) - 1:
            self.downsamplers = nn.ModuleList([Downsample(outputs, symmetric=True)])

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> list[Tensor]:
        """All maps made on this level, the last one being the input of the next."""
        maps: list[Tensor] = []
        for resnet, transformer in self.layers():
            x = resnet(x, time)
            x = x if transformer is None else transformer(x, context)
            maps.append(x)
        maps.extend(down(x) for down in getattr(self, "downsamplers", ()))
        return maps


class UpBlock(UNetBlock):
    """One level of the way up; joins the skips of the same level."""

    def __init__(self, level: int, config: UNetConfig, attention: AttentionSettings) -> None:
        widths, top = config.widths, len(config.widths) - 1
        outputs, below, above = widths[level], widths[min(level + 1, top)], widths[max(level - 1, 0)]
        count = config.layers_per_block + 1
        channels = [
            ((below if i == 0 else outputs) + (above if i == count - 1 else outputs), outputs) for i in range(count)
        ]
        heads = config.heads[level] if config.cross_attention[level] else None
        super().__init__(channels, config, attention, heads=heads)
        if level > 0:
            self.upsamplers = nn.ModuleList([Upsample(outputs)])

    def forward(
        self,
        x: Tensor,
        skips: list[Tensor],
        time: Tensor,
        context: Tensor,
        begin: int = 0,
        end: int | None = None,
    ) -> Tensor:
        """Takes its skips from the end of the list; those left over are the next level's."""
        for resnet, transformer in islice(self.layers(), begin, end):
            x = resnet(torch.cat([x, skips.pop()], dim=1), time)
            x = x if transformer is None else transformer(x, context)
        for up in getattr(self, "upsamplers", ()):
            height, width = skips[-1].shape[-2:]
            x = up(x, (height, width))
        return x


class MidBlock(UNetBlock):
    """Residual block, transformer, residual block at the smallest size."""

    def __init__(self, config: UNetConfig, attention: AttentionSettings) -> None:
        width, heads = config.widths[-1], config.heads[-1]
        super().__init__([(width, width)] * 2, config, attention, heads=heads)
        del self.attentions[1]

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        x = self.attentions[0](self.resnets[0](x, time), context)
        out: Tensor = self.resnets[1](x, time)
        return out


class UNet(nn.Module):
    """Predicts the noise (or the velocity) in noisy latents (Rombach et al. 2022, arXiv 2112.10752)."""

    def __init__(self, config: UNetConfig, attention: AttentionSettings | None = None) -> None:
        super().__init__()
        self.config = config
        attention = attention or AttentionSettings()
        widths, levels = config.widths, range(len(config.widths))
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], config.time_dim)
        self.down_blocks = nn.ModuleList(DownBlock(level, config, attention) for level in levels)
        self.mid_block = MidBlock(config, attention)
        self.up_blocks = nn.ModuleList(UpBlock(level, config, attention) for level in reversed(levels))
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, widths[0], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def embed_time(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """[batch] timesteps -> [batch, time width], already through the activation that every block starts with."""
        sinusoids = timestep_embedding(timesteps, self.config.widths[0]).to(dtype)
        return F.silu(self.time_embedding(sinusoids))

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return self.conv_in.weight.dtype

    def _deep(self, skips: list[Tensor], time: Tensor, context: Tensor) -> Tensor:
        """Everything but the outermost layers; leaves in `skips` the one map that those take."""
        for block in self.down_blocks:
            skips.extend(block(skips[-1], time, context))
        x: Tensor = self.mid_block(skips[-1], time, context)
        for block in self.up_blocks[:-1]:
            x = block(x, skips, time, context)
        deep: Tensor = self.up_blocks[-1](x, skips, time, context, end=self.config.layers_per_block)
        return deep

    def deep_features(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """[batch, channels, h, w] -> the [batch, width, h, w] map that enters the last layer of the way up.

        It changes slowly from step to step and holds nine tenths of the work (DeepCache, Ma et al. 2023, arXiv
        2312.00858).
        """
        return self._deep([self.conv_in(x)], self.embed_time(timesteps, x.dtype), context)

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, deep: Tensor | None = None) -> Tensor:
        """[batch, channels, h, w], [batch], [batch, tokens, context width] -> [batch, channels, h, w].

        With `deep_features` of this or an earlier step given, only the outermost layers are computed.
        """
        time = self.embed_time(timesteps, x.dtype)
        skips = [self.conv_in(x)]
        if deep is None:
            deep = self._deep(skips, time, context)
        x = self.up_blocks[-1](deep, skips, time, context, begin=self.config.layers_per_block)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out
