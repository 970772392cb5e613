"""Jobs from their acceptance to their end: the face that handlers, adapters and the composition root see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from bot import messages
from bot.budget import Budget
from bot.chat import Delivery, Invocation, Place, Requester, Role, Update
from bot.clients.base import EngineClient
from bot.clock import Clock, SystemClock, utc_day
from bot.errors import DeliveryError, LimitError, NotAllowedError, NotFoundError
from bot.jobs.arrivals import Arrivals
from bot.jobs.board import Live
from bot.jobs.drawing import Studio, last_words, stopped
from bot.jobs.heir import Heir
from bot.jobs.ids import canonical, new_job_id
from bot.jobs.pace import Pace
from bot.jobs.removal import Deleted, Remover
from bot.jobs.runner import Runner
from bot.jobs.sending import Send, Sender
from bot.jobs.workshop import Workshop
from bot.moderation import Moderation
from bot.quota import NO_LIMITS, Limits, Quota
from bot.settings import Settings
from bot.store import Store
from bot.store.figures import Overview
from bot.store.rows import Figures, Forgotten, JobRow
from engine.errors import EngineError
from engine.types import ImageRequest, ResolvedRequest, Value

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Submitted(Value):
    """Answer to a command that makes pictures."""

    job: str
    duplicate: bool
    """The same event came before, and this is its job."""


class Recovered(Value):
    """A job of an earlier process that goes on in this one, and where its answer goes."""

    job: str
    command: str
    requester: Requester
    place: Place
    reply_to: str


class Jobs:
    """Accepts jobs, has them drawn in fair order, and sees them through to their delivery.

    What has been accepted is on disk, so nothing is lost however the process ends: the next one takes it up.
    """

    def __init__(  # noqa: PLR0913  (the composition root names each part)
        self,
        store: Store,
        client: EngineClient,
        settings: Settings,
        *,
        quota: Quota,
        moderation: Moderation,
        clock: Clock | None = None,
        new_id: Callable[[], str] = new_job_id,
    ) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._quota = quota
        self._moderation = moderation
        self._clock = clock or SystemClock()
        self._new_id = new_id
        self._runner = Runner(settings.home / "run")
        self.budget = Budget(store, settings, clock=self._clock)
        studio = Studio(
            store=store,
            client=client,
            clock=self._clock,
            pace=Pace(),
            runner=self._runner.id,
            budget=self.budget,
        )
        self._workshop = Workshop(studio, workers=settings.jobs_at_once, running_per_person=settings.running_per_person)
        self._sender = Sender(store, self._clock)
        self._remover = Remover(store, client, self._clock)
        self._pruned = ""
        """The day on which old jobs were last pruned."""
        self._heir = Heir(store, self._runner, self._clock)
        self.arrivals = Arrivals(store, self._runner, self._heir, self._clock)
        self._whole: set[asyncio.Task[Any]] = set()

    @property
    def waiting(self) -> int:
        """Jobs in the queue: what the gauge of its depth shows."""
        return self._workshop.waiting

    async def in_flight(self) -> frozenset[str]:
        """Jobs and commands that have not ended, as the database has it: what a machine that may go has to stay for."""
        return await self._store.recovery.in_flight(self._runner.id)

    def unfinished(self, requester: Requester) -> int:
        """The person's jobs that wait or are being drawn."""
        return self._workshop.unfinished(requester.key)

    async def start(self) -> None:
        """Begin to work.

        Raises:
            DatabaseError: the home folder or the database can't be written.
        """
        await asyncio.to_thread(self._runner.start)
        await self.arrivals.start()
        self._workshop.start()
        self._prune_daily()

    async def stop(self) -> None:
        """Put running jobs back into the queue and end within 10 seconds; safe to call twice."""
        if self._whole:
            await asyncio.wait(self._whole, timeout=1.0)
        await self._workshop.stop()
        try:
            await self.arrivals.stop()
            back = await self._store.recovery.release(self._runner.id, now=self._clock.now())
            log.info("stopped", put_back=len(back))
        finally:
            self._runner.stop()

    async def submit(
        self,
        invocation: Invocation,
        asked: Sequence[ImageRequest],
        resolved: Sequence[ResolvedRequest],
        seeds_free: bool,
        *,
        charged: bool = True,
        limits: Limits = NO_LIMITS,
    ) -> Submitted:
        """Accept a job: when this returns, it is on disk and, where it is charged, paid for.

        The same event again gives the first job.

        Raises:
            BannedError, LimitError: the person may not ask now; nothing is stored.
            DatabaseError: it can't be stored.
        """
        now = self._clock.now()
        job = JobRow(
            id="",
            event=invocation.event,
            place=invocation.place,
            requester=invocation.requester,
            reply_to=invocation.reply_to,
            command=invocation.command,
            asked=tuple(asked),
            requests=tuple(resolved),
            seeds_free=seeds_free,
            charged=charged,
            runner=self._runner.id,
            created=now,
            updated=now,
        )
        return await self._entirely(self._submit(job, limits))

    async def _submit(self, job: JobRow, limits: Limits) -> Submitted:
        await self._moderation.refuse_banned(job.requester, job.place)

        def judge(figures: Figures) -> None:
            self._judge_waiting(figures, job.requester.locale)
            self._quota.judge(job.requester, len(job.requests) if job.charged else 0, figures, limits)

        stored, duplicate = await self._store.jobs.accept(job, new_id=self._new_id, judge=judge)
        with bound_contextvars(job=stored.id):
            log.info("duplicate event" if duplicate else "accepted", pictures=len(stored.requests))
        if not duplicate:
            self._workshop.add(stored)
        self._prune_daily()
        return Submitted(job=stored.id, duplicate=duplicate)

    def _judge_waiting(self, figures: Figures, locale: str) -> None:
        if figures.waiting_of_person >= (limit := self._settings.waiting_per_person):
            raise LimitError(messages.say("limit.waiting_person", locale, limit=limit))
        if figures.waiting >= self._settings.waiting:
            raise LimitError(messages.say("limit.waiting_all", locale))

    async def watch(self, job: str) -> AsyncGenerator[Update, None]:
        """The job's present state, then its updates, until there is nothing more to tell.

        It ends when every picture has ended and every part was given out, when the job is cancelled, and, without a
        last word, when this process stops. Slow readers miss intermediate progress and nothing else.

        Raises:
            NotFoundError: there is no such job.
        """
        live = self._workshop.live(canonical(job)) or await self._revive(canonical(job))
        if live is None:
            for word in last_words(await self._existing(job)):
                yield word
            return
        try:
            async with aclosing(live.updates()) as updates:
                async for update in updates:
                    yield update
        finally:
            if live.closed and not live.watched:
                self._workshop.forget(live)

    async def deliver(self, delivery: Delivery, send: Send) -> None:
        """Send a part exactly once: `send` sends it, or finds what an earlier attempt sent, and returns its id.

        Three attempts in all. Does nothing if the part has arrived or its job has ended.

        Raises:
            DeliveryError: the platform doesn't take it, and the job is given up; the person is to be told.
            NotFoundError: there is no such job.
        """
        with bound_contextvars(job=delivery.job):
            row = await self._existing(delivery.job)
            try:
                state = await self._sender.send(delivery, send, row.requester.locale)
            except DeliveryError:
                await self._entirely(self._halt(row))
                raise
            live = self._workshop.live(delivery.job)
            if state is not None and live is not None:
                live.sent(delivery)
                if state.ended:
                    self._workshop.drop(delivery.job)

    async def redirect(self, job: str, reply_to: str) -> None:
        """Change what the job's adapter needs to answer after a restart."""
        await self._entirely(self._store.jobs.redirect(job, reply_to))

    async def cancel(self, job: str, requester: Requester, place: Place) -> bool:
        """Cancel a job that waits or is being drawn; False if it had ended or is being sent.

        People cancel their own jobs, moderators those of their community, where they must ask, the operator all.

        Raises:
            NotFoundError: there is no such job, or it is another community's.
            NotAllowedError: it is somebody else's.
        """
        row = await self._existing(job, requester.locale)
        own = row.requester.key == requester.key
        if not own:
            await self._may_cancel(row, requester, place)
        return await self._entirely(self._cancel(row, None if own else requester))

    async def _may_cancel(self, row: JobRow, requester: Requester, place: Place) -> None:
        role = await self._moderation.role_of(requester, place)
        if role is Role.OPERATOR:
            return
        if row.place.scope != place.scope:
            raise NotFoundError(messages.say("input.unknown_job", requester.locale, given=messages.quote(row.id)))
        if not role.reaches(Role.MODERATOR):
            raise NotAllowedError(messages.say("role.not_yours", requester.locale, job=row.id))

    async def _cancel(self, row: JobRow, moderator: Requester | None) -> bool:
        if not await self._store.jobs.cancel(row.id, now=self._clock.now()):
            return False
        with bound_contextvars(job=row.id):
            log.info("cancelled", by_moderator=moderator is not None)
            if moderator is not None:
                await self._moderation.record(moderator, "cancel", row.requester.key, row.place.scope, row.id)
            live = self._workshop.live(row.id)
            if live is not None:
                live.post(stopped(row))
            await self._halt(row)
        return True

    async def delete(self, row: JobRow, indices: Sequence[int], requester: Requester) -> Deleted:
        """Delete pictures of a job, and the cached files that nobody else needs; what is being drawn is cancelled.

        Whether the person may is the caller's to check.

        Raises:
            LimitError: the pictures are on their way, so that nothing can be deleted before they have arrived.
        """
        return await self._entirely(self._delete(row, indices, requester))

    async def _delete(self, row: JobRow, indices: Sequence[int], requester: Requester) -> Deleted:
        own = row.requester.key == requester.key
        if not row.state.ended and not await self._cancel(row, None if own else requester):
            row = await self._existing(row.id, requester.locale)
            if not row.state.ended:
                raise LimitError(messages.say("delete.on_its_way", requester.locale, job=row.id))
        deleted = await self._remover.delete(await self._existing(row.id), indices, requester)
        log.info("pictures deleted", job=row.id, pictures=len(deleted.pictures), files=deleted.files)
        return deleted

    async def extent(self, requester: Requester) -> Forgotten:
        """What `forget` would delete."""
        return await self._store.removal.extent(requester.key)

    async def forget(self, requester: Requester) -> tuple[Forgotten, int]:
        """Stop and delete all that a person asked for, in every community; also returns how many cached files went.

        Raises:
            EngineError: the cache can't be reached; then everything but what was in flight is still there.
        """
        return await self._entirely(self._forget(requester))

    async def _forget(self, requester: Requester) -> tuple[Forgotten, int]:
        for job in await self._store.removal.in_flight(requester.key):
            await self._cancel(await self._existing(job), None)
        return await self._remover.forget(requester.key)

    def _prune_daily(self) -> None:
        """Once a day, let go of what is older than the operator keeps; nobody waits for it."""
        days, today = self._settings.history_days, utc_day(self._clock.now())
        if days and today != self._pruned:
            self._pruned = today
            task = asyncio.create_task(self._remover.prune(days))
            self._whole.add(task)
            task.add_done_callback(self._whole.discard)

    async def _halt(self, row: JobRow) -> None:
        """Take a job that has ended in the database out of the queue, or else out of the engine."""
        if self._workshop.drop(row.id):
            return
        try:
            await self._client.cancel(row.id)
        except EngineError as error:
            # It is cancelled all the same: what the engine goes on drawing is thrown away.
            log.warning("the engine did not take the cancellation", reason=error.sentence)

    async def get(self, job: str) -> JobRow | None:
        """A job by its id, which may be typed loosely. Whether the asker may see it is the caller's to decide."""
        return await self._store.jobs.get(canonical(job))

    async def _existing(self, job: str, locale: str = messages.ENGLISH) -> JobRow:
        row = await self.get(job)
        if row is None:
            raise NotFoundError(messages.say("input.unknown_job", locale, given=messages.quote(job)))
        return row

    async def history(
        self, requester: Requester, scope: str | None, *, limit: int = 10, offset: int = 0
    ) -> tuple[JobRow, ...]:
        """The person's jobs, the latest first; `scope` None is everywhere."""
        return await self._store.jobs.history(requester.key, scope, limit=limit, offset=offset)

    async def prompts(self, requester: Requester, place: Place, *, limit: int) -> tuple[str, ...]:
        """What the person asked for in this community, the latest first, in so many jobs."""
        return await self._store.jobs.prompts(requester.key, place, limit=limit)

    async def overview(self, scope: str | None, *, since: float) -> Overview:
        """Sums over jobs since a moment, seconds since 1970; `scope` None is everywhere."""
        return await self._store.figures.overview(scope, since=since)

    async def recover(self, platform: str) -> tuple[Recovered, ...]:
        """Take over the platform's jobs of processes that are gone; each is to be watched and delivered.

        A part that was being sent comes with an `attempt` above 1, so that the adapter looks for it first.
        """
        return await self._entirely(self._recover(platform))

    async def _recover(self, platform: str) -> tuple[Recovered, ...]:
        rows = await self._heir.adopt(platform)
        for row in rows:
            log.info("recovered", job=row.id)
            self._workshop.add(row)
        return tuple(
            Recovered(job=row.id, command=row.command, requester=row.requester, place=row.place, reply_to=row.reply_to)
            for row in rows
        )

    async def abandon(self, platform: str) -> tuple[str, ...]:
        """Cancel what a one-shot platform's gone processes left behind, count it back, and return the jobs' ids."""
        return await self._heir.abandon(platform)

    async def _revive(self, job: str) -> Live | None:
        """Have a job drawn again, from the cache, that was drawn but whose pictures nobody waited for."""
        if not await self._store.recovery.revive(job, self._runner.id, now=self._clock.now()):
            return None
        self._workshop.add(await self._existing(job))
        return self._workshop.live(job)

    async def _entirely(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end even if the caller is cancelled, so that database and queue never part."""
        task = asyncio.create_task(work)
        self._whole.add(task)
        task.add_done_callback(self._whole.discard)
        return await asyncio.shield(task)
