"""Teach the text encoder first, alone: from a caption it has to tell the picture's latents, patch by patch.

A few minutes of this save the UNet from learning to read, and from learning where things are: in the padding behind the
caption its cross-attention finds, token by token, what belongs in which part of the picture.
"""

import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.sd.attention import AttentionSettings
from engine.sd.clip import CLIPTextModel
from engine.sd.config import TextConfig
from training.emoji.cores import Cores, mixed_precision
from training.emoji.examples import load_examples
from training.emoji.models import text_config
from training.emoji.trainer import Plan, Trainer, command, read_checkpoint

log = logging.getLogger(__name__)

PLAN = Plan(rate=4e-3, batch=256, minutes=4, ema=0.99, decay_minutes=2)
CHECKPOINT = "text.pt"
CHOICE_WEIGHT = 0.1
PREFIX = "text_encoder."
GRID, PATCH = 4, 2
"""The last 16 tokens, nearly always padding, each tell of one of 4 x 4 patches of 2 x 2 latents."""


class Reader(nn.Module):
    """Text encoder, and one linear map from each of its last 16 tokens to a 2 x 2 patch of the latents."""

    def __init__(self, config: TextConfig, channels: int) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(config, AttentionSettings(backend="math"))
        self.head = nn.Linear(config.width, channels * PATCH * PATCH)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, L] token ids -> [B, channels, 8, 8] latents."""
        tokens = self.text_encoder(ids)[:, -GRID * GRID :]
        patches = self.head(tokens).transpose(1, 2).unflatten(2, (GRID, GRID))
        return F.pixel_shuffle(patches, PATCH)


def reading_loss(model: Reader, ids: Tensor, chosen: Tensor, latents: Tensor) -> Tensor:
    """Squared error of the latents, and cross-entropy of picking the right row `chosen` of all latents [N, D]."""
    with mixed_precision():
        predicted = model(ids).float().flatten(1)
    distances = torch.cdist(predicted, latents).square() / latents.shape[1] ** 0.5
    return F.mse_loss(predicted, latents[chosen]) + CHOICE_WEIGHT * F.cross_entropy(-distances, chosen)


def load_text_encoder(run_dir: Path) -> dict[str, Tensor]:
    """The trained weights, under the names of CLIPTextModel."""
    weights = read_checkpoint(run_dir / CHECKPOINT)["ema"]
    return {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}


def train(run_dir: Path, plan: Plan) -> None:
    """Train until the plan's minutes are used up."""
    torch.manual_seed(plan.seed)
    examples = load_examples(run_dir)
    latents = examples.latents.flatten(1)
    model = Reader(TextConfig.from_dict(text_config(examples.tokenizer)), examples.latents.shape[1])
    log.info("%.2f M parameters", sum(p.numel() for p in model.text_encoder.parameters()) / 1e6)

    def loss(generator: torch.Generator) -> Tensor:
        chosen, ids = examples.draw(plan.batch, generator)
        return reading_loss(model, ids, chosen, latents)

    Trainer(model, plan, run_dir / CHECKPOINT, Cores()).run(loss)


def main() -> None:
    """Entry point."""
    command(__doc__, PLAN, train)


if __name__ == "__main__":
    main()
