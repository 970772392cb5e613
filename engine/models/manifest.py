"""The record of a fetched model: which files, from where, and what they must contain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.errors import StorageError

FILE_NAME = "manifest.json"
SAMPLES = 16
SAMPLE_BYTES = 2**16


class FileRecord(BaseModel):
    """One file of a fetched model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    """Bytes."""
    sha256: str


class Manifest(BaseModel):
    """What lies in a model's folder once all of it was fetched and verified; its presence marks completeness."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str
    revision: str
    """The full commit that the files were taken from."""
    licence: str = ""
    files: dict[str, FileRecord]
    """By path in the folder."""

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a folder, or None where there is none that can be understood."""
        try:
            return cls.model_validate_json((folder / FILE_NAME).read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, folder: Path) -> None:
        """Mark a folder as complete, atomically. Raises OSError."""
        draft = folder / f"{FILE_NAME}.part"
        draft.write_text(json.dumps(self.model_dump(), indent=2) + "\n", encoding="utf-8")
        draft.replace(folder / FILE_NAME)

    def complete(self, folder: Path) -> bool:
        """Whether every file is there in its full length; cheap, contents are not read."""
        return all(_size(folder / path) == record.size for path, record in self.files.items())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _offsets(size: int) -> Iterable[int]:
    """Where samples of a file begin: end to end in a small file, else spread from its start to its end."""
    if size <= SAMPLES * SAMPLE_BYTES:
        return range(0, size, SAMPLE_BYTES)
    return [i * (size - SAMPLE_BYTES) // (SAMPLES - 1) for i in range(SAMPLES)]


def fingerprint(paths: Iterable[Path]) -> str:
    """A revision derived from content, cheap even for gigabytes: sizes, and blocks spread over each file.

    Other weights differ in every block, and the same weights copied elsewhere keep their fingerprint.

    Raises:
        StorageError: a file can't be read.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            size = path.stat().st_size
            digest.update(f"{path.name}:{size}\n".encode())
            with path.open("rb") as file:
                for offset in _offsets(size):
                    file.seek(offset)
                    digest.update(file.read(SAMPLE_BYTES))
        except OSError as error:
            raise StorageError(f"{path} can't be read ({error.strerror}).") from error
    return digest.hexdigest()[:16]
