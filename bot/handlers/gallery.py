"""What a page with pictures on it needs beside commands: their files, a look at another mark, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from bot import grammar
from bot.chat import Place, Requester, Role
from bot.errors import NotAllowedError
from bot.grammar.options import Given
from bot.handlers.base import Context
from bot.handlers.pictures import as_drawn
from bot.handlers.rules import limits
from bot.handlers.seen import sees_pictures, withheld
from bot.messages import say
from bot.quota import Usage
from bot.store.figures import Overview
from bot.store.rows import JobRow
from engine.types import EngineInfo, Image, Order, Verification

MARK = "watermark"
"""What the names of the mark's options begin with."""


class Gallery:
    """One person's view; made anew for every look, because roles change."""

    def __init__(self, requester: Requester, place: Place, context: Context) -> None:
        self._requester = requester
        self._place = place
        self._context = context

    @property
    def role(self) -> Role:
        """What the person may do here."""
        return self._context.role

    @property
    def _scope(self) -> str | None:
        return None if self.role.reaches(Role.OPERATOR) else self._place.scope

    async def info(self) -> EngineInfo:
        """Models, their defaults and bounds."""
        return await self._context.client.info()

    async def jobs(self, *, limit: int, offset: int = 0) -> tuple[JobRow, ...]:
        """The person's jobs here, the latest first."""
        return await self._context.jobs.history(self._requester, self._place.scope, limit=limit, offset=offset)

    async def usage(self) -> Usage:
        """What the person has used of today's pictures here."""
        return await self._context.quota.usage(self._requester, self._place.scope, limits(self._context.community))

    async def picture(self, given: str, number: int) -> bytes | None:
        """The file of a picture, number from 1; None where the person doesn't see it or it is no longer kept."""
        job = await self._holding(given, number)
        key = None if job is None else job.pictures[number - 1].key
        return None if key is None else await self._context.client.cache_read(None, key)

    async def _holding(self, given: str, number: int) -> JobRow | None:
        """The job of a picture, number from 1; None where the person is not given it, or it is no longer kept."""
        job = await self._context.jobs.get(given)
        if job is None or not sees_pictures(job, self._requester, self._place, self._context):
            return None
        if not 1 <= number <= len(job.pictures) or not job.pictures[number - 1].stands:
            return None
        return None if await withheld(job, number - 1, self._place, self._context) else job

    async def entry(self, key: str) -> bytes | None:
        """A file of the cache, for moderators; None if it isn't one of their community's.

        Raises:
            NotAllowedError: the person is no moderator here.
        """
        self._require_moderator()
        return await self._context.client.cache_read(self._scope, key)

    async def marked(self, given: str, number: int, mark: Mapping[str, Given]) -> Image | None:
        """A picture with another visible mark, from the cache alone; None where that isn't possible.

        Args:
            given: the job.
            number: which of its pictures, from 1.
            mark: the mark's options by field name; those left out are as the operator set them.

        Raises:
            BadInputError: an option is out of bounds.
            NotAllowedError: the person may not have the picture without a mark that can be seen.
        """
        job = await self._holding(given, number)
        if job is None:
            return None
        asked = as_drawn(job, number - 1)
        plain = {name: value for name, value in asked.model_dump(exclude_unset=True).items() if MARK not in name}
        asked = asked.model_validate(
            plain | grammar.from_options({"prompt": "-", **mark}).model_dump(include=set(mark))
        )
        resolved = grammar.resolve(
            asked,
            await self.info(),
            self._context.settings,
            draw_seed=self._context.draw_seed,
            may_unmark=self._context.settings.unmarked or self.role.reaches(Role.MODERATOR),
            locale=self._requester.locale,
        )
        order = Order(
            job=f"look-{self._context.draw_seed():08x}",
            requests=(resolved,),
            scope=self._place.scope,
            owner=self._requester.key,
            hits_only=True,
            keep=False,
        )
        async with aclosing(self._context.client.generate(order)) as events:
            return next(iter([event async for event in events if isinstance(event, Image)]), None)

    async def verify(self, data: bytes) -> Verification:
        """What a file tells of its making."""
        return await self._context.client.verify(data)

    async def overview(self, since: float) -> Overview:
        """Figures for moderators, since a moment in seconds since 1970.

        Raises:
            NotAllowedError: the person is no moderator here.
        """
        self._require_moderator()
        return await self._context.jobs.overview(self._scope, since=since)

    def _require_moderator(self) -> None:
        if not self.role.reaches(Role.MODERATOR):
            raise NotAllowedError(say("role.moderator", self._requester.locale, command="/cache"))
