"""Train the KL autoencoder: 128 x 128 x 3 pixels <-> 8 x 8 x 16 latents, to remember a fixed set of clean icons."""

import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.sd.vae import AutoencoderKL
from training.emoji.cores import Cores, mixed_precision
from training.emoji.data import load_images
from training.emoji.models import vae_config
from training.emoji.trainer import Plan, Trainer, command, read_checkpoint

log = logging.getLogger(__name__)

PLAN = Plan(rate=5e-3, batch=16, minutes=40, decay_minutes=15, ema=0.995)
KL_WEIGHT = 2e-4
SCALES = (1, 2, 4, 8)
CHECKPOINT = "autoencoder.pt"


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] in -1..1."""
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous()


def gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours along x and y."""
    return image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 at four scales (the small ones settle shape and colour early) plus L1 of the gradients (edges)."""
    error = output - target
    total = torch.zeros(())
    for scale in SCALES:
        total = total + F.avg_pool2d(error, scale).abs().mean()
    for slope in gradients(error):
        total = total + slope.abs().mean()
    return total


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Mean over latent entries of KL(N(mean, variance) || N(0, 1)) in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def autoencoder_loss(model: AutoencoderKL, images: Tensor, plan: Plan, generator: torch.Generator) -> Tensor:
    """Loss of one batch drawn from uint8 [N, H, W, 3]."""
    chosen = torch.randint(len(images), (plan.batch,), generator=generator)
    target = to_unit(images[chosen])
    with mixed_precision():
        mean, log_variance = (x.float() for x in model.encode(target))
        noise = torch.randn(mean.shape, generator=generator)
        output = model.decode(mean + noise * (0.5 * log_variance).exp())
    return reconstruction_loss(output.float(), target) + KL_WEIGHT * kl_divergence(mean, log_variance)


def load_autoencoder(run_dir: Path) -> AutoencoderKL:
    """The averaged autoencoder of the last checkpoint, in float32."""
    model = AutoencoderKL(vae_config())
    model.load_state_dict(read_checkpoint(run_dir / CHECKPOINT)["ema"])
    return model.eval().requires_grad_(False)


def train(run_dir: Path, plan: Plan) -> None:
    """Train until the plan's minutes are used up."""
    torch.manual_seed(plan.seed)
    model = AutoencoderKL(vae_config())
    log.info("%.2f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    images = torch.from_numpy(load_images(run_dir))
    trainer = Trainer(model, plan, run_dir / CHECKPOINT, Cores())
    trainer.run(lambda generator: autoencoder_loss(model, images, plan, generator))


def main() -> None:
    """Entry point."""
    command(__doc__, PLAN, train)


if __name__ == "__main__":
    main()
