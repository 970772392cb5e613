"""Appeals against refusals, and reports of pictures: what people ask of their moderators, and what those decide.

A decision is about the very texts that were refused, asked by the same person in the same community. Zero tolerance
and the check of finished pictures know no appeal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from bot import messages
from bot.chat import Requester
from bot.clock import Clock, SystemClock
from bot.errors import BadInputError, LimitError, NotFoundError
from bot.jobs.ids import canonical, new_job_id
from bot.store import Store
from bot.store.rows import Appeal, AppealState, AuditEntry, JobRow, Report
from engine.types import ImageRequest, Layer, ResolvedRequest

MAX_OPEN = 10
"""Appeals of one person that wait at once."""
MAX_REASON = 500
"""Characters of a reason that are kept."""
SHOWN = 20


def digest(request: ImageRequest) -> str:
    """Of the texts that a refusal judged, as the engine reads them."""
    texts = (request.prompt, request.negative_prompt, request.watermark_text or "")
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class Appeals:
    """Stores what people ask and moderators decide; who may do what is the caller's to check."""

    def __init__(self, store: Store, *, clock: Clock | None = None, new_id: Callable[[], str] = new_job_id) -> None:
        self._table = store.appeals
        self._clock = clock or SystemClock()
        self._new_id = new_id

    async def ask(self, job: JobRow, index: int, reason: str, locale: str) -> tuple[Appeal, bool]:
        """Ask the moderators about a refused picture; returns the appeal, and False if it was asked before.

        Raises:
            BadInputError: the picture was not refused, or by a layer that knows no appeal.
            LimitError: too many appeals of this person are waiting.
        """
        picture = job.pictures[index]
        if picture.layer is None:
            raise BadInputError(messages.say("appeal.not_refused", locale, job=job.id, number=index + 1))
        if not picture.appealable:
            raise BadInputError(messages.say("appeal.never", locale))
        request = job.requests[index]

        def judge(waiting: int) -> None:
            if waiting >= MAX_OPEN:
                raise LimitError(messages.say("appeal.too_many", locale, limit=MAX_OPEN))

        appeal = Appeal(
            id="",
            created=self._clock.now(),
            job=job.id,
            index=index,
            person=job.requester.key,
            scope=job.place.scope,
            prompt=request.prompt,
            digest=digest(request),
            layer=picture.layer,
            categories=picture.categories,
            reason=_kept(reason),
        )
        return await self._table.add(appeal, new_id=self._new_id, judge=judge)

    async def open(self, scope: str | None) -> tuple[Appeal, ...]:
        """Appeals that wait for a decision, the oldest first; `scope` None is everywhere."""
        return await self._table.open(scope, limit=SHOWN)

    async def decide(self, actor: Requester, scope: str | None, given: str, state: AppealState) -> Appeal:
        """Decide an appeal of a scope, or change an earlier decision; `scope` None is any.

        Raises:
            NotFoundError: there is no such appeal.
        """
        appeal = await self._table.get(canonical(given), scope)
        decided = None
        if appeal is not None:
            entry = self._entry(actor, f"appeal.{state}", appeal.person, appeal.scope, appeal.id)
            decided = await self._table.decide(appeal.id, state, entry)
        if decided is None:
            raise NotFoundError(messages.say("appeal.unknown", actor.locale, given=messages.quote(given)))
        return decided

    async def news(self, requester: Requester, scope: str) -> tuple[Appeal, ...]:
        """Decisions that the person has not been told of; they count as told from here on."""
        return await self._table.untold(requester.key, scope)

    async def waived(
        self, requester: Requester, scope: str, requests: tuple[ResolvedRequest, ...]
    ) -> tuple[ResolvedRequest, ...]:
        """The requests, each with the layers that let its texts pass since a moderator allowed them."""
        allowed = await self._table.allowed(requester.key, scope)
        if not allowed:
            return requests
        return tuple(_waived(request, allowed.get(digest(request), frozenset())) for request in requests)

    async def report(self, requester: Requester, job: JobRow, index: int, reason: str) -> bool:
        """Report a picture to the moderators of its community; False if the person has done so before."""
        report = Report(
            id="",
            created=self._clock.now(),
            job=job.id,
            index=index,
            person=requester.key,
            scope=job.place.scope,
            reason=_kept(reason),
        )
        return await self._table.report(report, new_id=self._new_id)

    async def reports(self, scope: str | None) -> tuple[Report, ...]:
        """Reports that nobody has dealt with, the oldest first; `scope` None is everywhere."""
        return await self._table.reports(scope, limit=SHOWN)

    async def dismiss(self, actor: Requester, scope: str | None, given: str) -> None:
        """Put a report of a scope aside; `scope` None is any.

        Raises:
            NotFoundError: there is no such report.
        """
        report = await self._table.open_report(canonical(given), scope)
        closed = False
        if report is not None:
            entry = self._entry(actor, "report.dismissed", report.id, report.scope)
            closed = await self._table.close_report(report.id, entry)
        if not closed:
            raise NotFoundError(messages.say("report.unknown", actor.locale, given=messages.quote(given)))

    def _entry(self, actor: Requester, action: str, target: str, scope: str, detail: str = "") -> AuditEntry:
        return AuditEntry(
            created=self._clock.now(),
            actor=actor.key,
            action=action,
            target=target,
            scope=scope,
            detail=messages.shorten(detail, 200),
        )


def _waived(request: ResolvedRequest, layers: frozenset[Layer]) -> ResolvedRequest:
    waivable = tuple(sorted(layer for layer in layers if layer.waivable))
    return request.model_copy(update={"waived": waivable}) if waivable else request


def _kept(reason: str) -> str:
    return messages.shorten(reason, MAX_REASON)
