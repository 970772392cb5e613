"""Turning a `.ckpt`, a pickle, into safetensors once, so that later starts map the file instead of unpickling it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import structlog
from safetensors import SafetensorError
from safetensors.torch import save_file

from engine.models.manifest import fingerprint
from engine.sd.weights import read_weights


def as_safetensors(path: Path, folder: Path) -> Path:
    """The file itself, or for a `.ckpt` its conversion in `folder`, made on first use.

    Where the conversion can't be kept, the original serves. The name stays, for it can say what a model predicts.

    Raises:
        engine.errors.WeightsError: the file is damaged, or a pickle of anything but tensors.
    """
    if path.suffix != ".ckpt":
        return path
    target = folder / fingerprint([path]) / f"{path.stem}.safetensors"
    if target.is_file():
        return target
    weights = {name: weight.contiguous() for name, weight in read_weights(path).items()}
    draft = target.with_suffix(".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, draft)
        draft.replace(target)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        structlog.get_logger("engine").warning("checkpoint not converted", file=str(path), reason=str(error))
        return path
    return target
