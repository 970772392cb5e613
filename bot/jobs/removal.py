"""Taking pictures and people's traces out again: from the database and the cache, and through adapters from chats."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from bot.chat import Requester, Sent
from bot.clients.base import EngineClient
from bot.clock import Clock, utc_day
from bot.errors import DatabaseError
from bot.store import Store
from bot.store.rows import AuditEntry, Forgotten, JobRow, PictureState, part_of
from engine.errors import EngineError
from engine.types import Value

DAY = 86_400.0
DELETE = "delete"
"""What the audit log calls it when a moderator deletes pictures."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Deleted(Value):
    """What a deletion did."""

    pictures: tuple[int, ...]
    """Which of the job's pictures went, from 0; where all had gone before, those."""
    files: int
    """Of the cache that went with them."""
    left: tuple[str, ...]
    """Keys of files that are still to go, since the cache can't be reached; deleting again takes them."""
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
        another community was. Done again, whoever does it, it completes what was broken off: files are tried once more,
        and the messages are told once more.
        """
        drawn = [index for index in indices if row.pictures[index].state is PictureState.RENDERED]
        stood = [index for index in drawn if row.pictures[index].stands]
        entry = self._entry(row, stood, actor)
        after = await self._store.removal.delete_pictures(row.id, drawn, now=self._clock.now(), entry=entry)
        files, left = await self._delete_files(row.id, await self._unneeded(row, drawn))
        return Deleted(pictures=tuple(stood or drawn), files=files, left=left, messages=_messages(after or row, drawn))

    def _entry(self, row: JobRow, stood: Sequence[int], actor: Requester) -> AuditEntry | None:
        """What the audit log says of pictures that somebody else deletes."""
        if not stood or actor.key == row.requester.key:
            return None
        return AuditEntry(
            created=self._clock.now(),
            actor=actor.key,
            action=DELETE,
            target=row.requester.key,
            scope=row.place.scope,
            detail=_detail(row.id, stood),
        )

    async def _unneeded(self, row: JobRow, gone: Sequence[int]) -> tuple[str, ...]:
        """Keys of these pictures' files, but for what others were given, as whoever deleted each may take it."""
        moderated = await self._moderated(row)
        keys: list[str] = []
        for index in gone:
            picture = row.pictures[index]
            if picture.generation_key is None or picture.key is None:
                continue
            owner, scope = (None, row.place.scope) if index in moderated else (row.requester.key, None)
            if not await self._store.removal.needed(picture.generation_key, other_than=owner, outside=scope):
                keys += (picture.generation_key, picture.key)
        return tuple(dict.fromkeys(keys))

    async def _moderated(self, row: JobRow) -> frozenset[int]:
        """Which of a job's pictures moderators deleted, from 0, as the audit log has it."""
        details = await self._store.removal.details(row.place.scope, DELETE, begin=_detail(row.id, ()))
        return frozenset(index for detail in details for index in _indices(detail))

    async def _delete_files(self, job: str, keys: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """How many files went, and the keys of those that did not since the cache can't be reached."""
        files = 0
        for done, key in enumerate(keys):
            try:
                files += await self._client.cache_delete(None, key)
            except EngineError as error:
                log.warning("cached files left", job=job, keys=keys[done:], reason=error.sentence)
                return files, tuple(keys[done:])
        return files, ()

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


def _detail(job: str, indices: Sequence[int]) -> str:
    """Pictures of a job, from 0, as the audit log names them."""
    return f"{job}: {', '.join(str(index + 1) for index in indices)}"


def _indices(detail: str) -> list[int]:
    """The pictures that the audit log names so."""
    return [int(number) - 1 for number in detail.partition(": ")[2].split(", ")]


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
