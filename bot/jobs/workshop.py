"""The queue and the workers: which job is drawn when, and what happens when drawing fails."""

from __future__ import annotations

import asyncio

import structlog
from structlog.contextvars import bound_contextvars

from bot import messages
from bot.chat import Failure, Queued
from bot.errors import DatabaseError
from bot.jobs.board import Live
from bot.jobs.drawing import Drawing, NoLongerOursError, Studio, being_cancelled, stopped
from bot.jobs.fair_queue import FairQueue, Ticket
from bot.jobs.ids import new_job_id
from bot.store.rows import JobRow, JobState

MAX_ATTEMPTS = 3
BACKOFF_SECONDS = 2.0
"""Before the second attempt; the third waits four times as long."""
STOP_SECONDS = 4.0
"""How long `stop` waits for the engine to let go."""
LONG_LINE = 50
"""Jobs in a line of which more are told only now and then that they have moved: each move concerns them all."""
TELL_SECONDS = 0.5
"""Between two tellings of a long line."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Workshop:
    """Jobs of this process that are in flight."""

    def __init__(self, studio: Studio, *, workers: int, running_per_person: int) -> None:
        self._studio = studio
        self._workers = workers
        self._queue = FairQueue(workers=workers, running_per_person=running_per_person)
        self._lives: dict[str, Live] = {}
        self._resting: dict[str, asyncio.Task[None]] = {}
        """Jobs that wait for their next attempt."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: asyncio.TimerHandle | None = None
        """Set while a long line waits to be told."""
        self._open = False
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Jobs in the line."""
        return self._queue.waiting

    def unfinished(self, person: str) -> int:
        """A person's jobs, waiting or being drawn."""
        return self._queue.of(person)

    def live(self, job: str) -> Live | None:
        """What is going on with a job, if it is in flight here."""
        return self._lives.get(job)

    def start(self) -> None:
        """Begin to work."""
        self._open = True
        self._advance()

    async def stop(self) -> None:
        """Let go of everything; watchers end without a last word, since their jobs go on after the next start."""
        self._open, self._stopped = False, True
        if self._telling is not None:
            self._telling.cancel()
        tasks = [*self._tasks, *self._resting.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            if stuck:
                log.warning("the engine did not let go in time", jobs=len(stuck))
        for live in self._lives.values():
            live.close()
        self._lives.clear()

    def add(self, row: JobRow) -> None:
        """Put a stored job into the line; after `stop` it is left to the next process."""
        if not self._stopped:
            self._lives[row.id] = Live(row)
            self._join(row)

    def drop(self, job: str) -> bool:
        """Take a job out that has ended early; False if it wasn't waiting, so that the engine may be drawing it."""
        resting = self._resting.pop(job, None)
        if resting is not None:
            resting.cancel()
        waited = self._queue.remove(job) or resting is not None
        live = self._lives.get(job)
        if live is not None:
            self.forget(live)
        self._advance()
        return waited

    def forget(self, live: Live) -> None:
        """Let go of a job of which there is nothing more to tell."""
        live.close()
        if self._lives.get(live.row.id) is live:
            del self._lives[live.row.id]

    def _join(self, row: JobRow) -> None:
        self._queue.put(Ticket(job=row.id, person=row.requester.key, pictures=len(row.requests)))
        self._advance()

    def _advance(self) -> None:
        if self._stopped:
            return
        self._announce()
        while self._open and (ticket := self._queue.take()) is not None:
            task = asyncio.create_task(self._work(self._lives[ticket.job]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._announce()

    def _announce(self) -> None:
        """Tell those whose place in the line has changed: at once, or all of a long line together in a moment."""
        if self._telling is not None:
            return
        if self._queue.waiting > LONG_LINE:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        self._telling = None
        running = sum(ticket.pictures for ticket in self._queue.running)
        for job, ahead in self._queue.ahead().items():
            live = self._lives[job]
            if live.position == ahead:
                continue
            live.position = ahead
            pictures, locale = len(live.row.requests), live.row.requester.locale
            eta = self._studio.pace.wait(ahead=running + ahead, own=pictures, workers=self._workers)
            text = messages.queued(job, pictures, ahead, eta, locale)
            private = live.row.private
            live.post(Queued(job=job, pictures=pictures, position=ahead, eta_seconds=eta, text=text, private=private))

    async def _work(self, live: Live) -> None:
        live.position = None
        with bound_contextvars(job=live.row.id):
            try:
                await self._guarded(live)
            except DatabaseError as error:
                # The row stays as it is; the next start takes the job up again.
                log.error("job interrupted", reason=error.sentence)  # noqa: TRY400  (its sentence says everything)
                self._break_off(live, error.sentence)
            finally:
                self._queue.done(live.row.id)
                self._advance()

    async def _guarded(self, live: Live) -> None:
        try:
            await self._attempt(live)
        except NoLongerOursError:
            log.info("job was taken out of work")
            await self._taken_away(live)
        except DatabaseError:
            raise
        except Exception:  # the workers' boundary: a fault in one job must neither stop the others nor leave it hanging
            if being_cancelled():
                log.exception("fault while stopping")
                return
            incident = new_job_id()
            log.exception("job failed by a fault of ours", incident=incident)
            sentence = messages.say("failure.incident", live.row.requester.locale, incident=incident)
            now = self._studio.clock.now()
            await self._studio.store.jobs.finish(live.row.id, self._studio.runner, now=now, error=sentence)
            self._break_off(live, sentence)

    async def _attempt(self, live: Live) -> None:
        store, clock = self._studio.store, self._studio.clock
        row = await store.jobs.begin(live.row.id, self._studio.runner, now=clock.now())
        if row is None:
            raise NoLongerOursError
        log.info("drawing", pictures=len(row.requests), attempt=row.attempts)
        drawing = Drawing(self._studio, row, live)
        if row.attempts > MAX_ATTEMPTS:
            # Each attempt ended with the process: perhaps this job is what ends it.
            problem: str | None = messages.say("job.crashes", row.requester.locale)
        else:
            problem = await drawing.run()
        if problem is not None:
            if row.attempts < MAX_ATTEMPTS:
                await self._rest(row, live)
                return
            await drawing.give_up(problem)
        await self._finish(live, problem)

    async def _rest(self, row: JobRow, live: Live) -> None:
        """Queue the job again after a while."""
        kept = await self._studio.store.jobs.put_back(row.id, self._studio.runner, now=self._studio.clock.now())
        if not kept or live.closed:
            raise NoLongerOursError
        seconds = BACKOFF_SECONDS * 4 ** (row.attempts - 1)
        log.info("job rests", seconds=seconds)
        self._resting[row.id] = asyncio.create_task(self._after(seconds, row))

    async def _after(self, seconds: float, row: JobRow) -> None:
        await self._studio.clock.sleep(seconds)
        del self._resting[row.id]
        self._join(row)

    async def _finish(self, live: Live, error: str | None) -> None:
        """Write the end of drawing, and let the watchers go."""
        job, now = live.row.id, self._studio.clock.now()
        state = await self._studio.store.jobs.finish(job, self._studio.runner, now=now, error=error)
        if state is None:
            raise NoLongerOursError
        log.info("drawing ended", state=state)
        if state is JobState.CANCELLED:
            live.post(stopped(live.row))
        live.close()
        if state.ended or not live.watched:
            self.forget(live)  # whoever asks for its pictures later has them drawn again, from the cache

    async def _taken_away(self, live: Live) -> None:
        """Another process may have cancelled the job; then nobody here has said so."""
        row = await self._studio.store.jobs.get(live.row.id)
        if row is not None and row.state is JobState.CANCELLED:
            live.post(stopped(row))
        self.forget(live)

    def _break_off(self, live: Live, sentence: str) -> None:
        live.post(Failure(job=live.row.id, index=None, text=sentence))
        self.forget(live)
