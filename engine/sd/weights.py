"""Reading weight files safely: safetensors, and the pickles of old under torch's restricted loader.

Both are mapped into memory, not copied: a weight is read from disk when it is first used.
"""

from __future__ import annotations

import json
import mmap
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import WeightsError

Weights = dict[str, Tensor]

_FORMATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_HEADER_SIZE = 8
"""Bytes in which a safetensors file tells the length of its header."""


class MappedWeights(Weights):
    """The tensors of a file by name. They are parts of one mapping of it, where `mapping` is given."""

    def __init__(self, tensors: Mapping[str, Tensor], mapping: mmap.mmap | None = None) -> None:
        super().__init__(tensors)
        self._mapping = mapping

    def forget_pages(self) -> None:
        """Give back the memory of what was read so far; whatever is still needed is read once more.

        Called between the copies that loading makes of weights, it keeps both from being in memory at once.
        """
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)


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


def _map_safetensors(path: Path) -> MappedWeights:
    """The tensors as parts of one private mapping.

    safetensors' own reader checks the header; its mapping can't be told to give pages back.
    """
    with safe_open(path, framework="pt"):
        pass
    with path.open("rb") as file:
        start = _HEADER_SIZE + int.from_bytes(file.read(_HEADER_SIZE), "little")
        header = json.loads(file.read(start - _HEADER_SIZE))
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header.pop("__metadata__", None)
    return MappedWeights({name: _tensor(mapping, start, entry) for name, entry in header.items()}, mapping)


def _tensor(mapping: mmap.mmap, start: int, entry: dict[str, Any]) -> Tensor:
    begin, end = entry["data_offsets"]
    dtype = _FORMATS[entry["dtype"]]
    if begin == end:
        return torch.empty(entry["shape"], dtype=dtype)
    count = (end - begin) // dtype.itemsize
    tensor = torch.frombuffer(mapping, dtype=dtype, count=count, offset=start + begin).view(entry["shape"])
    return tensor if tensor.data_ptr() % dtype.itemsize == 0 else tensor.clone()


def read_weights(path: Path) -> MappedWeights:
    """All tensors of a `.safetensors`, `.ckpt` or `.bin` file by name.

    Raises WeightsError when the file is absent, truncated, damaged, or a pickle of anything but plain tensors.
    """
    try:
        return _map_safetensors(path) if path.suffix == ".safetensors" else MappedWeights(_read_pickle(path))
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
