"""Begin a run with a released model instead of with nothing: its vocabulary and the weights of its three networks.

``latents``, ``train_denoiser`` and the others then go on from there. What the optimisers had gathered is not in a
release, so they warm up again.
"""

import logging
import shutil
from pathlib import Path

from torch import nn

from engine.sd.checkpoint import load
from training.emoji.export import TARGET
from training.emoji.models import Painter, load_tokenizer
from training.emoji.paths import parser, start_logging
from training.emoji.train_autoencoder import CHECKPOINT as AUTOENCODER
from training.emoji.train_denoiser import CHECKPOINT as DENOISER
from training.emoji.trainer import save_weights

log = logging.getLogger(__name__)


def begin(folder: Path, run_dir: Path) -> None:
    """Write the checkpoints of a run that begins with the diffusers folder's weights.

    Raises FileExistsError rather than overwrite the checkpoint of a run that has begun already.
    """
    targets = [run_dir / AUTOENCODER, run_dir / DENOISER]
    for target in targets:
        if target.exists():
            raise FileExistsError(f"{target} is there already")
    released = load(folder)
    shutil.copytree(folder / "tokenizer", run_dir / "tokenizer", dirs_exist_ok=True)
    painter = Painter(load_tokenizer(run_dir))
    painter.text_encoder.load_state_dict(released.text_encoder.state_dict())
    painter.unet.load_state_dict(released.unet.state_dict())
    networks: list[nn.Module] = [released.vae, painter]
    for network, target in zip(networks, targets, strict=True):
        save_weights(network, target)
        log.info("%s", target)


def main() -> None:
    """Entry point."""
    options = parser(__doc__)
    options.add_argument("--model", type=Path, default=TARGET, help="a diffusers folder")
    start_logging()
    arguments = options.parse_args()
    begin(arguments.model, arguments.run_dir)


if __name__ == "__main__":
    main()
