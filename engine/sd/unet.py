"""The denoising UNet of Stable Diffusion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.sd.attention import AttentionSettings, attend, join_heads, split_heads
from engine.sd.config import UNetConfig
from engine.sd.group_norm import norm_silu
from engine.sd.layers import Conv2d, Downsample, Linear, PlainLinear, ResnetBlock, Upsample

TRANSFORMER_NORM_EPS = 1e-6
MAX_PERIOD = 10_000.0

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of a prompt in one layer, each [batch, heads, tokens, head width]."""
Time = Tensor | Sequence[Tensor]
"""The activated time embedding [batch, time width], or what each residual block made of it: [batch, outputs]."""
Context = Tensor | Sequence[KeyValue]
"""A prompt's embedding [batch, tokens, context width], or the keys and values that each layer made of it."""


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
        self.linear_1 = PlainLinear(inputs, outputs)
        self.linear_2 = PlainLinear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, outputs]."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class CrossAttention(nn.Module):
    """Attention of the picture's positions to themselves or to the tokens of the prompt."""

    place = 0
    """Which of the keys and values are this layer's, where they were all made beforehand."""

    def __init__(self, width: int, context_dim: int, heads: int, attention: AttentionSettings) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.to_q = Linear(width, width, bias=False)
        self.to_k = Linear(context_dim, width, bias=False)
        self.to_v = Linear(context_dim, width, bias=False)
        self.to_out = nn.ModuleList([Linear(width, width)])

    def keys_values(self, context: Tensor) -> KeyValue:
        """[batch, tokens, context width] -> keys and values."""
        return split_heads(self.to_k(context), self.heads), split_heads(self.to_v(context), self.heads)

    def pack_qkv(self) -> None:
        """Let self-attention make queries, keys and values in one product."""
        width = self.to_q.out_features
        self.to_qkv = Linear(width, 3 * width, bias=False, device="meta")
        weights = [self.to_q.weight, self.to_k.weight, self.to_v.weight]
        self.to_qkv.weight = nn.Parameter(torch.cat(weights), requires_grad=False)
        del self.to_q, self.to_k, self.to_v

    def project(self, x: Tensor, context: Context | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [batch, heads, positions or tokens, head width]."""
        if hasattr(self, "to_qkv"):
            q, k, v = torch.unflatten(self.to_qkv(x), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
            return q, k, v
        source = x if context is None else context
        k, v = self.keys_values(source) if isinstance(source, Tensor) else source[self.place]
        return split_heads(self.to_q(x), self.heads), k, v

    def forward(self, x: Tensor, context: Context | None = None, plus: Tensor | None = None) -> Tensor:
        """[batch, positions, width], added to `plus`; without a context, self-attention."""
        q, k, v = self.project(x, context)
        out: Tensor = self.to_out[0](join_heads(attend(q, k, v, self.attention)), plus=plus)
        return out


class GEGLU(nn.Module):
    """Gated linear unit with GELU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.proj = Linear(width, outputs * 2)

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
        self.net = nn.ModuleList([GEGLU(width, width * 4), nn.Identity(), Linear(width * 4, width)])

    def forward(self, x: Tensor, plus: Tensor) -> Tensor:
        """[batch, positions, width] in and out, added to `plus`."""
        out: Tensor = self.net[2](self.net[0](x), plus=plus)
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

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """[batch, positions, width] in and out."""
        x = self.attn1(self.norm1(x), plus=x)
        x = self.attn2(self.norm2(x), context, plus=x)
        out: Tensor = self.ff(self.norm3(x), plus=x)
        return out


class Projection(Linear):
    """A linear layer whose weights may come as those of a 1x1 convolution, which is the same arithmetic."""

    def __init__(self, width: int, *, linear: bool) -> None:
        super().__init__(width, width)
        if not linear:
            self.weight = nn.Parameter(self.weight[:, :, None, None])

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[batch, positions, width] in and out, plus a residual of that shape where one is given."""
        out = F.linear(x, self.weight.flatten(1), self.bias)
        return out if plus is None else plus + out


class SpatialTransformer(nn.Module):
    """A transformer over the positions of a feature map (Rombach et al. 2022, arXiv 2112.10752, section 3.3).

    1.x projects in and out by 1x1 convolutions, 2.x by linear layers.
    """

    def __init__(self, width: int, config: UNetConfig, heads: int, attention: AttentionSettings) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, width, eps=TRANSFORMER_NORM_EPS)
        self.proj_in = Projection(width, linear=config.linear_projection)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, config, heads, attention) for _ in range(config.transformer_depth)
        )
        self.proj_out = Projection(width, linear=config.linear_projection)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """[batch, width, h, w] in and out."""
        h: Tensor = self.proj_in(_to_tokens(self.norm(x)))
        for block in self.transformer_blocks:
            h = block(h, context)
        return _to_map(self.proj_out(h, plus=_to_tokens(x)), x)


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

    def forward(self, x: Tensor, time: Time, context: Context) -> list[Tensor]:
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
        time: Time,
        context: Context,
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

    def forward(self, x: Tensor, time: Time, context: Context) -> Tensor:
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
        self.conv_in = Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], config.time_dim)
        self.down_blocks = nn.ModuleList(DownBlock(level, config, attention) for level in levels)
        self.mid_block = MidBlock(config, attention)
        self.up_blocks = nn.ModuleList(UpBlock(level, config, attention) for level in reversed(levels))
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, widths[0], eps=config.norm_eps)
        self.conv_out = Conv2d(widths[0], config.out_channels, 3, padding=1)
        for place, block in enumerate(self.residual_blocks()):
            block.place = place
        for place, layer in enumerate(self.cross_attentions()):
            layer.place = place

    def residual_blocks(self) -> list[ResnetBlock]:
        """All of them, in the order in which they are built."""
        return [module for module in self.modules() if isinstance(module, ResnetBlock)]

    def cross_attentions(self) -> list[CrossAttention]:
        """Those layers that look at the prompt, in the order in which they are built."""
        return [module.attn2 for module in self.modules() if isinstance(module, TransformerBlock)]

    def embed_time(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """[batch] timesteps -> [batch, time width], already through the activation that every block starts with."""
        sinusoids = timestep_embedding(timesteps, self.config.widths[0]).to(dtype)
        return F.silu(self.time_embedding(sinusoids))

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return self.time_embedding.linear_1.weight.dtype

    def _deep(self, skips: list[Tensor], time: Time, context: Context) -> Tensor:
        """Everything but the outermost layers; leaves in `skips` the one map that those take."""
        for block in self.down_blocks:
            skips.extend(block(skips[-1], time, context))
        x: Tensor = self.mid_block(skips[-1], time, context)
        for block in self.up_blocks[:-1]:
            x = block(x, skips, time, context)
        deep: Tensor = self.up_blocks[-1](x, skips, time, context, end=self.config.layers_per_block)
        return deep

    def step(self, x: Tensor, time: Time, context: Context, deep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[batch, channels, h, w] -> the answer, of that shape, and the deep features, [batch, width, h, w].

        Those are the map that enters the last layer of the way up. It changes slowly from step to step and holds nine
        tenths of the work (DeepCache, Ma et al. 2023, arXiv 2312.00858): given the map of an earlier step, only the
        outermost layers are computed.
        """
        skips = [self.conv_in(x)]
        if deep is None:
            deep = self._deep(skips, time, context)
        h = self.up_blocks[-1](deep, skips, time, context, begin=self.config.layers_per_block)
        out: Tensor = self.conv_out(norm_silu(self.conv_norm_out, h))
        return out, deep

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """[batch, channels, h, w], [batch], [batch, tokens, context width] -> [batch, channels, h, w]."""
        return self.step(x, self.embed_time(timesteps, x.dtype), context)[0]
