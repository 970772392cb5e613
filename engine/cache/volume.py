"""The cache's files on a volume that several machines mount, each seeing only what was committed and reloaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog

from engine.cache.files import Files
from engine.cache.values import SideCar

FRESH = 2.0
"""Seconds for which a reload is good: one request looks several times."""


class Volume(Protocol):
    """A mounted volume; both methods block and raise OSError."""

    def commit(self) -> None:
        """Let others see what was written here."""

    def reload(self) -> None:
        """See what others have committed; no file may be open meanwhile."""


class VolumeFiles(Files):
    """Files that are committed after every change, and looked for once more after a reload where they are missing.

    Names are content keys and files are never rewritten, so it doesn't matter who wrote first. Commits are done by a
    thread of their own, one for all changes that wait: a picture is not kept back by them.
    """

    def __init__(self, folder: Path, volume: Volume, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(folder)
        self._volume = volume
        self._monotonic = monotonic
        self._reloaded: float | None = None
        self._gate = Gate()
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="easel-commit")
        self._waiting: Future[None] | None = None
        self._lock = threading.Lock()
        self._log = structlog.get_logger("engine.cache")

    def close(self) -> None:
        """Commit what is left; nothing may be changed afterwards."""
        self._committer.shutdown(wait=True)

    def read(self, key: str) -> tuple[SideCar, bytes]:
        """One entry; errors as of `Files.read`."""
        try:
            with self._gate.entered():
                return super().read(key)
        except FileNotFoundError:
            self._reload()
        with self._gate.entered():
            return super().read(key)

    def write(self, side_car: SideCar, data: bytes) -> None:
        """Store an entry, and have it committed."""
        with self._gate.entered():
            super().write(side_car, data)
        self._commit_soon()

    def remove(self, keys: Iterable[str]) -> None:
        """Delete entries, and have that committed."""
        with self._gate.entered():
            super().remove(keys)
        self._commit_soon()

    def quarantine(self, key: str) -> None:
        """Move a damaged entry out of the way, and have that committed."""
        with self._gate.entered():
            super().quarantine(key)
        self._commit_soon()

    def _reload(self) -> None:
        """See what others have stored; where that can't be had, the entry is just missing."""
        with self._gate.alone():
            if self._reloaded is not None and self._monotonic() - self._reloaded < FRESH:
                return
            try:
                self._volume.reload()
            except OSError as error:
                self._log.warning("cache volume not reloaded", cause=repr(error))
            self._reloaded = self._monotonic()

    def _commit_soon(self) -> None:
        with self._lock:
            if self._waiting is not None:
                self._waiting.cancel()  # unless it has begun, and may have missed this change
            self._waiting = self._committer.submit(self._commit)

    def _commit(self) -> None:
        try:
            self._volume.commit()
        except OSError as error:  # Modal also says so when it committed, but couldn't reload for open files
            self._log.warning("cache volume not committed", cause=repr(error))


class Gate:
    """Any number inside at once, or one alone; whoever wants to be alone is not kept waiting by later comers."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._inside = 0
        self._taken = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside, perhaps with others."""
        with self._change:
            self._change.wait_for(lambda: not self._taken)
            self._inside += 1
        try:
            yield
        finally:
            with self._change:
                self._inside -= 1
                self._change.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside with nobody else."""
        with self._change:
            self._change.wait_for(lambda: not self._taken)
            self._taken = True
            self._change.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._change:
                self._taken = False
                self._change.notify_all()
