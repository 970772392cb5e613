"""Whether a model's files are whole, as far as their own tables tell: gigabytes take a millisecond."""

from __future__ import annotations

import zipfile
from pathlib import Path

from engine.errors import WeightsError
from engine.models.registry import CLIP_TOKENIZER_NAME, ModelSource

_ZIPPED = (".ckpt", ".bin")
_PICKLE = b"\x80"
"""First byte of a pickle as torch wrote them before 1.6, which has no table."""


def vocabulary(path: Path, models: Path) -> Path:
    """The folder of a single file's vocabulary: beside it, or the one fetched for all. Raises WeightsError."""
    for folder in (path.parent / "tokenizer", models / CLIP_TOKENIZER_NAME / "tokenizer"):
        if folder.is_dir():
            return folder
    raise WeightsError(
        f"{path.name} holds no vocabulary, as single files don't; run easel fetch {CLIP_TOKENIZER_NAME}."
    )


def look_over(source: ModelSource, models: Path) -> None:
    """Raise WeightsError, saying what is wrong, when a file was cut off or is something else, or the vocabulary lacks.

    `models` is the folder of fetched models.
    """
    if source.path.is_file():
        vocabulary(source.path, models)
    files = [source.path] if source.path.is_file() else sorted(source.path.rglob("*"))
    for path in files:
        if path.suffix in (".safetensors", *_ZIPPED) and not _is_whole(path):
            raise WeightsError(f"The weight file {path} is truncated or damaged; fetch it again.")


def _is_whole(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open  # numpy comes with it

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy"):
                return True
        with path.open("rb") as file:
            return zipfile.is_zipfile(file) or (file.seek(0) == 0 and file.read(1) == _PICKLE)
    except (SafetensorError, OSError):
        return False
