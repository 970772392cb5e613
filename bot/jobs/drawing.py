"""One attempt at a job: an order goes out, events come back, and each becomes a row and an update."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import structlog

from bot import messages
from bot.budget import Budget
from bot.chat import Delivery, Failure, Picture, Refusal, Stopped, Working
from bot.clients.base import EngineClient
from bot.clock import Clock
from bot.jobs.board import Live
from bot.jobs.ids import nonce
from bot.jobs.pace import Course, Pace
from bot.store import Store
from bot.store.rows import JobRow, JobState, PictureRow, PictureState, part_of
from engine.errors import EngineError, GenerationCancelled
from engine.types import Cached, Cancelled, Cost, Event, Failed, Image, Layer, Order, Progress, Refused, ResolvedRequest

LASTING = frozenset(
    {"input", "model", "weights", "safety", "extra", "device", "memory", "timeout", "budget", "version"}
)
"""Codes of engine errors that another attempt can't mend."""
WRONG_INPUT = frozenset({"input", "model"})
"""Codes of those that the person can mend by asking for something else."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class NoLongerOursError(Exception):
    """The job was cancelled or given up while it was being drawn."""


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What drawing needs, the same for all jobs."""

    store: Store
    client: EngineClient
    clock: Clock
    pace: Pace
    runner: str
    budget: Budget


class Drawing:
    """Draws what is missing of a job: pictures that have not ended, and those whose bytes went with a process."""

    def __init__(self, studio: Studio, row: JobRow, live: Live) -> None:
        self._studio = studio
        self._row = row
        self._live = live
        self._todo = tuple(picture.index for picture in row.pictures if self._is_missing(picture))
        self._open = set(self._todo)
        self._problem: str | None = None
        self._course = Course(len(self._todo), studio.pace)

    async def run(self) -> str | None:
        """Draw; returns the sentence of a passing problem that left pictures open, or None if all have ended.

        Raises:
            NoLongerOursError: the job was taken out of work.
            DatabaseError: a result can't be written.
        """
        self._tell_known()
        if self._open:
            begun = self._studio.clock.monotonic()
            async with self._studio.budget.drawing(len(self._todo)) as spent:
                await self._draw(hits_only=spent)
            self._measure(self._studio.clock.monotonic() - begun)
        if not self._open:
            return None
        return self._problem or messages.say("job.broke_off", self._row.requester.locale)

    async def give_up(self, sentence: str) -> None:
        """Let every open picture fail with this sentence."""
        for index in sorted(self._open):
            await self._failed(index, sentence)

    def _is_missing(self, picture: PictureRow) -> bool:
        if picture.state is PictureState.RENDERED:
            return picture.index not in self._live.images and not self._row.delivered(picture.part)
        return picture.state is PictureState.PENDING

    def _tell_known(self) -> None:
        """After a restart: what ended before it."""
        for update in endings(self._row):
            if not self._live.posted("end", update.index):
                self._live.post(update)
        for part in range(1, self._row.parts + 1):
            self._deliver_if_complete(part)

    async def _draw(self, *, hits_only: bool) -> None:
        stream = self._studio.client.generate(self._order(hits_only=hits_only))
        try:
            await self._follow(stream)
        except GenerationCancelled:
            for index in sorted(self._open):
                await self._cancelled(index)
        except EngineError as error:
            if being_cancelled():
                raise asyncio.CancelledError from error
            log.warning("order failed", code=error.code, attempt=self._row.attempts)
            log.debug("order failed", reason=error.sentence)
            if error.code in LASTING:
                await self.give_up(error.sentence)
            self._problem = error.sentence
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _follow(self, stream: AsyncIterator[Event]) -> None:
        async for event in stream:
            if not 0 <= event.index < len(self._todo):
                raise EngineError(messages.say("job.broke_off", self._row.requester.locale))
            if isinstance(event, Progress):
                self._came(event)
            elif self._todo[event.index] in self._open:
                self._course.ended(event.index)
                await self._ended(event.model_copy(update={"index": self._todo[event.index]}))

    def _order(self, *, hits_only: bool) -> Order:
        known = any(self._row.pictures[index].seed is not None for index in self._todo)
        return Order(
            job=self._row.id,
            requests=tuple(self._request(index) for index in self._todo),
            scope=self._row.place.scope,
            owner=self._row.requester.key,
            seeds_free=self._row.seeds_free and not known,
            hits_only=hits_only,
        )

    def _request(self, index: int) -> ResolvedRequest:
        """As stored; a picture that was drawn before is asked for as it was drawn, so that the cache has it."""
        request, seed = self._row.requests[index], self._row.pictures[index].seed
        return request if seed is None else request.model_copy(update={"seed": seed, "force": False})

    def _came(self, progress: Progress) -> None:
        now = self._studio.clock.monotonic()
        self._course.came(progress, now)
        eta = self._course.remaining(now)
        pictures = len(self._row.requests)
        shown = progress.model_copy(update={"index": self._todo[progress.index]})
        text = messages.working(shown, pictures, eta, self._row.requester.locale)
        covered = self._row.requests[shown.index].spoiler
        self._live.post(
            Working(
                job=self._row.id,
                pictures=pictures,
                progress=shown.model_copy(update={"preview": None}),
                eta_seconds=eta,
                text=text,
                preview=None if covered else shown.preview,  # what is to be covered is shown to nobody before that
                private=self._row.private,
            )
        )

    async def _ended(self, event: Image | Refused | Failed | Cancelled) -> None:
        match event:
            case Image():
                await self._drawn(event)
            case Refused():
                await self._refused(event)
            case Failed():
                await self._came_to_nothing(event)
            case Cancelled(index=index):
                await self._cancelled(index)

    async def _drawn(self, image: Image) -> None:
        quarantine = self._studio.store.quarantine
        if await quarantine.holds(self._row.place.scope, image.key, image.generation_key):
            await self._refused(Refused(index=image.index, layer=Layer.IMAGE, categories=(messages.QUARANTINED,)))
            return
        self._live.images[image.index] = image
        await self._write(
            PictureRow(
                index=image.index,
                state=PictureState.RENDERED,
                key=image.key,
                generation_key=image.generation_key,
                seed=image.request.seed,
                cached=image.cached,
                seconds=image.seconds,
            ),
            cost=image.cost,
        )

    async def _refused(self, event: Refused) -> None:
        picture = PictureRow(
            index=event.index, state=PictureState.REFUSED, layer=event.layer, categories=event.categories
        )
        log.info("picture refused", index=event.index, layer=event.layer, categories=event.categories)
        await self._write(picture, _refusal(self._row, picture), event.cost)

    async def _came_to_nothing(self, event: Failed) -> None:
        log.warning("picture failed", index=event.index, code=event.code)
        log.debug("picture failed", index=event.index, reason=event.sentence)
        if event.code in LASTING:
            await self._failed(event.index, event.sentence, wrong_input=event.code in WRONG_INPUT, cost=event.cost)
            return
        self._problem = event.sentence
        if event.cost is not None:
            now = self._studio.clock.now()
            await self._studio.store.costs.add(self._row.id, event.index, event.cost, now=now)

    async def _cancelled(self, index: int) -> None:
        if being_cancelled():
            # The engine answers to this process stopping; the job itself goes on after the next start.
            raise asyncio.CancelledError
        await self._write(PictureRow(index=index, state=PictureState.CANCELLED))

    async def _failed(self, index: int, sentence: str, *, wrong_input: bool = False, cost: Cost | None = None) -> None:
        picture = PictureRow(index=index, state=PictureState.FAILED, error=sentence)
        await self._write(picture, _failure(self._row, picture).model_copy(update={"input": wrong_input}), cost)

    async def _write(
        self, picture: PictureRow, update: Refusal | Failure | None = None, cost: Cost | None = None
    ) -> None:
        """Keep how a picture ended, then tell of it, then send its part if it was the last one missing."""
        jobs, now = self._studio.store.jobs, self._studio.clock.now()
        if not await jobs.picture_ended(self._row.id, self._studio.runner, picture, cost=cost, now=now):
            raise NoLongerOursError
        if update is not None:
            self._live.post(update)
        self._open.discard(picture.index)
        self._deliver_if_complete(picture.part)

    def _deliver_if_complete(self, part: int) -> None:
        members = [index for index in range(len(self._row.requests)) if part_of(index) == part]
        images = [self._live.images[index] for index in members if index in self._live.images]
        if self._open.intersection(members) or not images or self._live.posted("part", part):
            return
        before = [row.attempts for row in self._row.deliveries if row.part == part]
        self._live.post(
            Delivery(
                job=self._row.id,
                part=part,
                parts=self._row.parts,
                nonce=nonce(self._row.id, part),
                attempt=1 + sum(before),
                pictures=tuple(map(self._picture, images)),
                private=self._row.private_part(part),
            )
        )

    def _picture(self, image: Image) -> Picture:
        locale = self._row.requester.locale
        return Picture(
            image=image,
            file_name=f"{self._row.id}-{image.index + 1}.{image.media_type.rpartition('/')[2]}",
            alt_text=messages.alt_text(self._row.asked[image.index], locale),
            caption=messages.caption(image, locale),
            spoiler=self._row.requests[image.index].spoiler,
            notes=tuple(messages.note(note, locale) for note in image.notes),
        )

    def _measure(self, seconds: float) -> None:
        """Learn from a job of which everything was really drawn."""
        cached = [image.cached for index, image in self._live.images.items() if index in self._todo]
        if cached and not self._open and all(tier is Cached.NONE for tier in cached):
            self._studio.pace.measured(seconds / len(cached))


def being_cancelled() -> bool:
    """Whether the running task has been asked to stop, even if something below swallowed the request."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def endings(row: JobRow) -> tuple[Refusal | Failure, ...]:
    """What is to be said of the pictures that ended without an image."""
    known: list[Refusal | Failure] = []
    for picture in row.pictures:
        if picture.state is PictureState.REFUSED:
            known.append(_refusal(row, picture))
        elif picture.state is PictureState.FAILED:
            known.append(_failure(row, picture))
    return tuple(known)


def _refusal(row: JobRow, picture: PictureRow) -> Refusal:
    if picture.layer is None:
        raise LookupError(f"picture {picture.index} of job {row.id} was refused by no layer")
    text = messages.refusal(picture.layer, picture.categories, picture.index, len(row.requests), row.requester.locale)
    return Refusal(
        job=row.id,
        index=picture.index,
        layer=picture.layer,
        categories=picture.categories,
        appealable=picture.appealable,
        text=text,
    )


def _failure(row: JobRow, picture: PictureRow) -> Failure:
    text = messages.failure(picture.error or "", picture.index, len(row.requests), row.requester.locale)
    return Failure(job=row.id, index=picture.index, text=text)


def stopped(row: JobRow) -> Stopped:
    """The last word on a cancelled job."""
    return Stopped(job=row.id, text=messages.say("stopped.job", row.requester.locale, job=row.id))


def last_words(row: JobRow) -> tuple[Refusal | Failure | Stopped, ...]:
    """What is to be said of a job that is not in flight."""
    return (*endings(row), *((stopped(row),) if row.state is JobState.CANCELLED else ()))
