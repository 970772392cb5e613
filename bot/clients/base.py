"""The seam between bot and engine: whatever draws pictures looks like this."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from engine.types import CacheCheck, CacheEntry, CacheStats, EngineInfo, Event, Order, Rendition, Verification


class EngineClient(Protocol):
    """Draws orders and looks after the cache.

    Every method raises `engine.errors.EngineError`. A `scope` of None means all communities and is the operator's.
    """

    async def start(self) -> None:
        """Make ready without loading a model: open the cache, meet the remote side."""

    async def close(self) -> None:
        """Cancel what runs and let go of everything; safe to call twice."""

    async def info(self) -> EngineInfo:
        """Models, defaults and warnings; cheap, and never loads a model."""

    def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Draw an order; every index of it ends in exactly one Image, Refused, Failed or Cancelled.

        Closing the iterator early cancels what is still running. Asking again for the same order is cheap: what was
        finished comes from the cache.
        """

    async def cancel(self, job: str) -> None:
        """Stop a job's order between two steps; unknown jobs are ignored."""

    async def cache_stats(self, scope: str | None) -> CacheStats:
        """Figures of the cache."""

    async def cache_list(
        self, scope: str | None, *, limit: int = 20, offset: int = 0, search: str = ""
    ) -> tuple[CacheEntry, ...]:
        """Entries, last used first; `search` matches in the prompt."""

    async def cache_show(self, scope: str | None, key: str) -> CacheEntry | None:
        """One entry by its key, or by a prefix of at least 8 characters that fits only one."""

    async def cache_read(self, scope: str | None, key: str) -> bytes | None:
        """The file of an entry, its checksum verified, for looking at: no hit is counted. None if there is none."""

    async def cache_delete(self, scope: str | None, key: str) -> int:
        """Remove an entry, and the finished files made from it if it is unmarked; returns files removed."""

    async def cache_clear(self, scope: str | None) -> int:
        """Remove everything; returns files removed."""

    async def cache_purge(self, scope: str | None, owner: str) -> int:
        """Remove what a person asked for, `platform:id`; returns files removed."""

    async def cache_verify(self) -> CacheCheck:
        """Read every file and compare its checksum; damaged ones are quarantined."""

    async def verify(self, data: bytes) -> Verification:
        """Say what a picture file tells of its making."""

    async def smaller(self, data: bytes, limit: int) -> Rendition:
        """A finished picture in at most `limit` bytes, or in as few as it gets, marked and signed like every other."""
