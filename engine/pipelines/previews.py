"""What latents show, at a glance: a linear map from latents to small pictures, fitted to a model's own autoencoder.

A decoder is far too slow to look at every step. A map from each latent and its eight neighbours to a few pixels costs
nothing beside a step, and shows composition and colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

PIXEL = 4
"""Pixels of the picture, a side, in one of the fitted preview."""
LONGEST = 64
"""Pixels of the longest side of what is shown: enough to recognise, too few to make out."""
PROBE_SIDE = 128
SHAPES = 12
"""Figures in one probe."""
SAMPLES_PER_WEIGHT = 10
RIDGE = 1e-2
"""Keeps directions in which the probes hardly vary from weights without bounds."""

Encode = Callable[[Tensor], Tensor]
"""Pixels [batch, 3, height, width] in -1..1 -> latents [batch, channels, height / factor, width / factor]."""


class PreviewMap:
    """A least-squares fit of pixels on latents."""

    def __init__(self, encode: Encode, *, channels: int, factor: int) -> None:
        """Fit to an autoencoder by encoding a few pictures of coloured shapes; under a second of a small one's time.

        `factor` is how many pixels, a side, one latent stands for.
        """
        self._scale = max(factor // PIXEL, 1)
        features = 9 * channels + 1
        cells = (PROBE_SIDE // factor) ** 2
        pixels = probes(math.ceil(SAMPLES_PER_WEIGHT * features / cells))
        latents = torch.cat([encode(pixels[i : i + 1]).float().cpu() for i in range(len(pixels))])
        known = _rows(_neighbourhoods(latents)).double()
        side = latents.shape[-1] * self._scale
        wanted = _rows(F.pixel_unshuffle(F.interpolate(pixels, size=(side, side), mode="area"), self._scale)).double()
        ridge = RIDGE * torch.eye(features, dtype=torch.float64)
        self._weights = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted).float()
        """[9 * channels + 1, 3 * scale * scale]"""

    def __call__(self, latents: Tensor) -> list[Image.Image]:
        """A small picture of each of [batch, channels, height, width] clean latents."""
        mapped = torch.einsum("bfhw,fp->bphw", _neighbourhoods(latents.float().cpu()), self._weights)
        pixels = F.pixel_shuffle(mapped, self._scale)
        longest = max(pixels.shape[-2:])
        if longest > LONGEST:
            sides = [max(side * LONGEST // longest, 1) for side in pixels.shape[-2:]]
            pixels = F.interpolate(pixels, size=sides, mode="area")
        levels = (pixels / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return [Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()) for picture in levels]


def probes(count: int) -> Tensor:
    """[count, 3, side, side] in -1..1: coloured discs and rectangles, the same ones every time."""
    random = Random(0)
    return torch.stack([_probe(random) for _ in range(count)])


def _probe(random: Random) -> Tensor:
    def color() -> tuple[int, int, int]:
        return random.randrange(256), random.randrange(256), random.randrange(256)

    image = Image.new("RGB", (PROBE_SIDE, PROBE_SIDE), "white" if random.random() < 0.5 else color())
    draw = ImageDraw.Draw(image)
    for _ in range(SHAPES):
        left, top = random.randrange(-10, PROBE_SIDE), random.randrange(-10, PROBE_SIDE)
        box = left, top, left + random.randrange(6, PROBE_SIDE // 2), top + random.randrange(6, PROBE_SIDE // 2)
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=color())
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def _neighbourhoods(latents: Tensor) -> Tensor:
    """[batch, channels, height, width] -> [batch, 9 * channels + 1, height, width]: 3 x 3 latents each, and a one."""
    batch, _, height, width = latents.shape
    around = F.unfold(F.pad(latents, (1, 1, 1, 1), mode="replicate"), 3).view(batch, -1, height, width)
    return torch.cat([around, torch.ones_like(around[:, :1])], dim=1)


def _rows(maps: Tensor) -> Tensor:
    """[batch, features, height, width] -> [batch * height * width, features]."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
