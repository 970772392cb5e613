"""Contact sheets, to look at with one's own eyes."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from training.emoji.data import Pixels


def to_pixels(images: Tensor) -> Pixels:
    """Float [B, 3, H, W] in -1..1 -> uint8 [B, H, W, 3]."""
    scaled = images.float().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.permute(0, 2, 3, 1).numpy().astype(np.uint8)


def save_grid(images: Pixels, columns: int, path: Path) -> None:
    """Write uint8 [N, H, W, 3] row by row as one PNG; N is a multiple of `columns`."""
    count, height, width, channels = images.shape
    rows = images.reshape(count // columns, columns, height, width, channels)
    sheet = rows.transpose(0, 2, 1, 3, 4).reshape(count // columns * height, columns * width, channels)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
