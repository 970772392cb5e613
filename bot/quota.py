"""How much a person may ask for: pictures a UTC day, and a pause between commands."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from bot import messages
from bot.chat import Requester, Role
from bot.clock import Clock, SystemClock, utc_day
from bot.errors import LimitError
from bot.settings import Settings
from bot.store import Store
from bot.store.rows import Figures
from engine.types import Value


class Usage(Value):
    """What a person has used of today's pictures."""

    used: int
    limit: int | None
    """None is no limit."""
    resets_in: float
    """Seconds until the next UTC day."""


class Quota:
    """Counts by person over all communities; operators are counted, but never stopped."""

    def __init__(self, store: Store, settings: Settings, *, clock: Clock | None = None) -> None:
        self._store = store
        self._limit = settings.daily_pictures
        self._cooldown = settings.cooldown
        self._operators = frozenset(settings.operators)
        self._clock = clock or SystemClock()

    async def usage(self, requester: Requester) -> Usage:
        """What a person has used today, and what they may use."""
        now = self._clock.now()
        limit = None if self._limit == 0 or self._is_exempt(requester) else self._limit
        used = await self._store.people.used(requester.key, utc_day(now))
        return Usage(used=used, limit=limit, resets_in=_until_tomorrow(now))

    def judge(self, requester: Requester, pictures: int, figures: Figures) -> None:
        """Compare a new job with the figures that were read in the transaction which will charge it.

        Raises:
            LimitError: it would exceed the day's pictures, or comes too soon after the last one.
        """
        if self._is_exempt(requester):
            return
        now = self._clock.now()
        self._judge_cooldown(figures, now, requester.locale)
        if self._limit == 0 or figures.used_today + pictures <= self._limit:
            return
        left = self._limit - figures.used_today
        again = messages.duration(_until_tomorrow(now), requester.locale)
        if left <= 0:
            sentence = messages.say(
                "limit.daily", requester.locale, used=figures.used_today, limit=self._limit, duration=again
            )
        else:
            sentence = messages.say(
                "limit.daily_batch", requester.locale, asked=pictures, left=left, limit=self._limit, duration=again
            )
        raise LimitError(sentence)

    def _is_exempt(self, requester: Requester) -> bool:
        return requester.role is Role.OPERATOR or requester.key in self._operators

    def _judge_cooldown(self, figures: Figures, now: float, locale: str) -> None:
        # A clock that was set back must not lock anybody out, so a command from the future counts as long ago.
        since = math.inf if figures.last_asked is None else now - figures.last_asked
        if 0 <= since < self._cooldown:
            wait = messages.duration(self._cooldown - since, locale)
            raise LimitError(messages.say("limit.cooldown", locale, duration=wait))


def _until_tomorrow(now: float) -> float:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp() - now
