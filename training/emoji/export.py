"""Write the averaged weights as a diffusers folder in float16, and load it back strictly.

The new folder is complete before it takes the old one's place.
"""

import json
import logging
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.sd.checkpoint import load
from engine.sd.config import Config
from training.emoji.latents import load_vae
from training.emoji.models import MODEL_INDEX, SCHEDULER_CONFIG, UNET_CONFIG, VAE_CONFIG, load_tokenizer, text_config
from training.emoji.paths import parser, start_logging
from training.emoji.train_denoiser import load_painter

log = logging.getLogger(__name__)

TARGET = Path(__file__).resolve().parents[2] / "engine" / "models" / "emoji"
CARD = Path(__file__).with_name("MODEL_CARD.md")
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
TRANSFORMERS_WEIGHTS = "model.safetensors"
MOST_BYTES = 40_000_000


def half(model: nn.Module) -> dict[str, Tensor]:
    """The weights in float16."""
    return {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}


def write_json(config: Config, path: Path) -> None:
    """Write a configuration file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_network(model: nn.Module, config: Config, folder: Path, weights: str) -> None:
    """Write one network's configuration and weights."""
    write_json(config, folder / "config.json")
    save_file(half(model), folder / weights, metadata={"format": "pt"})


def write_folder(run_dir: Path, folder: Path) -> None:
    """Write the whole model into a new folder."""
    painter, tokenizer = load_painter(run_dir), load_tokenizer(run_dir)
    vae, factor = load_vae(run_dir)
    write_json(MODEL_INDEX, folder / "model_index.json")
    write_json(SCHEDULER_CONFIG, folder / "scheduler" / "scheduler_config.json")
    write_network(vae, {**VAE_CONFIG, "scaling_factor": factor}, folder / "vae", DIFFUSERS_WEIGHTS)
    write_network(painter.unet, UNET_CONFIG, folder / "unet", DIFFUSERS_WEIGHTS)
    write_network(painter.text_encoder, text_config(tokenizer), folder / "text_encoder", TRANSFORMERS_WEIGHTS)
    shutil.copytree(run_dir / "tokenizer", folder / "tokenizer")
    shutil.copyfile(CARD, folder / "README.md")


def total_bytes(folder: Path) -> int:
    """Size of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def replace_folder(new: Path, target: Path) -> None:
    """Put `new` where `target` is."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def export(run_dir: Path, target: Path) -> int:
    """Write, load back, and put in place; returns the size in bytes.

    Raises ValueError when it is larger than the repository should carry.
    """
    new = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    write_folder(run_dir, new)
    load(new)
    size = total_bytes(new)
    for path in sorted(new.rglob("*.safetensors")):
        log.info("%s: %.2f MB", path.relative_to(new), path.stat().st_size / 1e6)
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes are more than {MOST_BYTES}")
    replace_folder(new, target)
    log.info("%.2f MB in %s", size / 1e6, target)
    return size


def main() -> None:
    """Entry point."""
    options = parser(__doc__)
    options.add_argument("--target", type=Path, default=TARGET)
    start_logging()
    arguments = options.parse_args()
    export(arguments.run_dir, arguments.target)


if __name__ == "__main__":
    main()
