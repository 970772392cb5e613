"""Which process looks after a job, and whether it still lives.

Every process holds a lock on a file of its own for as long as it lives. The kernel lets go of the lock however the
process ends, so a lock that can be taken belongs to nobody; process numbers, which are reused, play no part.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from filelock import FileLock, Timeout

from bot import messages
from bot.errors import DatabaseError

PROBE_SECONDS = 0.05
"""Longer than others hold a lock just to see whether it is free."""


class Runner:
    """This process, as others see it."""

    def __init__(self, folder: Path) -> None:
        self.id = secrets.token_hex(8)
        self._folder = folder
        self._lock = _lock(folder, self.id)

    def start(self) -> None:
        """Be seen alive.

        Raises:
            DatabaseError: the folder can't be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except OSError as error:
            raise DatabaseError(messages.say("database.unwritable", path=self._folder)) from error

    def stop(self) -> None:
        """Be seen gone; safe to call twice, or without `start`."""
        if self._lock.is_locked:
            _path(self._folder, self.id).unlink(missing_ok=True)
            self._lock.release()

    def is_gone(self, other: str) -> bool:
        """Whether another runner is gone, and so for good. Blocks for `PROBE_SECONDS` while it lives."""
        if other == self.id:
            return False
        lock = _lock(self._folder, other)
        try:
            lock.acquire(timeout=PROBE_SECONDS, poll_interval=PROBE_SECONDS / 5)
        except Timeout:
            return False
        _path(self._folder, other).unlink(missing_ok=True)
        lock.release()
        return True


def _path(folder: Path, runner: str) -> Path:
    return folder / f"{runner}.lock"


def _lock(folder: Path, runner: str) -> FileLock:
    return FileLock(_path(folder, runner), thread_local=False)
