"""One clear sentence for whatever the disk or the index has to complain about."""

from __future__ import annotations

import errno
import sqlite3

from engine.errors import StorageError

_FULL = "The disk of the picture cache is full; free some space there, or lower EASEL_CACHE_BYTES."
_DENIED = (
    "The picture cache can't be written; give this user the right to write there, or set EASEL_HOME to another folder."
)
_BUSY = "The picture cache is busy; try again in a moment."
_BROKEN = "The disk that holds the picture cache did not read or write; check that it is healthy and not full."

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _DENIED,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
}
_BY_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _DENIED,
    sqlite3.SQLITE_PERM: _DENIED,
    sqlite3.SQLITE_CANTOPEN: _DENIED,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
}
_DAMAGED = {
    sqlite3.SQLITE_ERROR,  # no such table or column: not our schema
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}


class DamagedIndexError(sqlite3.DatabaseError):
    """The index answered with something that was never written to it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether deleting and rebuilding the index mends it; the other faults are the disk's."""
    return _code(error) & 0xFF in _DAMAGED or _code(error) == sqlite3.SQLITE_IOERR_SHORT_READ


def storage_error(error: OSError | sqlite3.Error) -> StorageError:
    """The error as the person may read it."""
    if isinstance(error, OSError):
        return StorageError(_BY_ERRNO.get(error.errno or 0, _BROKEN))
    return StorageError(_BY_SQLITE.get(_code(error) & 0xFF, _BROKEN))


def _code(error: sqlite3.Error) -> int:
    """SQLite's extended code; the primary one is its lowest byte. Errors of the Python module itself have none."""
    return getattr(error, "sqlite_errorcode", 0)
