"""Taking pictures and people's traces out again: from the database and the cache, and through adapters from chats."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from bot.chat import Requester, Sent
from bot.clients.base import EngineClient
from bot.clock import Clock, utc_day
from bot.errors import DatabaseError
from bot.store import Store
from bot.store.rows import Forgotten, JobRow, part_of
from engine.types import Value

DAY = 86_400.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Deleted(Value):
    """What a deletion did."""

    pictures: tuple[int, ...]
    """Which of the job's pictures went, from 0."""
    files: int
    """Of the cache that went with them."""
    messages: tuple[Sent, ...]
    """Those that held the pictures."""


class Remover:
    """Removes what is at rest; jobs in flight are stopped by the caller first."""

    def __init__(self, store: Store, client: EngineClient, clock: Clock) -> None:
        self._store = store
        self._client = client
        self._clock = clock

    async def delete(self, row: JobRow, indices: Sequence[int], actor: Requester) -> Deleted:
        """Delete pictures of a job, and the cached files that nobody else needs.

        Files stay where another person was given the same picture; when a moderator deletes somebody's picture, where
        another community was.

        Raises:
            EngineError: the cache can't be reached; the pictures are marked as deleted all the same.
        """
        gone = [index for index in indices if row.pictures[index].stands]
        after = await self._store.removal.delete_pictures(row.id, gone, now=self._clock.now())
        files = 0
        for index in gone:
            files += await self._delete_files(row, index, moderated=actor.key != row.requester.key)
        return Deleted(pictures=tuple(gone), files=files, messages=_messages(after or row, gone))

    async def _delete_files(self, row: JobRow, index: int, *, moderated: bool) -> int:
        picture = row.pictures[index]
        if picture.generation_key is None or picture.key is None:
            return 0
        owner, scope = (None, row.place.scope) if moderated else (row.requester.key, None)
        if await self._store.removal.needed(picture.generation_key, other_than=owner, outside=scope):
            return 0
        removed = await self._client.cache_delete(None, picture.generation_key)
        return removed + await self._client.cache_delete(None, picture.key)

    async def forget(self, person: str) -> tuple[Forgotten, int]:
        """Delete what is known of a person; returns that, and how many cached files went.

        Raises:
            EngineError: the cache can't be reached; nothing is deleted then.
        """
        files = await self._client.cache_purge(None, person)
        forgotten = await self._store.removal.forget(person, today=utc_day(self._clock.now()))
        return forgotten, files

    async def prune(self, days: int) -> int:
        """Delete ended jobs and counts older than so many days; returns jobs deleted, none where that fails."""
        before = self._clock.now() - days * DAY
        try:
            pruned = await self._store.removal.prune(before=before, before_day=utc_day(before))
        except DatabaseError as error:
            log.warning("old jobs not deleted", reason=error.sentence)
            return 0
        if pruned:
            log.info("old jobs deleted", jobs=pruned)
        return pruned


def _messages(row: JobRow, gone: Sequence[int]) -> tuple[Sent, ...]:
    """The messages that held these pictures, and what stays in each."""
    found: list[Sent] = []
    for delivery in row.deliveries:
        members = [index for index in range(len(row.requests)) if part_of(index) == delivery.part]
        if delivery.message_id is None or not set(members) & set(gone):
            continue
        stays = [index for index in members if row.pictures[index].stands]
        found.append(
            Sent(
                part=delivery.part,
                message=delivery.message_id,
                place=row.place,
                reply_to=row.reply_to,
                private=row.private_part(delivery.part),
                left=tuple(stays),
            )
        )
    return tuple(found)
