"""Small siblings of Stable Diffusion 1.x and 2.x with random weights, made by diffusers and transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.sd.tokenizer import END, START, WORD_END, byte_alphabet

Family = Literal["sd1", "sd2"]

MERGES = [
    *[("t", "h"), ("th", "e</w>"), ("a", "n"), ("an", "d</w>"), ("r", "e"), ("re", "d</w>"), ("l", "e</w>")],
    *[("a", "p"), ("ap", "p"), ("app", "le</w>"), ("c", "a"), ("ca", "t</w>"), ("a", "a"), ("aa", "a"), ("aa", "aa")],
    *[("i", "n"), ("in", "g</w>"), ("'", "s</w>"), ("Ã", "©"), ("ð", "Ł"), ("ðŁ", "ĺ"), ("!", "!</w>"), ("o", "o")],
]


def vocabulary() -> dict[str, int]:
    """Bytes, bytes that end a word, merges and the two special tokens."""
    alphabet = [byte_alphabet()[byte] for byte in range(256)]
    alphabet.remove("!")
    letters = ["!", *alphabet]  # token 0 is the exclamation mark, as in CLIP's own vocabulary
    tokens = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in MERGES), START, END]
    return {token: i for i, token in enumerate(tokens)}


def write_tokenizer(folder: Path, *, pad: str = END) -> None:
    """The files of the published folders: vocab.json, merges.txt, tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {"model_max_length": 77, "pad_token": pad, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def reference_tokenizer(*, pad: str = END) -> Any:
    """The oracle, over the same vocabulary."""
    return CLIPTokenizer(vocab=vocabulary(), merges=MERGES, pad_token=pad, model_max_length=77)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of one sibling."""

    unet: tuple[int, ...]
    vae: tuple[int, ...]
    text: int
    text_layers: int
    sample: int = 8


SMALL: dict[Family, Sizes] = {
    "sd1": Sizes(unet=(32, 32, 64, 64), vae=(32, 32, 32, 64), text=64, text_layers=3),
    "sd2": Sizes(unet=(64, 64, 64, 128), vae=(32, 32, 32, 64), text=64, text_layers=2),
}
FULL: dict[Family, Sizes] = {
    "sd1": Sizes(unet=(320, 640, 1280, 1280), vae=(128, 256, 512, 512), text=768, text_layers=12, sample=64),
    "sd2": Sizes(unet=(320, 640, 1280, 1280), vae=(128, 256, 512, 512), text=1024, text_layers=23, sample=96),
}


def scheduler_config(family: Family) -> dict[str, Any]:
    """What the published scheduler_config.json files say."""
    return {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon" if family == "sd1" else "v_prediction",
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "trained_betas": None,
    }


def reference_unet(family: Family, sizes: Sizes) -> Any:
    """The UNet of diffusers in the published arrangement."""
    second = family == "sd2"
    return UNet2DConditionModel(
        sample_size=sizes.sample,
        block_out_channels=sizes.unet,
        cross_attention_dim=sizes.text,
        attention_head_dim=[width // 64 for width in sizes.unet] if second else 8,
        use_linear_projection=second,
    ).eval()


def reference_vae(sizes: Sizes) -> Any:
    """The autoencoder of diffusers in the published arrangement."""
    levels = len(sizes.vae)
    return AutoencoderKL(
        block_out_channels=sizes.vae,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=2,
        latent_channels=4,
        sample_size=sizes.sample * 8,
    ).eval()


def reference_text(family: Family, sizes: Sizes, vocab_size: int) -> Any:
    """The text encoder of transformers in the published arrangement."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=sizes.text,
            intermediate_size=sizes.text * 4,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=sizes.text // 64,
            hidden_act="quick_gelu" if family == "sd1" else "gelu",
            max_position_embeddings=77,
            bos_token_id=vocab_size - 2,
            eos_token_id=vocab_size - 1,
        )
    ).eval()


def roughen(module: Any, scale: float = 0.3) -> Any:
    """Move the norms and biases that start as ones and zeros, which would hide a swapped name."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=scale)
    return module


def reference_pipeline(family: Family, sizes: Sizes | None = None) -> Any:
    """A whole pipeline of diffusers with random weights, the same in every run."""
    sizes = sizes or SMALL[family]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        tokenizer = reference_tokenizer(pad=END if family == "sd1" else "!")
        pipeline = StableDiffusionPipeline(
            unet=roughen(reference_unet(family, sizes)),
            vae=roughen(reference_vae(sizes)),
            text_encoder=roughen(reference_text(family, sizes, len(vocabulary()))),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler.from_config(scheduler_config(family)),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_folder(pipeline: Any, family: Family, folder: Path) -> Path:
    """The pipeline in the layout of the published folders."""
    pipeline.save_pretrained(folder)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler_config(family)))
    write_tokenizer(folder / "tokenizer", pad=END if family == "sd1" else "!")
    return folder


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())
