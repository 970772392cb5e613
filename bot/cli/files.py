"""Writing pictures where the person wants them: whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import NoReturn

from bot.errors import BadInputError, BotError
from bot.messages import quote, say

SUFFIX = ".png"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def checked_file(given: str) -> Path:
    """The file to write one picture to; refuses at once what could not be written later.

    Raises:
        BadInputError: not a .png, a folder, in a folder that is missing or can't be written.
    """
    path = Path(given).expanduser()
    if path.suffix.lower() != SUFFIX:
        raise BadInputError(say("cli.suffix", given=quote(given)))
    if path.is_dir():
        raise BadInputError(say("cli.folder_given", given=quote(given)))
    _probe(path.parent, given)
    return path


def checked_folder(given: str) -> Path:
    """The folder to write pictures into, made if it is missing.

    Raises:
        BadInputError: it can't be made or written.
    """
    folder = Path(given).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _refuse(error, given)
    _probe(folder, given)
    return folder


def free_name(folder: Path, name: str) -> Path:
    """A path in the folder that no file has yet: `apple.png`, or `apple-2.png` and so on."""
    path = folder / Path(name).name
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path


def write(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it.

    Raises:
        BadInputError: the place can't be written.
        BotError: the disk is full or broken.
    """
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        if part:
            part.unlink(missing_ok=True)
        _refuse(error, str(path))


def _probe(folder: Path, given: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _refuse(error, given)


def _refuse(error: OSError, given: str) -> NoReturn:
    sentence = say("cli.unwritable", given=quote(given), reason=os.strerror(error.errno or errno.EIO).lower())
    raise (BotError if error.errno in FULL else BadInputError)(sentence) from error


def _umask() -> int:
    """The process's own umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
