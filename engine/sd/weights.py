"""Reading weight files safely: safetensors, and the pickles of old under torch's restricted loader.

Both are mapped into memory, not copied: a weight is read from disk when it is first used.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.errors import WeightsError

Weights = dict[str, Tensor]


class _Inert:
    """Stands in for a harmless class or function that published checkpoints name beside their tensors.

    Building one runs nothing and keeps nothing.
    """

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Drops the state that the pickle holds."""


_KNOWN_EXTRAS = (
    # Stable Diffusion 1.x was saved by a trainer that keeps its callbacks and their best scores with the weights.
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
)


def _read_pickle(path: Path) -> Weights:
    extras: list[Any] = [(_Inert, name) for name in _KNOWN_EXTRAS]
    with torch.serialization.safe_globals(extras):
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no weights.")
    return {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}


def read_weights(path: Path) -> Weights:
    """All tensors of a `.safetensors`, `.ckpt` or `.bin` file by name.

    Raises WeightsError when the file is absent, truncated, damaged, or a pickle of anything but plain tensors.
    """
    try:
        return load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no weight file {path}.") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"The weight file {path} is damaged, or a pickle that holds more than tensors; it was not loaded."
        ) from error
    except OSError as error:
        raise WeightsError(f"The weight file {path} can't be read ({error}).") from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(f"The weight file {path} is truncated or damaged; fetch it again.") from error
