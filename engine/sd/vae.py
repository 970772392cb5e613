"""The autoencoder between pixels and latents."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from engine.sd.attention import AttentionSettings, attend, join_heads, split_heads
from engine.sd.config import VAEConfig
from engine.sd.group_norm import norm_silu
from engine.sd.layers import Conv2d, Downsample, Linear, ResnetBlock, Upsample

EPS = 1e-6
LOG_VARIANCE_RANGE = (-30.0, 20.0)


class VAEAttention(nn.Module):
    """Self-attention over all positions with a single head as wide as the features."""

    def __init__(self, width: int, groups: int, attention: AttentionSettings) -> None:
        super().__init__()
        self.attention = attention
        self.group_norm = nn.GroupNorm(groups, width, eps=EPS)
        self.to_q = Linear(width, width)
        self.to_k = Linear(width, width)
        self.to_v = Linear(width, width)
        self.to_out = nn.ModuleList([Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (split_heads(layer(tokens), 1) for layer in (self.to_q, self.to_k, self.to_v))
        out = self.to_out[0](join_heads(attend(q, k, v, self.attention)))
        result: Tensor = x + out.transpose(1, 2).reshape(x.shape)
        return result


class MidBlock(nn.Module):
    """Residual block, attention, residual block at the smallest size."""

    def __init__(self, config: VAEConfig, attention: AttentionSettings) -> None:
        super().__init__()
        width, groups = config.widths[-1], config.norm_groups
        self.resnets = nn.ModuleList(ResnetBlock(width, width, groups=groups, eps=EPS) for _ in range(2))
        self.attentions = nn.ModuleList(
            VAEAttention(width, groups, attention) for _ in range(int(config.mid_attention))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        x = self.resnets[0](x)
        for block in self.attentions:
            x = block(x)
        out: Tensor = self.resnets[1](x)
        return out


class DownBlock(nn.Module):
    """One level of the encoder."""

    def __init__(self, inputs: int, outputs: int, config: VAEConfig, *, last: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(inputs if i == 0 else outputs, outputs, groups=config.norm_groups, eps=EPS)
            for i in range(config.layers_per_block)
        )
        if not last:
            self.downsamplers = nn.ModuleList([Downsample(outputs, symmetric=False)])

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h/2, w/2], the last level keeping its size."""
        for block in self.resnets:
            x = block(x)
        for down in getattr(self, "downsamplers", ()):
            x = down(x)
        return x


class UpBlock(nn.Module):
    """One level of the decoder, with one residual block more than the encoder's."""

    def __init__(self, inputs: int, outputs: int, config: VAEConfig, *, last: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(inputs if i == 0 else outputs, outputs, groups=config.norm_groups, eps=EPS)
            for i in range(config.layers_per_block + 1)
        )
        if not last:
            self.upsamplers = nn.ModuleList([Upsample(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, 2h, 2w], the last level keeping its size."""
        for block in self.resnets:
            x = block(x)
        for up in getattr(self, "upsamplers", ()):
            x = up(x)
        return x


class Encoder(nn.Module):
    """Pixels -> mean and log-variance of the latents."""

    def __init__(self, config: VAEConfig, attention: AttentionSettings) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(widths[max(i - 1, 0)], width, config, last=i == len(widths) - 1) for i, width in enumerate(widths)
        )
        self.mid_block = MidBlock(config, attention)
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, widths[-1], eps=EPS)
        self.conv_out = Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, height, width] -> [batch, 2 * latent channels, height/f, width/f]."""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        out: Tensor = self.conv_out(norm_silu(self.conv_norm_out, self.mid_block(x)))
        return out


class Decoder(nn.Module):
    """Latents -> pixels."""

    def __init__(self, config: VAEConfig, attention: AttentionSettings) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.conv_in = Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = MidBlock(config, attention)
        self.up_blocks = nn.ModuleList(
            UpBlock(widths[max(i - 1, 0)], width, config, last=i == len(widths) - 1) for i, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, widths[-1], eps=EPS)
        self.conv_out = Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """[batch, latent channels, h, w] -> [batch, 3, h*f, w*f]."""
        x = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        out: Tensor = self.conv_out(norm_silu(self.conv_norm_out, x))
        return out


class AutoencoderKL(nn.Module):
    """KL-regularised autoencoder (Rombach et al. 2022, arXiv 2112.10752, section 3.1)."""

    def __init__(self, config: VAEConfig, attention: AttentionSettings | None = None) -> None:
        super().__init__()
        self.config = config
        attention = attention or AttentionSettings()
        self.encoder = Encoder(config, attention)
        self.decoder = Decoder(config, attention)
        self.quant_conv = Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = Conv2d(config.latent_channels, config.latent_channels, 1)
        self.entry: Conv2d | None = None

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, 3, height, width] in -1..1 -> mean and log-variance, each [batch, channels, height/f, width/f].

        Not yet multiplied by the scaling factor.
        """
        mean, log_variance = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def fold_scaling(self) -> None:
        """Give `decode_scaled` a first layer that divides by the scaling factor too."""
        self.entry = copy.deepcopy(self.post_quant_conv)
        self.entry.weight.div_(self.config.scaling_factor)

    def decode_scaled(self, latents: Tensor) -> Tensor:
        """Latents as the UNet knows them -> [batch, 3, height, width] in about -1..1."""
        if self.entry is None:
            return self.decode(latents / self.config.scaling_factor)
        out: Tensor = self.decoder(self.entry(latents))
        return out

    def decode(self, latents: Tensor) -> Tensor:
        """Latents already divided by the scaling factor -> [batch, 3, height, width] in about -1..1."""
        out: Tensor = self.decoder(self.post_quant_conv(latents))
        return out
