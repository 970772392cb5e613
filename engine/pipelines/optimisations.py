"""What makes our own Stable Diffusion faster or smaller: one named function each, and the presets that use them.

Exact ones leave the picture as it is, within the parity tolerance. Approximations are part of a preset, never more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from engine.sd import onednn
from engine.sd.attention import AttentionSettings
from engine.sd.checkpoint import Components
from engine.sd.hoisting import pack_projections
from engine.sd.unet import Projection, TransformerBlock, UNet
from engine.sd.vae import AutoencoderKL
from engine.types import Quality, ResolvedRequest, Sampler


def channels_last(network: nn.Module) -> nn.Module:
    """Store convolution weights with channels innermost, the layout that tensor cores and oneDNN compute in. Exact."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def pack_qkv(network: nn.Module) -> None:
    """Let self-attention make queries, keys and values in one product, its weights below each other. Exact."""
    for layer in network.modules():
        if isinstance(layer, TransformerBlock):
            layer.attn1.pack_qkv()


def fold_scaling(vae: AutoencoderKL) -> None:
    """Let the first layer of the decoder undo the latents' scaling factor. Exact."""
    vae.fold_scaling()


def int8_weights(unet: UNet) -> None:
    """Hold linear layers in 8 bits with a scale for each row; they compute in the format of their inputs. Approximate.

    Convolutions, half of the weights, stay as they are, and so do the projections around the transformers, whose
    weights may be those of convolutions.
    """
    from torchao.quantization import Int8WeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerRow

    def wanted(module: nn.Module, _: str) -> bool:
        return isinstance(module, nn.Linear) and not isinstance(module, Projection)

    quantize_(unet, Int8WeightOnlyConfig(granularity=PerRow()), filter_fn=wanted)


def optimise(parts: Components, device: torch.device, dtype: torch.dtype) -> bool:
    """Everything exact that is done to weights once, after loading, where `device` will compute with them in `dtype`.

    Returns whether they are now laid out for this machine's CPU alone, so that they can't be moved.
    """
    pack_projections(parts.unet)
    pack_qkv(parts.unet)
    fold_scaling(parts.vae)
    networks = (parts.unet, parts.vae, parts.text_encoder)
    packed = onednn.available(device, dtype)
    for network in networks:
        if packed:
            onednn.pack(network, parts.forget_pages)
        else:
            channels_last(network)
    return packed


def use_attention(network: nn.Module, settings: AttentionSettings) -> None:
    """Choose the attention kernel of every layer, and how many heads it computes at once. Exact."""
    for module in network.modules():
        if isinstance(getattr(module, "attention", None), AttentionSettings):
            module.attention = settings  # type: ignore[assignment]  # torch declares only tensors and modules


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How a quality is drawn."""

    max_steps: int | None = None
    """Steps beyond this are left out, and DPM-Solver++ 2M on Karras' noise levels takes what are left."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Share of the way, from and up to, in which guidance is applied (arXiv 2404.07724)."""
    reuse: int = 1
    """Steps for which the UNet's deep features are good (DeepCache, arXiv 2312.00858); 1 computes them at each."""


FEWEST = 8
"""Requests of no more steps are drawn as they are: their models are made for few steps, and nothing is left to save."""

PRESETS: Mapping[Quality, Preset] = {
    Quality.EXACT: Preset(),
    Quality.BALANCED: Preset(max_steps=20, guidance_interval=(0.2, 0.75)),
    Quality.FAST: Preset(max_steps=20, guidance_interval=(0.2, 0.75), reuse=3),
}
"""The interval is that of the paper, sigma from 5.4 down to 0.28, on Karras' noise levels of Stable Diffusion."""


def preset_for(request: ResolvedRequest) -> Preset:
    """What a request's quality means for it."""
    few = request.steps <= FEWEST or request.sampler == Sampler.LCM
    return PRESETS[Quality.EXACT if few else request.quality]


def steps_and_sampler(request: ResolvedRequest, preset: Preset) -> tuple[int, Sampler]:
    """How many steps are taken, and by which sampler."""
    if preset.max_steps is None:
        return request.steps, request.sampler
    return min(request.steps, preset.max_steps), Sampler.DPMPP_2M_KARRAS
