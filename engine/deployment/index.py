"""The cache's index on its way from one machine to the next."""

from __future__ import annotations

import os
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
    files. Both methods block, and neither raises: the index is advisory.

    Args:
        folder: on the volume.
        index_folder: where the index is, on the machine's own disk.
        volume: the volume.
    """

    def __init__(self, folder: Path, index_folder: Path, volume: Volume) -> None:
        self._copy = folder / f"{NAME}.copy"
        self._index = index_folder / NAME
        self._volume = volume

    def take(self) -> None:
        """Begin with the copy, if there is one and no index yet."""
        try:
            if self._copy.exists():
                if not self._index.exists():
                    shutil.copyfile(self._copy, self._index)
                self._copy.unlink()
                self._volume.commit()
        except OSError as error:
            log.warning("index not taken over", cause=repr(error))

    def leave(self) -> None:
        """Copy the index, which nobody may be using."""
        part = self._copy.with_suffix(".part")
        try:
            shutil.copyfile(self._index, part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(self._copy)
            self._volume.commit()
        except OSError as error:
            log.warning("index not left behind", cause=repr(error))
