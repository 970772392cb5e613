"""What bot and deployed engine say to each other: JSON, with the version in front, so that neither guesses.

A call is `{"schema_version", "arguments"}`. Every answer is `{"schema_version"}` and one of `value`, `error` and
`call`, the name under which the call may be cancelled; with none of them it only says that the call is alive. A
stream is a row of answers. This shape outlives versions: whoever reads the version can say what is wrong.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from engine import errors
from engine.errors import EngineError, VersionMismatchError
from engine.types import SCHEMA_VERSION, CacheCheck, CacheEntry, CacheStats, EngineInfo, Event, Order, Verification

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
}
"""Questions to the engine that have one answer, and what it is."""

_DIFFERENT = (
    "The bot and the deployed engine are of different versions ({ours} and {theirs}): deploy the engine again from the "
    "bot's version of Easel (modal deploy modal_engine.py), or install that one for the bot."
)
_GARBLED = "The deployed engine answered with something that this version of Easel doesn't understand."


class Answer(BaseModel):
    """One answer, read."""

    model_config = ConfigDict(frozen=True)

    value: Any = None
    call: str | None = None
    alive: bool = False
    """It says nothing but that the call goes on."""


def call(**arguments: Argument) -> bytes:
    """A call with these arguments; values as their JSON, bytes in base64."""
    return _sealed(arguments={name: _plain(value) for name, value in arguments.items()})


def arguments(payload: bytes) -> dict[str, Any]:
    """The arguments of a call, as `call` made it.

    Raises:
        VersionMismatchError: the caller speaks another version.
        EngineError: it is no call.
    """
    found = _opened(payload).get("arguments")
    if not isinstance(found, dict):
        raise EngineError(_GARBLED)
    return found


def value(found: Argument) -> bytes:
    """An answer that holds a value."""
    return _sealed(value=_plain(found))


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
    if "error" in document:
        raise _error(document["error"])
    return Answer(value=document.get("value"), call=document.get("call"), alive=len(document) == 1)


def understood(adapter: TypeAdapter[T], found: object) -> T:
    """A value that came in as JSON.

    Raises:
        EngineError: it isn't what was agreed on.
    """
    try:
        return adapter.validate_json(json.dumps(found))
    except ValidationError as error:
        raise EngineError(_GARBLED) from error


def _plain(value: Argument) -> object:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return base64.urlsafe_b64encode(value).decode() if isinstance(value, bytes) else value


def _sealed(**content: object) -> bytes:
    return json.dumps({"schema_version": SCHEMA_VERSION, **content}).encode()


def _opened(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload)
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(_GARBLED) from error
    if version != SCHEMA_VERSION and "error" not in document:
        raise VersionMismatchError(_DIFFERENT.format(ours=SCHEMA_VERSION, theirs=version))
    return dict(document)


def _error(document: dict[str, str]) -> EngineError:
    """The error by its code; one of a later version is a plain EngineError with that code."""
    code, sentence = str(document.get("code")), str(document.get("sentence"))
    error = _BY_CODE.get(code, EngineError)(sentence)
    error.code = code
    return error


_BY_CODE: dict[str, type[EngineError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError)
}
