"""The database of a machine that may be lost: brought back from a volume, and copied there."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import structlog

from bot.errors import DatabaseError
from bot.files import write_whole
from bot.messages import say

log: structlog.stdlib.BoundLogger = structlog.get_logger("bot.serverless")


class Volume(Protocol):
    """What other machines see too, once it is committed; both methods block and raise OSError."""

    def commit(self) -> None:
        """Let others see what was written here."""

    def reload(self) -> None:
        """See what others have committed."""


class Keeper:
    """Brings the database back from a volume, and copies it there, as long as no other machine has brought it back.

    Args:
        database: where the bot has it, on the machine's own disk.
        folder: on the volume.
        volume: the volume.
        beside: further files that are kept with it, if they are there.
    """

    def __init__(self, database: Path, folder: Path, volume: Volume, *, beside: Sequence[Path] = ()) -> None:
        self._database = database
        self._folder = folder
        self._copy = folder / database.name
        self._before = folder / f"{database.name}.before"
        self._holder = folder / "holder"
        self._volume = volume
        self._beside = beside
        self._name = secrets.token_hex(8)
        self._seen: object = None
        """What the database was like when it was last copied, or needn't be."""
        self._turn = threading.Lock()
        """Held by the thread that copies, which goes on where whoever asked for it is cancelled."""

    async def restore(self) -> None:
        """Begin with the copy, if there is one and nothing here yet; from now on no other machine may copy.

        Raises:
            DatabaseError: every copy is damaged, or the volume can't be read.
        """
        try:
            await asyncio.to_thread(self._restore)
        except OSError as error:
            raise DatabaseError(say("database.unreadable", path=self._copy)) from error

    async def save(self) -> None:
        """Copy the database as it is now, unless the copy is as new; writers go on meanwhile."""
        try:
            await asyncio.to_thread(self._save)
        except (OSError, sqlite3.Error) as error:
            log.error("database not copied", reason=str(error))  # noqa: TRY400  (the next copy may work)

    async def holds(self) -> bool:
        """Whether no other machine has taken over."""
        return await asyncio.to_thread(self._holds)

    def _restore(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._see_others()
        write_whole(self._holder, self._name.encode())
        try:
            self._volume.commit()
        except OSError as error:  # the next copy says it, too
            log.warning("state volume not committed", cause=repr(error))
        self._database.parent.mkdir(parents=True, exist_ok=True)
        for path in self._beside:
            if (self._folder / path.name).exists() and not path.exists():
                _place(self._folder / path.name, path)
        copies = [copy for copy in (self._copy, self._before) if copy.exists()]
        if not copies or self._database.exists():
            return
        sound = next((copy for copy in copies if _is_sound(copy)), None)
        if sound is None:
            raise DatabaseError(say("database.damaged", path=self._copy))
        _place(sound, self._database)

    def _save(self) -> None:
        with self._turn:
            state = _state(self._database)
            if state == self._seen:
                return
            if self._holds():
                self._copy_out()
            else:
                log.warning("database not copied, since another machine has taken over")
            self._seen = state

    def _copy_out(self) -> None:
        """Made on this machine's disk, for SQLite wants locks; the one before stays until this one is whole."""
        draft = self._database.with_suffix(".copy")
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._database)) as source, closing(sqlite3.connect(draft)) as target:
            source.backup(target)
        if self._copy.exists():
            self._copy.replace(self._before)
        _place(draft, self._copy)
        for path in self._beside:
            if path.exists():
                _place(path, self._folder / path.name)
        self._volume.commit()

    def _holds(self) -> bool:
        self._see_others()
        try:
            return self._holder.read_text("ascii") == self._name
        except OSError:
            return True  # whatever is wrong, nobody else has put a name there

    def _see_others(self) -> None:
        try:
            self._volume.reload()
        except OSError as error:
            log.warning("state volume not reloaded", cause=repr(error))


def _place(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all."""
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)


def _is_sound(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _state(database: Path) -> object:
    """Changes whenever the database does."""
    return [
        (found.st_mtime_ns, found.st_size)
        for found in (path.stat() for path in (database, Path(f"{database}-wal")) if path.exists())
    ]
