"""The cache's files: a PNG and its JSON side-car per key, in sharded folders. Blocking; call from a thread.

The side-car is the commit mark: written after the picture, removed before it, and nothing is read without it. So a
crash at any moment leaves an entry whole or absent, apart from a picture without side-car, which is never read.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from engine.cache.values import SideCar, is_key

MAX_SIDE_CAR = 256 * 1024
"""Bytes; a larger one is not ours."""
QUARANTINED_FILES = 128
"""Damaged files kept for the operator to look at; the oldest go first."""
STALE = 3600.0
"""Seconds after which an unfinished file belongs to no living writer."""

_SHARD = re.compile(r"[0-9a-f]{2}\Z")


class DamagedError(Exception):
    """An entry's files contradict each other; `scope` is empty when not even the side-car can be read."""

    def __init__(self, reason: str, scope: str = "") -> None:
        super().__init__(reason)
        self.scope = scope


class Files:
    """Write-once files under one folder, safe with several processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._temporary = folder / "tmp"
        self._quarantine = folder / "quarantine"

    def prepare(self) -> None:
        """Make the folders and remove what dead writers left unfinished."""
        for folder in (self.folder, self._temporary, self._quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        for path in self._temporary.iterdir():
            if _stale(path):
                path.unlink(missing_ok=True)

    def read(self, key: str) -> tuple[SideCar, bytes]:
        """One entry, its checksum verified.

        Raises:
            FileNotFoundError: there is no such entry.
            DamagedError: there is one, and it can't be trusted.
        """
        side_car = self.side_car(key)
        facts = side_car.facts
        try:
            with self._picture(key).open("rb") as file:
                data = file.read(side_car.bytes + 1)
        except FileNotFoundError:
            if self._side_car(key).exists():
                raise DamagedError("the picture is missing", facts.scope) from None
            raise
        if hashlib.sha256(data).hexdigest() != side_car.sha256:
            raise DamagedError("the checksum differs", facts.scope)
        return side_car, data

    def verified(self, key: str) -> SideCar:
        """What is known of an entry whose picture is sound; errors as of `read`."""
        return self.read(key)[0]

    def side_car(self, key: str) -> SideCar:
        """What is known of an entry; errors as of `read`."""
        with self._side_car(key).open("rb") as file:
            text = file.read(MAX_SIDE_CAR + 1)
        if len(text) > MAX_SIDE_CAR:
            raise DamagedError("the side-car is too large")
        try:
            side_car = SideCar.model_validate_json(text)
        except ValidationError as error:
            raise DamagedError(f"the side-car has {error.error_count()} faults") from error
        if side_car.key != key:
            raise DamagedError("the side-car belongs to another key")
        return side_car

    def write(self, side_car: SideCar, data: bytes) -> None:
        """Store an entry so that it survives a power cut from the moment this returns.

        Raises:
            OSError: the disk is full or can't be written; nothing is left behind.
        """
        key = side_car.key
        self._make_shard(key)
        self._write(self._picture(key), data)
        self._write(self._side_car(key), side_car.model_dump_json().encode())

    def absent(self, keys: Iterable[str]) -> Sequence[str]:
        """Those keys that have no side-car."""
        return [key for key in keys if not self._side_car(key).exists()]

    def remove(self, keys: Iterable[str]) -> None:
        """Delete entries, side-cars first."""
        for key in keys:
            self._side_car(key).unlink(missing_ok=True)
            self._picture(key).unlink(missing_ok=True)

    def remove_orphan(self, key: str) -> None:
        """Delete a picture that a dead writer left without side-car."""
        if not self._side_car(key).exists() and _stale(self._picture(key)):
            self._picture(key).unlink(missing_ok=True)

    def quarantine(self, key: str) -> None:
        """Move a damaged entry out of the way."""
        for path in (self._side_car(key), self._picture(key)):
            try:
                path.replace(self._quarantine / path.name)
            except FileNotFoundError:
                continue
        kept = sorted(self._quarantine.iterdir(), key=_age, reverse=True)
        for path in kept[:-QUARANTINED_FILES]:
            path.unlink(missing_ok=True)

    def empty_quarantine(self) -> None:
        """Delete everything in quarantine."""
        for path in self._quarantine.iterdir():
            path.unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Every key that has a side-car, and every orphan, once each; memory is bounded by one shard."""
        for outer in _folders(self.folder):
            for inner in _folders(outer):
                yield from sorted({path.stem for path in inner.iterdir() if is_key(path.stem)})

    def _shard(self, key: str) -> Path:
        if not is_key(key):
            raise ValueError("a cache key must be 64 hexadecimal digits")
        return self.folder / key[:2] / key[2:4]

    def _picture(self, key: str) -> Path:
        return self._shard(key) / f"{key}.png"

    def _side_car(self, key: str) -> Path:
        return self._shard(key) / f"{key}.json"

    def _make_shard(self, key: str) -> None:
        shard = self._shard(key)
        if not shard.is_dir():
            shard.mkdir(parents=True, exist_ok=True)
            _sync_folder(self.folder)
            _sync_folder(shard.parent)

    def _write(self, path: Path, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        handle, name = tempfile.mkstemp(dir=self._temporary)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _SHARD.match(path.name) and path.is_dir())


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _stale(path: Path) -> bool:
    return _age(path) > STALE


def _sync_folder(folder: Path) -> None:
    """Make a rename last; Windows can't and needn't."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
