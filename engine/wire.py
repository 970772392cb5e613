"""What bot and deployed engine say to each other: JSON, with the version in front, so that neither guesses.

A call is `{"schema_version", "arguments"}`. Every answer is `{"schema_version"}` and one of `value`, `error` and
`call`, the name under which the call may be cancelled; with none of them it only says that the call is alive. A
stream is a row of answers. This shape outlives versions: whoever reads the version can say what is wrong.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import from_json, to_json

from engine import errors
from engine.errors import EngineError, InputError, VersionMismatchError
from engine.types import (
    SCHEMA_VERSION,
    CacheCheck,
    CacheEntry,
    CacheStats,
    EngineInfo,
    Event,
    Order,
    Rendition,
    Verification,
)

T = TypeVar("T")
Argument = str | int | float | bool | bytes | BaseModel | tuple[BaseModel, ...] | None

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
ORDER = TypeAdapter(Order)
VALUES: dict[str, TypeAdapter[Any]] = {
    "info": TypeAdapter(EngineInfo),
    "cache_stats": TypeAdapter(CacheStats),
    "cache_list": TypeAdapter(tuple[CacheEntry, ...]),
    "cache_show": TypeAdapter(CacheEntry | None),
    "cache_read": TypeAdapter(bytes | None, config=ConfigDict(val_json_bytes="base64")),
    "cache_delete": TypeAdapter(int),
    "cache_clear": TypeAdapter(int),
    "cache_purge": TypeAdapter(int),
    "cache_verify": TypeAdapter(CacheCheck),
    "verify": TypeAdapter(Verification),
    "smaller": TypeAdapter(Rendition),
}
"""Questions to the engine that have one answer, and what it is."""

MAX_BYTES = 64 * 2**20
"""Of a file that a question brings or is answered by; the largest picture, 4096 pixels a side, has less."""

_DIFFERENT = (
    "The bot and the deployed engine are of different versions ({bot} and {engine}): deploy the engine again from the "
    "bot's version of Easel (modal deploy modal_engine.py), or install that one for the bot."
)
_GARBLED = "The deployed engine answered with something that this version of Easel doesn't understand."
_SEAL = f'{{"schema_version": {SCHEMA_VERSION}'.encode()


class Answer(BaseModel):
    """One answer, read."""

    model_config = ConfigDict(frozen=True)

    value: Any = None
    call: str | None = None
    alive: bool = False
    """It says nothing but that the call goes on."""


def call(**arguments: Argument) -> bytes:
    """A call with these arguments; values as their JSON, bytes in base64."""
    return _sealed(arguments=arguments)


def arguments(payload: bytes) -> dict[str, Any]:
    """The arguments of a call, as `call` made it.

    Raises:
        VersionMismatchError: the caller speaks another version.
        EngineError: it is no call.
    """
    document = _opened(payload)
    version, found = document["schema_version"], document.get("arguments")
    if version != SCHEMA_VERSION:
        raise VersionMismatchError(_DIFFERENT.format(bot=version, engine=SCHEMA_VERSION))
    if not isinstance(found, dict):
        raise EngineError(_GARBLED)
    return found


def data(found: object) -> bytes:
    """Bytes among the arguments of a call.

    Raises:
        InputError: it is too long.
        EngineError: it is something else.
    """
    try:
        return bounded(base64.b64decode(str(found), altchars=b"-_", validate=True))
    except ValueError as error:
        raise EngineError(_GARBLED) from error


def bounded(found: T) -> T:
    """A value, which if it is a file is not longer than files may be.

    Raises:
        InputError: it is.
    """
    if isinstance(found, bytes) and len(found) > MAX_BYTES:
        raise InputError(f"The file has more than {MAX_BYTES // 2**20} MiB, which is too large to be sent.")
    return found


def value(found: Argument) -> bytes:
    """An answer that holds a value."""
    return _sealed(value=found)


def called(name: str) -> bytes:
    """An answer that names the call, by which it may be cancelled."""
    return _sealed(call=name)


def alive() -> bytes:
    """An answer that says nothing else."""
    return _sealed()


def fault(error: EngineError) -> bytes:
    """An answer that the call ended in an error."""
    return _sealed(error={"code": error.code, "sentence": error.sentence})


def read(payload: bytes) -> Answer:
    """An answer.

    Raises:
        VersionMismatchError: the answerer speaks another version, or found that the caller does.
        EngineError: whatever error it holds, by its own class where this version knows it.
    """
    document = _opened(payload)
    if "error" in document:  # whatever the version: the other side says so itself where that is what is wrong
        raise _error(document["error"])
    if (version := document["schema_version"]) != SCHEMA_VERSION:
        raise VersionMismatchError(_DIFFERENT.format(bot=SCHEMA_VERSION, engine=version))
    call = document.get("call")
    if not isinstance(call, str | None):
        raise EngineError(_GARBLED)
    return Answer(value=document.get("value"), call=call, alive=len(document) == 1)


def understood(adapter: TypeAdapter[T], found: object) -> T:
    """A value that came in as JSON.

    Raises:
        EngineError: it isn't what was agreed on.
    """
    try:
        return adapter.validate_json(to_json(found))
    except ValueError as error:  # of pydantic's too
        raise EngineError(_GARBLED) from error


def _sealed(**content: Argument | dict[str, Any]) -> bytes:
    return b", ".join([_SEAL, *_members(content)]) + b"}"


def _members(content: dict[str, Any]) -> Iterator[bytes]:
    return (json.dumps(name).encode() + b": " + _json(value) for name, value in content.items())


def _json(value: Argument | dict[str, Any]) -> bytes:
    """A value as JSON, built but once: on the way lie pictures of many megabytes, and everybody waits meanwhile."""
    if isinstance(value, dict):
        return b"{" + b", ".join(_members(value)) + b"}"
    if isinstance(value, tuple):
        return b"[" + b", ".join(map(_json, value)) + b"]"
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    return json.dumps(base64.urlsafe_b64encode(value).decode() if isinstance(value, bytes) else value).encode()


def _opened(payload: bytes) -> dict[str, Any]:
    try:
        document = from_json(payload)
    except ValueError as error:
        raise EngineError(_GARBLED) from error
    if not isinstance(document, dict) or "schema_version" not in document:
        raise EngineError(_GARBLED)
    return document


def _error(document: object) -> EngineError:
    """The error by its code; one of a later version is a plain EngineError with that code."""
    if not isinstance(document, dict):
        return EngineError(_GARBLED)
    code, sentence = str(document.get("code")), str(document.get("sentence"))
    error = _BY_CODE.get(code, EngineError)(sentence)
    error.code = code
    return error


_BY_CODE: dict[str, type[EngineError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError)
}
