"""Loading Stable Diffusion 1.x and 2.x, strictly, from a diffusers folder or from an original single file.

Networks are built without memory of their own and take over the mapped weights, so that loading needs about as much
memory as the weights themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from engine.errors import WeightsError
from engine.sd.attention import AttentionSettings
from engine.sd.clip import CLIPTextModel
from engine.sd.config import Config, Prediction, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from engine.sd.original import VAE_ATTENTION, convert, flatten_attention, rename
from engine.sd.schedule import NoiseSchedule
from engine.sd.tokenizer import END, Tokenizer
from engine.sd.unet import UNet
from engine.sd.vae import AutoencoderKL
from engine.sd.weights import MappedWeights, Weights, read_weights

Network = TypeVar("Network", bound=nn.Module)
Shape = TypeVar("Shape")

OPENCLIP_PAD = "!"
"""OpenCLIP pads with token 0."""
UNUSED_BUFFER = "position_ids"
"""Old folders carry this table of 0, 1, 2, … among the text encoder's weights."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a model's numbers live, in what format, and how its attention is computed."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    attention: AttentionSettings = field(default_factory=AttentionSettings)

    @property
    def half(self) -> bool:
        """Whether half-precision files suffice."""
        return self.dtype in (torch.float16, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class Components:
    """A loaded model, ready for inference."""

    unet: UNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: Tokenizer
    schedule: NoiseSchedule
    files: tuple[MappedWeights, ...] = ()
    """What the networks' weights may still be parts of."""

    def forget_pages(self) -> None:
        """Give back the memory of the files' pages that were read so far."""
        for file in self.files:
            file.forget_pages()

    @property
    def prediction(self) -> Prediction:
        """What the UNet's output means."""
        return self.schedule.config.prediction


def load(
    path: Path,
    placement: Placement | None = None,
    *,
    tokenizer: Path | None = None,
    prediction: Prediction | None = None,
) -> Components:
    """Load a diffusers folder, or a `.safetensors` or `.ckpt` file in the original layout.

    A single file has no tokenizer: `tokenizer` is a folder with its vocabulary, by default `tokenizer` beside the
    file. `prediction` overrides what the folder says, or what a file's `.yaml` says or its name suggests. Raises
    WeightsError.
    """
    placement = placement or Placement()
    if path.is_dir():
        return load_folder(path, placement, prediction=prediction)
    return load_single_file(path, placement, tokenizer=tokenizer, prediction=prediction)


def load_folder(path: Path, placement: Placement, *, prediction: Prediction | None = None) -> Components:
    """Load the layout of diffusers: model_index.json and a folder for each part. Raises WeightsError.

    What is small is read first, so that a fault of it shows before a network was built.
    """
    if not (path / "model_index.json").is_file():
        raise WeightsError(f"{path} is not a diffusers model folder: it has no model_index.json.")
    text, unet, vae = path / "text_encoder", path / "unet", path / "vae"
    schedule = _config(path / "scheduler" / "scheduler_config.json", ScheduleConfig.from_dict)
    unet_config = _config(unet / "config.json", UNetConfig.from_dict)
    vae_config = _config(vae / "config.json", VAEConfig.from_dict)
    text_config = _config(text / "config.json", TextConfig.from_dict)
    vocabulary = _tokenizer(path / "tokenizer", END)
    files = {folder: read_weights(_weight_file(folder, placement)) for folder in (unet, vae, text)}
    return Components(
        unet=_build(UNet, unet_config, files[unet], placement, unet, files[unet]),
        vae=_build(AutoencoderKL, vae_config, _modern_vae(files[vae]), placement, vae, files[vae]),
        text_encoder=_build(CLIPTextModel, text_config, _modern_text(files[text]), placement, text, files[text]),
        tokenizer=vocabulary,
        schedule=NoiseSchedule(schedule if prediction is None else replace(schedule, prediction=prediction)),
        files=tuple(files.values()),
    )


def load_single_file(
    path: Path, placement: Placement, *, tokenizer: Path | None = None, prediction: Prediction | None = None
) -> Components:
    """Load the original layout, its shape being inferred from the weights. Raises WeightsError."""
    file = read_weights(path)
    parts = convert(file, path, prediction)
    folder = tokenizer or path.parent / "tokenizer"
    if not folder.is_dir():
        raise WeightsError(
            f"{path} holds no tokenizer, as single files don't, and there is none in {folder}: put vocab.json and "
            "merges.txt there, or name the folder that has them."
        )
    vocabulary = _tokenizer(folder, OPENCLIP_PAD if parts.openclip else END)
    return Components(
        unet=_build(UNet, *parts.unet, placement, path, file),
        vae=_build(AutoencoderKL, *parts.vae, placement, path, file),
        text_encoder=_build(CLIPTextModel, *parts.text_encoder, placement, path, file),
        tokenizer=vocabulary,
        schedule=NoiseSchedule(parts.schedule),
        files=(file,),
    )


def _weight_file(folder: Path, placement: Placement) -> Path:
    """The best file of a part: safetensors before pickles, and of the precision that is wanted."""
    stems = ("model", "diffusion_pytorch_model"), ("pytorch_model", "diffusion_pytorch_model")
    variants = (".fp16", "") if placement.half else ("", ".fp16")
    names = [
        f"{stem}{variant}{suffix}"
        for suffix, kinds in zip((".safetensors", ".bin"), stems, strict=True)
        for variant in variants
        for stem in kinds
    ]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise WeightsError(f"{folder} holds no weights: neither .safetensors nor .bin.")
    return found


def _config(path: Path, parse: Callable[[Config], Shape]) -> Shape:
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise WeightsError(f"The model lacks its file {path}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"The model's file {path} is damaged or of an unknown kind ({error}).") from error


def _tokenizer(folder: Path, pad: str) -> Tokenizer:
    try:
        return Tokenizer.load(folder, pad=pad)
    except FileNotFoundError as error:
        raise WeightsError(f"The tokenizer in {folder} lacks its file {error.filename}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"The tokenizer in {folder} is damaged ({error}).") from error


def _modern_vae(weights: Weights) -> Weights:
    renamed = {rename(key, VAE_ATTENTION): weight for key, weight in weights.items()}
    return {key: flatten_attention(key, weight) for key, weight in renamed.items()}


def _modern_text(weights: Weights) -> Weights:
    """Folders differ in whether the text encoder's names begin with `text_model.`."""
    return {
        key if key.startswith("text_model.") else f"text_model.{key}": weight
        for key, weight in weights.items()
        if not key.endswith(UNUSED_BUFFER)
    }


def _check(expected: Weights, given: Weights, source: Path) -> None:
    """Refuse weights that don't fit, in one sentence instead of torch's page."""
    missing = sorted(expected.keys() - given.keys())
    unknown = sorted(given.keys() - expected.keys())
    odd = sorted(key for key in expected.keys() & given.keys() if expected[key].shape != given[key].shape)
    for keys, fault in ((missing, "lacks"), (unknown, "has unknown"), (odd, "has misshapen")):
        if keys:
            raise WeightsError(
                f"The weights of {source} don't fit: the file {fault} {len(keys)} of them, first {keys[0]}."
            )


def _build(
    network: Callable[[Shape, AttentionSettings], Network],
    config: Shape,
    weights: Weights,
    placement: Placement,
    source: Path,
    file: MappedWeights,
) -> Network:
    """Build a network on the meta device and hand it its weights one by one."""
    with torch.device("meta"):
        model = network(config, placement.attention)
    _check(model.state_dict(), weights, source)
    placed: Weights = {}
    for key, weight in weights.items():
        placed[key] = weight.to(placement.device, placement.dtype)
        if placed[key] is not weight:
            file.forget_pages()
    model.load_state_dict(placed, strict=True, assign=True)
    return model.requires_grad_(False).eval()
