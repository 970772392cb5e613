"""Go on training the decoder alone, behind the cached latents: finer pictures for the same denoiser.

The latents get a little noise, so that the decoder forgives the denoiser's small errors.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.sd.vae import AutoencoderKL
from training.emoji.cores import Cores, mixed_precision
from training.emoji.data import load_images
from training.emoji.latents import DECODER_CHECKPOINT, load_latents, load_vae
from training.emoji.train_autoencoder import reconstruction_loss, to_unit
from training.emoji.trainer import Plan, Trainer, command

log = logging.getLogger(__name__)

PLAN = Plan(rate=2e-3, batch=16, minutes=60, decay_minutes=20, ema=0.995)
LATENT_NOISE = 0.1
"""Standard deviation of the noise on latents of standard deviation 1."""


class Decoder(nn.Module):
    """The half of the autoencoder behind the latents, under the autoencoder's names."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.decoder = vae.decoder
        self.post_quant_conv = vae.post_quant_conv

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] latents, not scaled -> [B, 3, H, W]."""
        out: Tensor = self.decoder(self.post_quant_conv(latents))
        return out


def train(run_dir: Path, plan: Plan) -> None:
    """Train until the plan's minutes are used up."""
    vae, factor = load_vae(run_dir)
    model = Decoder(vae.requires_grad_(True))
    images, latents = torch.from_numpy(load_images(run_dir)), load_latents(run_dir)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(images), (plan.batch,), generator=generator)
        noise = torch.randn(latents[chosen].shape, generator=generator)
        with mixed_precision():
            output = model((latents[chosen] + LATENT_NOISE * noise) / factor)
        return reconstruction_loss(output.float(), to_unit(images[chosen]))

    Trainer(model, plan, run_dir / DECODER_CHECKPOINT, Cores()).run(loss)


def main() -> None:
    """Entry point; ``export`` takes the decoder from here on from this step's checkpoint."""
    command(__doc__, PLAN, train)


if __name__ == "__main__":
    main()
