"""Messages: written before they are sent and again when they have arrived."""

from __future__ import annotations

from bot.store.codec import load
from bot.store.database import Database
from bot.store.jobs import close, set_state
from bot.store.rows import JobState, settled


class DeliveryTable:
    """Two-phase delivery; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, job: str, part: int, nonce: str, *, now: float) -> int | None:
        """Write that a message is about to be sent; returns the number of this attempt.

        None if there is nothing to send: it has arrived, or the job has ended.
        """
        async with self._database.transaction() as transaction:
            row = await load(transaction, job)
            if row is None or row.state.ended or row.delivered(part):
                return None
            (delivery,) = await transaction.run(
                """INSERT INTO deliveries (job, part, nonce, state, attempts) VALUES (?, ?, ?, 'sending', 1)
                   ON CONFLICT (job, part) DO UPDATE SET attempts = attempts + 1 RETURNING attempts""",
                *(job, part, nonce),
            )
            if row.state is JobState.RENDERED:
                await set_state(transaction, job, JobState.SENDING, now=now)
            attempts: int = delivery["attempts"]
            return attempts

    async def arrived(self, job: str, part: int, message_id: str, *, now: float) -> JobState | None:
        """Write that a message has arrived; returns the job's state after that."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                "UPDATE deliveries SET state = 'delivered', message_id = ? WHERE job = ? AND part = ?",
                *(message_id, job, part),
            )
            row = await load(transaction, job)
            if row is None or row.state not in (JobState.RENDERED, JobState.SENDING):
                return None if row is None else row.state
            state = settled(row.pictures, row.deliveries)
            await set_state(transaction, job, state, now=now)
            return state

    async def give_up(self, job: str, *, now: float, error: str) -> None:
        """End a job whose message can't be sent; pictures not yet drawn are counted back to the person."""
        async with self._database.transaction() as transaction:
            row = await load(transaction, job)
            if row is not None and not row.state.ended:
                await close(transaction, row, JobState.DEAD, now=now, refund=True, error=error)
