"""A model of published shape with random weights, in the layout of diffusers: `python -m benchmarks.random_model`."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.models.registry import EMOJI_FOLDER
from engine.sd.clip import CLIPTextModel
from engine.sd.config import TextConfig, UNetConfig, VAEConfig
from engine.sd.unet import UNet
from engine.sd.vae import AutoencoderKL

WIDTHS = {"sd15": (320, 640, 1280, 1280), "half": (160, 320, 640, 640), "quarter": (96, 192, 384, 384)}
"""Of the UNet: the published one, and smaller ones for machines that are small or busy."""
TOKENS = 77


def random_model(kind: str, folder: Path) -> Path:
    """Write the model, unless it is there already."""
    if (folder / "model_index.json").is_file():
        return folder
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    unet = replace(UNetConfig(), widths=WIDTHS[kind])
    _write(draft / "unet", "diffusion_pytorch_model", UNet, unet, _unet_config(unet))
    _write(draft / "vae", "diffusion_pytorch_model", AutoencoderKL, VAEConfig(), _vae_config(VAEConfig()))
    _write(draft / "text_encoder", "model", CLIPTextModel, TextConfig(), _text_config(TextConfig()))
    shutil.copytree(EMOJI_FOLDER / "tokenizer", draft / "tokenizer")
    told = draft / "tokenizer" / "tokenizer_config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"model_max_length": TOKENS}))
    (draft / "scheduler").mkdir()
    (draft / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (draft / "model_index.json").write_text(json.dumps(INDEX))
    draft.replace(folder)
    return folder


def random_weights(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Weights for a network on the meta device: spread as when training begins, so that nothing over- or underflows."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, parameter in network.named_parameters():
        weight = torch.empty(parameter.shape)
        if parameter.ndim == 1:
            weight.fill_(float(name.endswith("weight"))).add_(torch.rand(weight.shape, generator=generator) * 0.1)
        else:
            bound = parameter[0].numel() ** -0.5
            weight.uniform_(-bound, bound, generator=generator)
        weights[name] = weight
    return weights


def _write(folder: Path, stem: str, make: Any, shape: Any, config: dict[str, Any]) -> None:  # noqa: ANN401
    folder.mkdir(parents=True)
    with torch.device("meta"):
        network = make(shape)
    save_file(random_weights(network), folder / f"{stem}.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


def _unet_config(config: UNetConfig) -> dict[str, Any]:
    down = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in config.cross_attention]
    up = ["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(config.cross_attention)]
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 64,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": list(config.widths),
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": config.layers_per_block,
        "cross_attention_dim": config.context_dim,
        "attention_head_dim": config.heads[0],
    }


def _vae_config(config: VAEConfig) -> dict[str, Any]:
    levels = len(config.widths)
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": list(config.widths),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": config.layers_per_block,
        "latent_channels": config.latent_channels,
        "scaling_factor": config.scaling_factor,
        "sample_size": 512,
    }


def _text_config(config: TextConfig) -> dict[str, Any]:
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_positions,
        "hidden_size": config.width,
        "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "hidden_act": config.activation,
        "projection_dim": config.width,
    }


SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.38.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Write a model with random weights.")
    parser.add_argument("kind", choices=WIDTHS)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    random_model(arguments.kind, arguments.folder)


if __name__ == "__main__":
    main()
