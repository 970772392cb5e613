"""The repository that the fake hub offers."""

from __future__ import annotations

import json
from pathlib import Path

REPO = "someone/pictures"
FOLDER = "someone--pictures"
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
STORED_UNET = "unet/diffusion_pytorch_model.safetensors"
WEIGHTS = bytes(range(256)) * 12_000
"""Three megabytes: several chunks."""

FILES = {
    "model_index.json": json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "feature_extractor": [None, None],
        }
    ).encode(),
    "unet/config.json": b'{"sample_size": 64}',
    UNET: WEIGHTS,
    "unet/diffusion_pytorch_model.safetensors": b"full precision",
    "unet/diffusion_pytorch_model.non_ema.safetensors": b"for training",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "tokenizer/vocab.json": b"{}",
    "tokenizer/merges.txt": b"#version: 0.2\n",
    "safety_checker/model.safetensors": b"not wanted",
    "README.md": b"not wanted",
    "v1-5-pruned.ckpt": b"not wanted",
}
WANTED = {"model_index.json", "unet/config.json", STORED_UNET, "tokenizer/vocab.json", "tokenizer/merges.txt"}


class Clock:
    """Pauses that take no time."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def stored(folder: Path) -> set[str]:
    """Files in a model's folder, without lock and manifest."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return paths - {".lock", "manifest.json"}
