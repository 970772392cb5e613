"""The cache's index on its way from one machine to the next."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import structlog

from engine.cache.volume import Volume

NAME = "index.sqlite3"
"""Of the index, as `engine.cache` has it."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("engine.deployment")


class IndexCopy:
    """A copy on the volume, for making the index anew from its files takes a minute where there are many.

    It is taken away when it is used, so that a machine that ends without notice leaves none, and the next one reads the
    files. While a deployment is replaced there are two machines, and each stores what the other's index lacks: so each
    writes its name onto the volume when it begins, a copy is of use only to whoever finds the name of its maker there,
    and a machine that finds another name when it ends takes that away, too. Both methods block, and neither raises:
    the index is advisory.

    Args:
        folder: on the volume.
        index_folder: where the index is, on the machine's own disk.
        volume: the volume.
    """

    def __init__(self, folder: Path, index_folder: Path, volume: Volume) -> None:
        self._folder = folder
        self._holder = folder / f"{NAME}.holder"
        self._part = folder / f"{NAME}.part"
        self._index = index_folder / NAME
        self._volume = volume
        self._name = secrets.token_hex(8)

    def take(self) -> None:
        """Begin with the copy of the machine before, if there is one and no index yet."""
        try:
            copy = self._copy_of(self._held_by())
            self._part.write_text(self._name, "ascii")
            _settle(self._part, self._holder)
            if copy.exists() and not self._index.exists():
                shutil.copyfile(copy, self._index)
            for path in self._folder.glob(f"{NAME}*.copy"):
                path.unlink()
            self._volume.commit()
        except OSError as error:
            log.warning("index not taken over", cause=repr(error))

    def leave(self) -> None:
        """Copy the index, which nobody may be using, unless another machine has begun meanwhile."""
        try:
            self._volume.reload()
            if self._held_by() == self._name:
                shutil.copyfile(self._index, self._part)
                _settle(self._part, self._copy_of(self._name))
            else:
                self._holder.unlink(missing_ok=True)
            self._volume.commit()
        except OSError as error:
            log.warning("index not left behind", cause=repr(error))

    def _held_by(self) -> str:
        """The machine that began last; empty if that isn't known."""
        return self._holder.read_text("ascii") if self._holder.exists() else ""

    def _copy_of(self, name: str) -> Path:
        return self._folder / f"{NAME}.{name}.copy"


def _settle(part: Path, target: Path) -> None:
    """Put a finished file in its place, whole."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
