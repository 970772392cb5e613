"""Jobs and their pictures: from acceptance to their end."""

from __future__ import annotations

import json
from collections.abc import Callable

from bot.chat import Place
from bot.clock import utc_day
from bot.store.codec import job_columns, load, load_all, picture_columns
from bot.store.costs import write_cost
from bot.store.database import Database, Transaction
from bot.store.pseudonyms import pseudonym
from bot.store.rows import Figures, JobRow, JobState, PictureRow, PictureState, settled
from engine.types import Cost


class JobTable:
    """Every method is one transaction; those about a running job do nothing unless `runner` still has it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(
        self, job: JobRow, *, new_id: Callable[[], str], judge: Callable[[Figures], None]
    ) -> tuple[JobRow, bool]:
        """Store a job and charge its pictures, unless its event was seen before.

        `judge` raises if a limit is reached, and then nothing is stored. The id is taken from `new_id` until one is
        free. Returns the job, and whether it is an earlier one of the same event.
        """
        async with self._database.transaction() as transaction:
            first = await transaction.one(
                "SELECT id FROM jobs WHERE platform = ? AND event = ?", job.place.platform, job.event
            )
            if first is not None:
                return await _existing(transaction, first["id"]), True
            judge(await _figures(transaction, job))
            await transaction.run(
                "DELETE FROM arrivals WHERE platform = ? AND event = ?", job.place.platform, job.event
            )
            stored = await _insert(transaction, job, new_id)
            await _charge(transaction, job, len(job.requests))
            await set_state(transaction, stored, JobState.QUEUED, now=job.created)
            return await _existing(transaction, stored), False

    async def get(self, job: str) -> JobRow | None:
        """A job with its pictures and messages."""
        async with self._database.snapshot() as transaction:
            return await load(transaction, job)

    async def history(self, person: str, scope: str | None, *, limit: int, offset: int) -> tuple[JobRow, ...]:
        """A person's jobs, the latest first; `scope` None is everywhere."""
        async with self._database.snapshot() as transaction:
            jobs = await transaction.run(
                """SELECT id FROM jobs WHERE person = ? AND (? IS NULL OR platform || ':' || workspace = ?)
                   ORDER BY created DESC, rowid DESC LIMIT ? OFFSET ?""",
                *(person, scope, scope, limit, offset),
            )
            return await load_all(transaction, jobs)

    async def prompts(self, person: str, place: Place, *, limit: int) -> tuple[str, ...]:
        """What a person asked for in a place's community, the latest first, of so many jobs; one read, however many."""
        async with self._database.snapshot() as transaction:
            jobs = await transaction.run(
                """SELECT asked FROM jobs WHERE person = ? AND platform = ? AND workspace = ?
                   ORDER BY created DESC, rowid DESC LIMIT ?""",
                *(person, place.platform, place.workspace, limit),
            )
        return tuple(str(request["prompt"]) for job in jobs for request in json.loads(job["asked"]))

    async def redirect(self, job: str, reply_to: str) -> None:
        """Change what the adapter needs to answer after a restart."""
        async with self._database.transaction() as transaction:
            await transaction.run("UPDATE jobs SET reply_to = ? WHERE id = ?", reply_to, job)

    async def begin(self, job: str, runner: str, *, now: float) -> JobRow | None:
        """Take a queued job into work and count the attempt; None if it isn't this runner's to draw."""
        async with self._database.transaction() as transaction:
            taken = await transaction.run(
                """UPDATE jobs SET state = 'running', attempts = attempts + 1, updated = ?
                   WHERE id = ? AND runner = ? AND state = 'queued' RETURNING id""",
                *(now, job, runner),
            )
            return await load(transaction, job) if taken else None

    async def picture_ended(
        self, job: str, runner: str, picture: PictureRow, *, cost: Cost | None = None, now: float = 0.0
    ) -> bool:
        """Write how a picture ended, and count it back if it failed; False if the job isn't this runner's to draw.

        What it cost at the time `now` is written in any case.
        """
        columns = picture_columns(picture)
        async with self._database.transaction() as transaction:
            await write_cost(transaction, job, picture, cost, now=now)
            written = await transaction.run(
                f"""UPDATE pictures SET {", ".join(f"{name} = ?" for name in columns)}
                    WHERE job = ? AND idx = ? AND EXISTS
                    (SELECT 1 FROM jobs WHERE id = ? AND runner = ? AND state = 'running') RETURNING idx""",  # noqa: S608
                *(*columns.values(), job, picture.index, job, runner),
            )
            if written and picture.state is PictureState.FAILED:
                await _charge(transaction, await _existing(transaction, job), -1)
            return bool(written)

    async def put_back(self, job: str, runner: str, *, now: float) -> bool:
        """Queue a running job again, for another attempt; False if it was taken out of work meanwhile."""
        async with self._database.transaction() as transaction:
            return bool(
                await transaction.run(
                    """UPDATE jobs SET state = 'queued', updated = ?
                       WHERE id = ? AND runner = ? AND state = 'running' RETURNING id""",
                    *(now, job, runner),
                )
            )

    async def finish(self, job: str, runner: str, *, now: float, error: str | None = None) -> JobState | None:
        """End the drawing of a job, and settle its state.

        With an `error` it is given up: pictures that have not ended fail with that sentence, and are counted back to
        the person. None if the job is no longer this runner's to draw.
        """
        async with self._database.transaction() as transaction:
            row = await load(transaction, job)
            if row is None or row.runner != runner or row.state is not JobState.RUNNING:
                return None
            if error is not None:
                await _charge(transaction, row, -count(row, PictureState.PENDING))
                await transaction.run(
                    "UPDATE pictures SET state = 'failed', error = ? WHERE job = ? AND state = 'pending'", error, job
                )
                row = await _existing(transaction, job)
            state = settled(row.pictures, row.deliveries)
            if error is not None and state is JobState.FAILED:
                state = JobState.DEAD
            await transaction.run("UPDATE jobs SET attempts = 0 WHERE id = ?", job)
            await set_state(transaction, job, state, now=now, error=error)
            return state

    async def cancel(self, job: str, *, now: float) -> bool:
        """Cancel a job that is not being sent; False if there was nothing to cancel.

        Pictures are counted back if drawing had not begun.
        """
        async with self._database.transaction() as transaction:
            row = await load(transaction, job)
            if row is None or row.state.ended or row.state is JobState.SENDING:
                return False
            await close(transaction, row, JobState.CANCELLED, now=now, refund=row.state is JobState.QUEUED)
            return True


async def set_state(
    transaction: Transaction, job: str, state: JobState, *, now: float, error: str | None = None
) -> None:
    """Write a job's state, and the sentence that explains it if there is one."""
    await transaction.run(
        "UPDATE jobs SET state = ?, error = coalesce(?, error), updated = ? WHERE id = ?", state, error, now, job
    )


async def close(
    transaction: Transaction, row: JobRow, state: JobState, *, now: float, refund: bool, error: str | None = None
) -> None:
    """End a job early: its open pictures are cancelled, and counted back to the person if `refund`."""
    if refund:
        await _charge(transaction, row, -count(row, PictureState.PENDING))
    await transaction.run("UPDATE pictures SET state = 'cancelled' WHERE job = ? AND state = 'pending'", row.id)
    await set_state(transaction, row.id, state, now=now, error=error)


def count(row: JobRow, state: PictureState) -> int:
    """How many pictures of a job are in that state."""
    return sum(picture.state is state for picture in row.pictures)


async def _existing(transaction: Transaction, job: str) -> JobRow:
    row = await load(transaction, job)
    if row is None:
        raise LookupError(f"job {job} vanished within a transaction")
    return row


async def _insert(transaction: Transaction, job: JobRow, new_id: Callable[[], str]) -> str:
    columns = job_columns(job)
    names, slots = ", ".join(columns), ", ".join("?" * len(columns))
    while True:
        columns["id"] = new_id()
        inserted = await transaction.run(
            f"INSERT INTO jobs ({names}) VALUES ({slots}) ON CONFLICT (id) DO NOTHING RETURNING id",  # noqa: S608
            *columns.values(),
        )
        if inserted:
            break
    stored: str = columns["id"]
    for index, request in enumerate(job.requests):
        source = None
        if request.image is not None:
            source = request.image.sha256
            await transaction.run(
                "INSERT INTO sources (sha256, data) VALUES (?, ?) ON CONFLICT DO NOTHING", source, request.image.data
            )
        await transaction.run("INSERT INTO pictures (job, idx, source) VALUES (?, ?, ?)", stored, index, source)
    return stored


async def _figures(transaction: Transaction, job: JobRow) -> Figures:
    row = await transaction.one(
        """SELECT
             (SELECT coalesce(sum(pictures), 0) FROM usage WHERE person IN (?1, ?5) AND day = ?2) AS used_today,
             (SELECT coalesce(sum(pictures), 0) FROM usage
              WHERE person IN (?1, ?5) AND day = ?2 AND scope = ?4) AS used_here,
             (SELECT coalesce(sum(pictures), 0) FROM usage WHERE day = ?2 AND scope = ?4) AS used_by_community,
             (SELECT max(created) FROM jobs WHERE person = ?1) AS last_asked,
             (SELECT count(*) FROM jobs WHERE state = 'queued' AND runner = ?3 AND person = ?1) AS waiting_of_person,
             (SELECT count(*) FROM jobs WHERE state = 'queued' AND runner = ?3) AS waiting""",
        *(job.requester.key, utc_day(job.created), job.runner, job.place.scope),
        await pseudonym(transaction, job.requester.key),
    )
    return Figures.model_validate(dict(row or {}))


async def _charge(transaction: Transaction, job: JobRow, pictures: int) -> None:
    """Count pictures to the person on the day the job was given, or back when negative."""
    if pictures == 0 or not job.charged:
        return
    await transaction.run(
        """INSERT INTO usage (person, day, scope, pictures) VALUES (?, ?, ?, max(?, 0))
           ON CONFLICT DO UPDATE SET pictures = max(pictures + ?, 0)""",
        *(job.requester.key, utc_day(job.created), job.place.scope, pictures, pictures),
    )
