"""How alike two pictures are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

WINDOW, SPREAD = 11, 1.5
"""Side and standard deviation of the window, in pixels."""
STABILISERS = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in decibels; infinite for equal pictures."""
    error = float(np.mean((_levels(one) - _levels(other)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Mean structural similarity of the three channels (Wang et al. 2004, with its Gaussian window)."""
    x, y = _levels(one), _levels(other)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    first, second = STABILISERS
    top = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    bottom = (mean_x**2 + mean_y**2 + first) * (variance_x + variance_y + second)
    return float(np.mean(top / bottom))


def _levels(image: Image.Image) -> Floats:
    return np.asarray(image.convert("RGB"), np.float64)


def _blur(values: Floats) -> Floats:
    """[height, width, 3] -> its Gaussian means, without the margin where the window would leave the picture."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * SPREAD**2))
    weights /= weights.sum()
    windows = np.lib.stride_tricks.sliding_window_view
    rows: Floats = windows(values, WINDOW, axis=0) @ weights
    columns: Floats = windows(rows, WINDOW, axis=1) @ weights
    return columns
