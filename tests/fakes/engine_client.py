"""An engine that follows a script: no torch, no files, and it stops where a test wants to look."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from engine import renditions
from engine.types import (
    CacheCheck,
    Cached,
    CacheEntry,
    CacheStats,
    Cancelled,
    EngineInfo,
    Event,
    Failed,
    Image,
    ModelInfo,
    Order,
    Progress,
    Refused,
    Rendition,
    ResolvedRequest,
    Stage,
    Verification,
)

MODEL = ModelInfo(
    name="emoji",
    title="Emoji",
    revision="1",
    licence="MIT",
    native=64,
    default_side=64,
    min_side=64,
    max_side=512,
    steps=4,
    guidance=3.0,
)
INFO = EngineInfo(models=(MODEL,), default_model="emoji")
Ending = Callable[[int], Refused | Failed]


def picture(request: ResolvedRequest) -> bytes:
    """Bytes that stand for the picture of a request: the same for the same request."""
    return b"\x89PNG\r\n\x1a\n" + request.model_dump_json().encode()


def key_of(request: ResolvedRequest) -> str:
    """The same for requests that differ in nothing that is seen of the picture."""
    return hashlib.sha256(request.model_dump_json(exclude={"force", "private", "spoiler"}).encode()).hexdigest()


class ScriptedEngine:
    """Draws every order in two steps, waiting at `gate` between them.

    `endings` refuses or fails the pictures of a prompt, `faults` breaks off orders that hold it.
    """

    def __init__(self, info: EngineInfo = INFO) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        """Set once an order is being drawn."""
        self.orders: list[Order] = []
        self.cancelled: list[str] = []
        self.purged: list[tuple[str | None, str]] = []
        self.endings: dict[str, Ending] = {}
        self.faults: dict[str, Exception] = {}
        self.entries: list[CacheEntry] = []
        self.files: dict[str, bytes] = {}
        self.preview: bytes | None = None
        """Comes with every step."""
        self.closed = False
        self._info = info
        self._stops: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Stop everything."""
        self.closed = True
        for stop in self._stops.values():
            stop.set()

    async def info(self) -> EngineInfo:
        """The models of the script."""
        return self._info

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Follow the script."""
        self.orders.append(order)
        stop = self._stops.setdefault(order.job, asyncio.Event())
        try:
            for index, request in enumerate(order.requests):
                yield Progress(index=index, stage=Stage.DRAWING, step=1, steps=2, preview=self.preview)
                self.begun.set()
                await self._wait(stop)
                if request.prompt in self.faults:
                    raise self.faults[request.prompt]
                yield Cancelled(index=index) if stop.is_set() else self._end(index, request)
        finally:
            self._stops.pop(order.job, None)

    def _end(self, index: int, request: ResolvedRequest) -> Event:
        if request.prompt in self.endings:
            return self.endings[request.prompt](index)
        data = picture(request)
        key = key_of(request)
        self.files[key] = data
        return Image(
            index=index,
            data=data,
            request=request,
            key=key,
            generation_key=key,
            cached=Cached.NONE,
            seconds={"draw": 0.5},
        )

    async def _wait(self, stop: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self.gate, stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
                with suppress(asyncio.CancelledError):
                    await wait

    async def cancel(self, job: str) -> None:
        """Stop a job at the gate."""
        self.cancelled.append(job)
        if job in self._stops:
            self._stops[job].set()

    def _in(self, scope: str | None) -> list[CacheEntry]:
        return [entry for entry in self.entries if scope in (None, entry.scope)]

    async def cache_stats(self, scope: str | None) -> CacheStats:
        """Figures of the entries."""
        size = sum(entry.bytes for entry in self._in(scope))
        count = len(self._in(scope))
        return CacheStats(
            entries=count,
            finished=count,
            unmarked=0,
            bytes=size,
            max_bytes=2**30,
            hits=1,
            misses=2,
            quarantined=0,
        )

    async def cache_list(
        self, scope: str | None, *, limit: int = 20, offset: int = 0, search: str = ""
    ) -> tuple[CacheEntry, ...]:
        """Entries whose prompt holds the search."""
        found = [entry for entry in self._in(scope) if search in entry.prompt]
        return tuple(found[offset : offset + limit])

    async def cache_show(self, scope: str | None, key: str) -> CacheEntry | None:
        """The entry with that key."""
        return next((entry for entry in self._in(scope) if entry.key.startswith(key)), None)

    async def cache_read(self, scope: str | None, key: str) -> bytes | None:
        """The file that was delivered or put under the key."""
        return self.files.get(key)

    async def cache_delete(self, scope: str | None, key: str) -> int:
        """Remove an entry, or a file that was drawn."""
        if self.files.pop(key, None) is not None:
            return 1
        return self._remove([entry for entry in self._in(scope) if entry.key == key])

    async def cache_clear(self, scope: str | None) -> int:
        """Remove a scope's entries."""
        return self._remove(self._in(scope))

    async def cache_purge(self, scope: str | None, owner: str) -> int:
        """Remove a person's entries."""
        self.purged.append((scope, owner))
        return self._remove([entry for entry in self._in(scope) if entry.owner == owner])

    def _remove(self, entries: list[CacheEntry]) -> int:
        for entry in entries:
            self.entries.remove(entry)
        return len(entries)

    async def cache_verify(self) -> CacheCheck:
        """Entries without a checksum are damaged."""
        damaged = tuple(entry.key for entry in self.entries if not entry.sha256)
        return CacheCheck(checked=len(self.entries), damaged=damaged)

    async def verify(self, data: bytes) -> Verification:
        """Knows the files that it drew."""
        known = data in self.files.values()
        return Verification(made_here=known, parameters=None, visible_mark=None, intact=bool(data))

    async def smaller(self, data: bytes, limit: int) -> Rendition:
        """As the engine does it, without a signature."""
        made = [Rendition(data=file, media_type=kind) for file, kind in renditions.of(data)]
        return next((file for file in made if len(file.data) <= limit), made[-1])
