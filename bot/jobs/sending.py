"""Getting a finished message to its platform exactly once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from bot import messages
from bot.chat import Delivery
from bot.clock import Clock
from bot.errors import DeliveryError
from bot.store import Store
from bot.store.rows import JobState

MAX_ATTEMPTS = 3
BACKOFF_SECONDS = 2.0
"""Before the second attempt; each further one waits four times as long."""
LONGEST_PAUSE = 60.0
AWAY_SECONDS = 900.0
"""For which attempts don't count while the platform is away: nobody could be told that a picture was given up."""

Send = Callable[[Delivery], Awaitable[str]]
"""Sends a message, or finds the one that an earlier attempt sent; returns the platform's id of it."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Sender:
    """Two-phase delivery: what is about to be sent is written first, and its arrival after."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._busy: set[tuple[str, int]] = set()

    async def send(self, delivery: Delivery, send: Send, locale: str) -> JobState | None:
        """Send one message; returns the state of its job after that.

        None if there was nothing to do: the message has arrived, is being sent by somebody else, or its job has
        ended.

        Raises:
            DeliveryError: the platform takes the message neither now nor later, and the job is given up.
        """
        this = (delivery.job, delivery.part)
        if this in self._busy:
            return None
        self._busy.add(this)
        try:
            return await self._attempts(delivery, send, locale)
        finally:
            self._busy.discard(this)

    async def _attempts(self, delivery: Delivery, send: Send, locale: str) -> JobState | None:
        wait, begun, unheard = BACKOFF_SECONDS, self._clock.monotonic(), 0
        while True:
            attempt = await self._begin(delivery)
            if attempt is None:
                return None
            try:
                message = await send(delivery.model_copy(update={"attempt": attempt}))
            except DeliveryError as error:
                log.warning("delivery failed", part=delivery.part, attempt=attempt, reason=error.sentence)
                if error.permanent:
                    await self._give_up(delivery, error)
                    raise
                if error.away and self._clock.monotonic() - begun < AWAY_SECONDS:
                    unheard += 1
                elif attempt - unheard >= MAX_ATTEMPTS:
                    await self._give_up(delivery, error)
                    raise _undeliverable(delivery, attempt, locale) from error
            else:
                now = self._clock.now()
                log.info("delivered", part=delivery.part, message=message, attempt=attempt)
                return await self._store.deliveries.arrived(delivery.job, delivery.part, message, now=now)
            await self._clock.sleep(wait)
            wait = min(4 * wait, LONGEST_PAUSE)

    async def _begin(self, delivery: Delivery) -> int | None:
        now = self._clock.now()
        return await self._store.deliveries.begin(delivery.job, delivery.part, delivery.nonce, now=now)

    async def _give_up(self, delivery: Delivery, error: DeliveryError) -> None:
        await self._store.deliveries.give_up(delivery.job, now=self._clock.now(), error=error.sentence)


def _undeliverable(delivery: Delivery, attempts: int, locale: str) -> DeliveryError:
    show = f"/show {delivery.job}"
    sentence = messages.say("failure.undeliverable", locale, job=delivery.job, attempts=attempts, show=show)
    return DeliveryError(sentence, permanent=True)
