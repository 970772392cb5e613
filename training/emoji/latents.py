"""Encode every picture once; the denoiser learns on the latents.

The mean of each latent channel is folded into the autoencoder's two 1x1 convolutions, so that latents are centred and
one scaling factor makes their standard deviation 1 over all channels. Channels keep their relative scale: the
autoencoder's noise is about equal in all of them, so that a latent error of one size costs about the same everywhere.
"""

import json
import logging
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.sd.vae import AutoencoderKL
from training.emoji.data import load_images
from training.emoji.models import vae_config
from training.emoji.paths import parser, start_logging
from training.emoji.train_autoencoder import load_autoencoder, to_unit
from training.emoji.trainer import read_checkpoint

log = logging.getLogger(__name__)

BATCH = 64
VAE_FILE = "vae.safetensors"
LATENTS_FILE = "latents.safetensors"
DECODER_CHECKPOINT = "decoder.pt"


def encode(model: AutoencoderKL, images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] -> latent means, float32 [N, C, h, w]."""
    with torch.no_grad():
        return torch.cat([model.encode(to_unit(chunk))[0] for chunk in torch.split(images, BATCH)])


def centre(model: AutoencoderKL, mean: Tensor) -> None:
    """Shift the latents by -mean [C], in place, without changing any reconstruction."""
    channels = len(mean)
    with torch.no_grad():
        if model.quant_conv.bias is None or model.post_quant_conv.bias is None:
            raise ValueError("the convolutions around the latents need a bias")
        model.quant_conv.bias[:channels] -= mean
        model.post_quant_conv.bias += model.post_quant_conv.weight[:, :, 0, 0] @ mean


def make_latents(run_dir: Path) -> float:
    """Write the centred autoencoder and the scaled latents; returns the scaling factor."""
    model = load_autoencoder(run_dir)
    images = torch.from_numpy(load_images(run_dir))
    latents = encode(model, images)
    mean = latents.mean(dim=(0, 2, 3))
    centre(model, mean)
    latents = latents - mean[:, None, None]
    factor = 1.0 / latents.std().item()
    save_file(model.state_dict(), run_dir / VAE_FILE, metadata={"scaling_factor": json.dumps(factor)})
    save_file({"latents": (latents * factor).contiguous()}, run_dir / LATENTS_FILE)
    log.info("scaling factor %.5f, channels' deviation %s", factor, (latents * factor).std(dim=(0, 2, 3)).tolist())
    return factor


def load_latents(run_dir: Path) -> Tensor:
    """Scaled latents, float32 [N, 16, 8, 8], in the order of the pictures."""
    return load_file(run_dir / LATENTS_FILE)["latents"]


def load_vae(run_dir: Path) -> tuple[AutoencoderKL, float]:
    """The centred autoencoder, with the decoder that ``train_decoder`` made if there is one, and its scaling factor."""
    with safe_open(run_dir / VAE_FILE, "pt") as file:
        factor = float(json.loads(file.metadata()["scaling_factor"]))
    model = AutoencoderKL(vae_config())
    weights, decoder = load_file(run_dir / VAE_FILE), run_dir / DECODER_CHECKPOINT
    model.load_state_dict(weights | (read_checkpoint(decoder)["ema"] if decoder.exists() else {}))
    return model.eval().requires_grad_(False), factor


def main() -> None:
    """Entry point: encode with the averaged weights of the autoencoder's last checkpoint."""
    arguments = parser(__doc__).parse_args()
    start_logging()
    make_latents(arguments.run_dir)


if __name__ == "__main__":
    main()
