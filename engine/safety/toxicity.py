"""The check of prompts by Detoxify `original` (Hanu and Unitary team 2020, github.com/unitaryai/detoxify).

Its own loader unpickles whatever the checkpoint holds and asks the model hub for the tokenizer. Here the checkpoint is
read as plain tensors, everything comes from one folder, and Detoxify's class gets what it needs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import WeightsError
from engine.settings import ToxicityThresholds

if TYPE_CHECKING:
    from detoxify import Detoxify

CHECKPOINT = "toxic_original-c1212f89.ckpt"
FILES = (CHECKPOINT, "config.json", "vocab.txt", "tokenizer_config.json")
"""What the folder must hold: Detoxify's release file, and bert-base-uncased's shape and vocabulary."""
CLASSES = tuple(ToxicityThresholds.model_fields)
ALIASES = {"toxic": "toxicity", "severe_toxic": "severe_toxicity", "identity_hate": "identity_attack"}
"""Names of the classes in older checkpoints."""
WINDOW = 480
"""Characters read at once. BERT reads 512 tokens and a token is a character at least, so that nothing is cut off."""
OVERLAP = 60
BATCH = 8
"""Windows scored at once, to bound the memory of a long prompt."""


def toxicity_files_present(folder: Path) -> bool:
    """Whether the model was fetched; its content is checked when it is loaded."""
    return all((folder / name).is_file() for name in FILES)


def windows(text: str) -> list[str]:
    """The text in overlapping pieces that the model can read whole."""
    starts = range(0, max(len(text) - OVERLAP, 1), WINDOW - OVERLAP)
    return [text[start : start + WINDOW] for start in starts]


def exceeded(scores: Mapping[str, float], thresholds: ToxicityThresholds) -> tuple[str, ...]:
    """Classes whose score reaches its threshold; a score that is no number reaches every one."""
    limits = thresholds.model_dump()
    return tuple(name for name in CLASSES if not scores[name] < limits[name])


class ToxicityChecker:
    """Scores texts; the model is loaded at the first of them. Not for several threads at once."""

    def __init__(self, folder: Path, *, sha256: str | None = None) -> None:
        """`sha256`: hexadecimal digest that the checkpoint must have, when it is pinned."""
        self._folder = folder
        self._sha256 = sha256
        self._detoxify: Detoxify | None = None

    def scores(self, *texts: str) -> dict[str, float]:
        """Highest score of each class over the texts, 0 to 1.

        Raises:
            WeightsError: the checkpoint is missing, damaged or of another shape, or scores are no numbers.
        """
        if self._detoxify is None:
            self._detoxify = self._load()
        pieces = [piece for text in dict.fromkeys(texts) for piece in windows(text)]
        highest = dict.fromkeys(CLASSES, 0.0)
        for start in range(0, len(pieces), BATCH):
            batch = pieces[start : start + BATCH]
            for name, values in self._detoxify.predict(batch).items():
                found = values if isinstance(values, list) else [values]  # one text gives a bare number
                if not all(map(math.isfinite, found)):
                    raise WeightsError("The toxicity model's scores are no numbers.")
                highest[name] = max(highest[name], *found)
        return highest

    def _load(self) -> Detoxify:
        checkpoint = self._read_checkpoint()
        try:
            names = [ALIASES.get(name, name) for name in checkpoint["config"]["dataset"]["args"]["classes"]]
            arguments = dict(checkpoint["config"]["arch"]["args"])
            state = checkpoint["state_dict"]
        except (KeyError, TypeError) as error:
            raise WeightsError("The toxicity model's checkpoint isn't one of Detoxify's.") from error
        if sorted(names) != sorted(CLASSES):
            raise WeightsError("The toxicity model's checkpoint knows other classes than Detoxify's original.")
        return self._assemble(arguments, state, names)

    def _read_checkpoint(self) -> dict[str, Any]:
        import pickle

        import torch

        path = self._folder / CHECKPOINT
        try:
            if self._sha256 is not None and _sha256_of(path) != self._sha256:
                raise WeightsError("The toxicity model's checkpoint isn't the one that was pinned.")
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise WeightsError("The toxicity model's checkpoint is missing or damaged.") from error
        return checkpoint

    def _assemble(self, arguments: dict[str, Any], state: dict[str, Any], names: list[str]) -> Detoxify:
        from detoxify import Detoxify
        from detoxify.detoxify import get_model_and_tokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        arguments["model_type"] = str(self._folder)  # instead of a name on the hub
        try:
            model, tokenizer = get_model_and_tokenizer(**arguments, state_dict=state)
            # transformers fills gaps with random numbers; here every weight has to come from the checkpoint.
            buffers = {name for name, _ in model.named_buffers()} | {"bert.embeddings.position_ids"}
            model.load_state_dict({k: v for k, v in state.items() if k not in buffers}, strict=True)
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError("The toxicity model's files don't fit each other.") from error
        detoxify = Detoxify.__new__(Detoxify)
        detoxify.model, detoxify.tokenizer, detoxify.class_names, detoxify.device = model, tokenizer, names, "cpu"
        return detoxify


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
