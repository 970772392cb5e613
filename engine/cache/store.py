"""The picture cache: content-addressed files in two tiers, and an index over them that may be lost at any time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiosqlite import Connection

from engine.cache import index
from engine.cache.database import Database, Work
from engine.cache.faults import storage_error
from engine.cache.files import STALE, DamagedError, Files
from engine.cache.flights import Flights
from engine.cache.values import CachedFile, EntryFacts, Reusable, SideCar, Tier, is_key
from engine.errors import InputError, StorageError
from engine.types import CacheCheck, CacheEntry, CacheStats

CHUNK = 500
"""Files that are read between two turns of the event loop, and held in memory, while the index is rebuilt."""

T = TypeVar("T")


class Cache:
    """Finished files and unmarked pictures under one folder; safe with several processes.

    Files are the truth: a hit reads and verifies them. The index serves lists, figures and the order of eviction.

    Args:
        folder: everything lies under it.
        max_bytes: of the pictures in both tiers; the least recently used go first, the one just stored stays.
        clock: seconds since 1970.
        files: the files, where they don't simply lie in the folder.
        index_folder: of the index, where that is another one; it must exist.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        files: Files | None = None,
        index_folder: Path | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._files = files or Files(folder)
        self._database = Database((index_folder or folder) / "index.sqlite3", self._fill)
        self._flights = Flights()
        self._writes: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("engine.cache")

    async def open(self) -> None:
        """Make the folders, open or rebuild the index, and settle what a killed process left half-done.

        Raises:
            StorageError: the folder can't be written.
        """
        await self._on_disk(self._files.prepare)
        await self._database.open()
        try:
            await self._settle()
        except BaseException:
            await self._database.close()
            raise

    async def close(self) -> None:
        """Finish the writes under way and close the index."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._database.close()

    # Pictures.

    async def get(self, key: str, tier: Tier, *, owner: str) -> CachedFile | None:
        """A file of a tier, its checksum verified, or None; a hit counts as served to its new owner.

        A damaged entry is put in quarantine and is a miss; so is one that the disk won't give.
        """
        try:
            side_car, data = await asyncio.to_thread(self._files.read, key)
        except FileNotFoundError:
            return None
        except DamagedError as damage:
            await self._quarantine(key, damage)
            return None
        except OSError as error:
            self._log.warning("cached picture can't be read", key=key, cause=repr(error))
            return None
        if side_car.tier != tier:
            return None
        await self._if_possible(partial(self._touch, side_car=side_car, owner=owner, now=self._clock()))
        return CachedFile(data, side_car)

    async def put(self, key: str, tier: Tier, data: bytes, *, facts: EntryFacts) -> None:
        """Keep a picture, then let the least recently used go. What is already kept under the key stays.

        Cancelling the caller doesn't tear the entry: the write goes on.

        Raises:
            StorageError: the disk is full or read-only.
        """
        if not is_key(key):
            raise ValueError("a cache key must be 64 hexadecimal digits")
        task = asyncio.create_task(self._put(key, tier, data, facts))
        self._writes.add(task)
        task.add_done_callback(self._written)
        await asyncio.shield(task)

    async def reusable(self, family: str, scope: str, owner: str) -> Reusable | None:
        """A cached picture that differs only in its seed and that this person hasn't been served."""
        return await self._if_possible(partial(index.reusable, family=family, scope=scope, owner=owner))

    async def served(self, generation_key: str, owner: str) -> None:
        """Remember that a person got a picture."""
        await self._if_possible(lambda db: index.serve(db, generation_key, owner))

    def flight(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold a key, so that nobody else in this process makes the same picture meanwhile."""
        return self._flights.one(key)

    def flights(self, keys: Iterable[str]) -> AbstractAsyncContextManager[None]:
        """Hold several keys."""
        return self._flights.all(keys)

    # Verdicts on prompts.

    async def verdict(self, text_hash: str, filter_version: str) -> dict[str, Any] | None:
        """What a filter of that version said of a text, if it is remembered."""
        return await self._if_possible(partial(index.verdict, text_hash=text_hash, filter_version=filter_version))

    async def remember_verdict(self, text_hash: str, filter_version: str, verdict: dict[str, Any]) -> None:
        """Remember it; the oldest are forgotten."""
        await self._if_possible(lambda db: index.remember_verdict(db, text_hash, filter_version, verdict))

    # For moderators and operators. A scope of None means all; errors: StorageError.

    async def stats(self, scope: str | None) -> CacheStats:
        """Figures; a miss is a picture that had to be drawn."""
        return await self._database.run(lambda db: index.stats(db, scope, self._max_bytes))

    async def list(
        self, scope: str | None, *, limit: int = 20, offset: int = 0, search: str = ""
    ) -> tuple[CacheEntry, ...]:
        """Entries whose prompt holds a text, last used first."""
        return await self._database.run(lambda db: index.page(db, scope, limit, offset, search))

    async def show(self, scope: str | None, key: str) -> CacheEntry | None:
        """One entry by its key or the first digits of it.

        Raises:
            InputError: the digits fit several.
        """
        prefix = key.strip().lower()
        if not prefix or not set(prefix) <= set("0123456789abcdef"):
            return None
        found = await self._database.run(lambda db: index.matching(db, scope, prefix))
        if len(found) > 1:
            raise InputError(f"More than one picture's key begins with {prefix}; give more of it.")
        return found[0] if found else None

    async def read(self, scope: str | None, key: str) -> bytes | None:
        """The file of an entry of this scope, its checksum verified, without counting a use; None if there is none."""
        if not is_key(key):
            return None
        try:
            side_car, data = await asyncio.to_thread(self._files.read, key)
        except DamagedError as damage:
            await self._quarantine(key, damage)
            return None
        except OSError:
            return None
        return data if scope in (None, side_car.facts.scope) else None

    async def delete(self, scope: str | None, key: str) -> int:
        """Remove an entry, and with an unmarked picture the files made from it; returns files removed."""
        entry = await self.show(scope, key)
        if entry is None:
            return 0
        keys = [entry.key]
        if entry.tier == "unmarked":
            keys = await self._database.run(lambda db: index.made_from(db, entry.key))
        await self._remove(keys)
        return len(keys)

    async def clear(self, scope: str | None) -> int:
        """Remove everything; returns files removed."""
        return await self._remove_all(lambda db: index.some(db, scope))

    async def purge(self, scope: str | None, owner: str) -> int:
        """Remove what a person asked for, what was made from it, and what they were served; returns files removed."""
        removed = await self._remove_all(lambda db: index.some(db, scope, owner))
        await self._database.run(lambda db: index.forget_owner(db, scope, owner))
        return removed

    async def verify(self) -> CacheCheck:
        """Compare every file with its checksum, quarantine the damaged, and make the index agree with the files."""
        checked = 0
        damaged: list[str] = []
        async for keys in self._chunks():
            sound, broken = await self._on_disk(self._inspect, keys, self._files.verified)
            checked += len(sound) + len(broken)
            damaged += broken
            await self._adopt(sound, broken)
        await self._forget_ghosts()
        return CacheCheck(checked=checked, damaged=tuple(damaged))

    async def holds(self, sha256: str) -> bool:
        """Whether a finished file of this checksum is kept here."""
        return await self._database.run(lambda db: index.holds(db, sha256))

    # Below the surface.

    async def _touch(self, db: Connection, side_car: SideCar, owner: str, now: float) -> None:
        """Note a hit. An entry that another process made enters the index, unless it has just been deleted."""
        known = await index.touch(db, side_car, owner, now)
        if not known and not await asyncio.to_thread(self._files.absent, [side_car.key]):
            await index.insert(db, [side_car])
            await index.touch(db, side_car, owner, now)

    async def _put(self, key: str, tier: Tier, data: bytes, facts: EntryFacts) -> None:
        now = self._clock()
        await self._database.run(partial(index.pend, key=key, now=now))
        try:
            kept = await self._on_disk(self._keep, key, tier, data, facts, now)
        except StorageError:
            await self._if_possible(partial(index.settle, keys=[key]))
            raise
        await self._database.run(partial(index.add, side_car=kept, now=now))
        while oldest := await self._database.run(partial(index.oldest_beyond, max_bytes=self._max_bytes, keep=key)):
            await self._remove(oldest)

    def _keep(self, key: str, tier: Tier, data: bytes, facts: EntryFacts, now: float) -> SideCar:
        """Write once: a sound entry stays as it is, a damaged one is replaced."""
        try:
            return self._files.verified(key)
        except FileNotFoundError:
            pass
        except DamagedError:
            self._files.quarantine(key)
        sha256 = hashlib.sha256(data).hexdigest()
        side_car = SideCar(key=key, tier=tier, sha256=sha256, bytes=len(data), created=now, facts=facts)
        self._files.write(side_car, data)
        return side_car

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled never asks

    async def _remove(self, keys: Sequence[str]) -> None:
        """Files first: what a crash leaves in the index alone is never served."""
        await self._on_disk(self._files.remove, keys)
        await self._database.run(partial(index.remove, keys=keys))

    async def _remove_all(self, some: Work[Sequence[str]]) -> int:
        """Remove entries as long as the index finds some; damaged files might be anybody's, so they go too."""
        removed = 0
        while keys := await self._database.run(some):
            await self._remove(keys)
            removed += len(keys)
        await self._on_disk(self._files.empty_quarantine)
        return removed

    async def _quarantine(self, key: str, damage: DamagedError) -> None:
        self._log.warning("cached picture damaged", key=key, reason=str(damage))
        try:
            await asyncio.to_thread(self._files.quarantine, key)
        except OSError as error:
            self._log.warning("damaged picture can't be moved", key=key, cause=repr(error))
        await self._if_possible(partial(index.condemn, key=key, scope=damage.scope))

    async def _settle(self) -> None:
        """Index what was announced and then stored by a process that died before it could say so."""
        announced = await self._database.run(index.pending)
        sound, broken = await self._on_disk(self._inspect, announced, self._files.verified)
        await self._adopt(sound, broken)
        given_up = [key for key, since in announced.items() if self._clock() - since > STALE]
        settled = {*given_up, *broken, *(side_car.key for side_car in sound)}
        await self._database.run(partial(index.settle, keys=settled))

    async def _adopt(self, sound: Sequence[SideCar], broken: Mapping[str, DamagedError]) -> None:
        await self._database.run(partial(index.insert, side_cars=sound))
        for key, damage in broken.items():
            await self._quarantine(key, damage)

    async def _forget_ghosts(self) -> None:
        """Forget index rows without files."""
        last = ""
        while keys := await self._database.run(partial(index.after, key=last)):
            last = keys[-1]
            absent = await self._on_disk(self._files.absent, keys)
            await self._database.run(partial(index.remove, keys=absent))

    async def _fill(self, db: Connection) -> None:
        """Rebuild the index from the side-cars; pictures themselves are verified when they are next used."""
        async for keys in self._chunks():
            sound, broken = await asyncio.to_thread(self._inspect, keys, self._files.side_car)
            await index.insert(db, sound)
            for key, damage in broken.items():
                await asyncio.to_thread(self._files.quarantine, key)
                await index.condemn(db, key, damage.scope)
        await index.serve_owners(db)

    async def _chunks(self) -> AsyncIterator[Sequence[str]]:
        keys = self._files.keys()
        while chunk := await self._on_disk(lambda: tuple(islice(keys, CHUNK))):
            yield chunk

    def _inspect(
        self, keys: Iterable[str], look: Callable[[str], SideCar]
    ) -> tuple[Sequence[SideCar], Mapping[str, DamagedError]]:
        """Sort keys into sound and damaged entries; pictures that a dead writer left without side-car are removed."""
        sound: list[SideCar] = []
        broken: dict[str, DamagedError] = {}
        for key in keys:
            try:
                sound.append(look(key))
            except FileNotFoundError:
                self._files.remove_orphan(key)
            except DamagedError as damage:
                broken[key] = damage
        return sound, broken

    async def _if_possible(self, work: Work[T]) -> T | None:
        """Use the index where it can be used: one that is busy or can't be written must not cost a picture."""
        try:
            return await self._database.run(work)
        except StorageError as error:
            self._log.warning("cache index not used", reason=error.sentence, cause=repr(error.__cause__))
            return None

    async def _on_disk(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise storage_error(error) from error
