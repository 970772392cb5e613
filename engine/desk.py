"""What moderators and operators ask of the cache; a scope of None means all communities."""

from __future__ import annotations

import asyncio
import hashlib

from engine.cache import Cache
from engine.marks import Marks
from engine.types import CacheCheck, CacheEntry, CacheStats, Rendition, Verification

EXAMINED_AT_ONCE = 2
"""Strangers' files that are decoded at once: a small file may be a large picture, half a gigabyte and five seconds."""


class CacheDesk:
    """The half of the engine that draws nothing."""

    def __init__(self, cache: Cache, marks: Marks) -> None:
        self._cache = cache
        self._marks = marks
        self._examining = asyncio.Semaphore(EXAMINED_AT_ONCE)

    async def cache_stats(self, scope: str | None) -> CacheStats:
        """Figures of the cache."""
        return await self._cache.stats(scope)

    async def cache_list(
        self, scope: str | None, *, limit: int = 20, offset: int = 0, search: str = ""
    ) -> tuple[CacheEntry, ...]:
        """Entries, last used first; `search` matches in the prompt."""
        return await self._cache.list(scope, limit=limit, offset=offset, search=search)

    async def cache_show(self, scope: str | None, key: str) -> CacheEntry | None:
        """One entry by its key or a prefix of it that fits only one."""
        return await self._cache.show(scope, key)

    async def cache_read(self, scope: str | None, key: str) -> bytes | None:
        """The file of an entry, verified; looking at it is no hit."""
        return await self._cache.read(scope, key)

    async def cache_delete(self, scope: str | None, key: str) -> int:
        """Remove an entry and what was made from it; returns files removed."""
        return await self._cache.delete(scope, key)

    async def cache_clear(self, scope: str | None) -> int:
        """Remove everything; returns files removed."""
        return await self._cache.clear(scope)

    async def cache_purge(self, scope: str | None, owner: str) -> int:
        """Remove what a person asked for; returns files removed."""
        return await self._cache.purge(scope, owner)

    async def cache_verify(self) -> CacheCheck:
        """Compare every file with its checksum."""
        return await self._cache.verify()

    async def verify(self, data: bytes) -> Verification:
        """Say what a picture file tells of its making, and whether this cache holds exactly that file."""
        async with self._examining:
            found = await asyncio.to_thread(self._marks.examine, data)
        made_here = await self._cache.holds(hashlib.sha256(data).hexdigest())
        return found.model_copy(update={"made_here": made_here})

    async def smaller(self, data: bytes, limit: int) -> Rendition:
        """Encode a finished picture in at most `limit` bytes, and sign it again."""
        return await asyncio.to_thread(self._marks.smaller, data, limit)
