"""Recall: is the picture drawn from a label nearest to the label's own emoji?

Distance: Euclidean, on pictures reduced to 32 x 32 RGB by averaging. Rank 1 means that no other of all the pictures is
nearer. Chance: the same pictures judged against labels shuffled among themselves.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.sd.checkpoint import load
from training.emoji.data import Pixels, load_emoji, load_images
from training.emoji.draw import GUIDANCE, STEPS, draw
from training.emoji.export import TARGET
from training.emoji.paths import parser, start_logging
from training.emoji.pictures import save_grid

log = logging.getLogger(__name__)

LABELS = 200
BATCH = 50
SMALL = 32


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Shares of the labels whose own emoji is among the nearest, and the median rank."""

    top_1: float
    top_10: float
    median_rank: float


def reduced(pictures: Pixels) -> Tensor:
    """uint8 [N, H, W, 3] -> float [N, 32 * 32 * 3] in 0..1."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return F.adaptive_avg_pool2d(pixels, SMALL).flatten(1)


def ranks(pictures: Pixels, references: Pixels, own: Sequence[int]) -> NDArray[np.int64]:
    """For each picture the rank (from 1) of reference `own[i]` among all references, by distance."""
    distances = torch.cdist(reduced(pictures), reduced(references))
    wanted = distances.gather(1, torch.tensor(own)[:, None])
    result: NDArray[np.int64] = (distances < wanted).sum(1).add(1).numpy()
    return result


def recall(found: NDArray[np.int64]) -> Recall:
    """Summary of ranks."""
    return Recall(
        top_1=float((found <= 1).mean()), top_10=float((found <= 10).mean()), median_rank=float(np.median(found))
    )


def main() -> None:
    """Entry point: log and write the figures and a sheet of the first 40 pictures over their originals."""
    options = parser(__doc__)
    options.add_argument("--model", type=Path, default=TARGET, help="a diffusers folder")
    options.add_argument("--labels", type=int, default=LABELS)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--guidance", type=float, default=GUIDANCE)
    options.add_argument("--threads", type=int, default=2)
    start_logging()
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    emoji, references, model = load_emoji(arguments.run_dir), load_images(arguments.run_dir), load(arguments.model)
    own = Random(arguments.seed).sample(range(len(emoji)), arguments.labels)
    batches = [own[start : start + BATCH] for start in range(0, len(own), BATCH)]
    drawn = [
        draw(model, [emoji[i].label for i in batch], batch, steps=arguments.steps, guidance=arguments.guidance)
        for batch in batches
    ]
    pictures = np.concatenate(drawn)
    shuffled = Random(arguments.seed + 1).sample(own, len(own))
    figures = {
        "labels": len(own),
        "pictures": len(references),
        "steps": arguments.steps,
        "guidance": arguments.guidance,
        "recall": asdict(recall(ranks(pictures, references, own))),
        "shuffled": asdict(recall(ranks(pictures, references, shuffled))),
    }
    log.info("%s", figures)
    (arguments.run_dir / "recall.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    rows = [part for i in range(0, 40, 10) for part in (references[own[i : i + 10]], pictures[i : i + 10])]
    save_grid(np.concatenate(rows), 10, arguments.run_dir / "grids" / "recall.png")


if __name__ == "__main__":
    main()
