"""Writing pictures where the person wants them: whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import NoReturn

from bot.errors import BadInputError, BotError
from bot.files import write_whole
from bot.messages import quote, say

SUFFIX = ".png"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def checked_file(given: str) -> Path:
    """The file to write one picture to; refuses at once what could not be written later.

    Raises:
        BadInputError: not a .png, a folder, in a folder that is missing or can't be written.
    """
    try:
        path = Path(given).expanduser()
        if given and path.is_dir():
            raise BadInputError(say("cli.folder_given", given=quote(given)))
    except (OSError, RuntimeError) as error:
        _refuse(error, given)
    if path.suffix.lower() != SUFFIX:
        raise BadInputError(say("cli.suffix", given=quote(given)))
    _probe(path.parent, given)
    return path


def checked_folder(given: str) -> Path:
    """The folder to write pictures into, made if it is missing.

    Raises:
        BadInputError: it can't be made or written.
    """
    if not given:
        raise BadInputError(say("cli.no_folder"))
    try:
        folder = Path(given).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BadInputError(say("cli.file_given", given=quote(given))) from error
    except (OSError, RuntimeError) as error:
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
    try:
        write_whole(path, data)
    except OSError as error:
        _refuse(error, str(path))


def _probe(folder: Path, given: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _refuse(error, given)


def _refuse(error: OSError | RuntimeError, given: str) -> NoReturn:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT  # a ~user that nobody has
    sentence = say("cli.unwritable", given=quote(given), reason=os.strerror(number or errno.EIO).lower())
    raise (BotError if number in FULL else BadInputError)(sentence) from error
