"""Files that people have chosen on the page: in memory, under names of our own, for their owner alone and not for long.

Gradio would keep them as files whose paths the browser knows and sends back with every event, and would read whatever
path it is sent. Here the browser gets a name that is drawn at random and means nothing to the file system.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

NAME = r"[0-9a-f]{32}"
MAX_UPLOAD = 20 * 1024**2
"""Bytes of one file."""
OF_ONE_PERSON = 4
"""Files; the form has three fields for them."""
ALTOGETHER = 256 * 1024**2
"""Bytes; the oldest go first."""
SECONDS = 1_200.0
"""Until a file is forgotten."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    owner: str
    payer: str
    time: float
    label: str
    """The owner's own name for it."""
    data: bytes


class Parser(MultiPartParser):
    """Reads a form, and keeps its file in memory; Starlette's own writes what is large to a temporary file."""

    spool_max_size = 2 * MAX_UPLOAD
    """Bytes; more than a request may bring."""


async def received(request: Request) -> tuple[str, bytes] | None:
    """Its owner's name for the file that a form brings, and what it holds; None if it brings none, or is no such form.

    Raises:
        LateError: it hasn't come in time.
    """
    try:
        async with aclosing(request.stream()) as parts:
            form = await Parser(request.headers, parts, max_files=1, max_fields=0).parse()
    except (KeyError, MultiPartException):
        return None
    file = form.get("files")
    found = (file.filename or "", await file.read()) if isinstance(file, UploadFile) else None
    await form.close()
    return found


class Uploads:
    """Keeps what was chosen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        """The oldest first."""

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, owner: str, label: str, data: bytes, *, payer: str = "") -> str:
        """Take a file in, and return its name. Owners with one payer have so many files together."""
        self.forget_old()
        payer = payer or owner
        own = [name for name, kept in self._kept.items() if kept.payer == payer]
        for name in own[: max(0, len(own) + 1 - OF_ONE_PERSON)]:
            del self._kept[name]
        name = secrets.token_hex(16)
        self._kept[name] = _Kept(owner=owner, payer=payer, time=self._clock(), label=label, data=data)
        size = sum(len(kept.data) for kept in self._kept.values())
        while size > ALTOGETHER:
            size -= len(self._kept.popitem(last=False)[1].data)
        return name

    def get(self, owner: str, name: str) -> tuple[str, bytes] | None:
        """The owner's own name for a file, and what it holds; None if there is no such file of theirs any more."""
        self.forget_old()
        kept = self._kept.get(name)
        return (kept.label, kept.data) if kept is not None and kept.owner == owner else None

    def forget_old(self) -> None:
        """Let go of what was kept for long enough."""
        now = self._clock()
        while self._kept and now - next(iter(self._kept.values())).time >= SECONDS:
            self._kept.popitem(last=False)


def file_field(**how: Any) -> gr.File:  # noqa: ANN401  (Gradio's own)
    """A field for a file, whose value in events is the name under which the file was taken in."""
    field = gr.File(type="binary", **how)
    # Neither of the two may look for a file of that name. A subclass would make Gradio write a stub beside this module.
    field.preprocess = _named
    field.async_move_resource_to_block_cache = _as_it_is
    return field


def _named(payload: Any) -> str | None:  # noqa: ANN401
    return None if payload is None else str(payload.path)


async def _as_it_is(name: Any) -> str | None:  # noqa: ANN401
    return None if name is None else str(name)
