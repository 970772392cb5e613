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


class Limits(Value):
    """What a community adds to the operator's limits; 0 is no limit."""

    person: int = 0
    """Pictures a day of one person there."""
    community: int = 0
    """Pictures a day of all its people together."""


NO_LIMITS = Limits()


class Usage(Value):
    """What a person has used of today's pictures, by the limit that leaves them the fewest."""

    used: int
    limit: int | None
    """None is no limit."""
    resets_in: float
    """Seconds until the next UTC day."""


class Quota:
    """Counts by person over all communities and by community; operators are counted, but never stopped."""

    def __init__(self, store: Store, settings: Settings, *, clock: Clock | None = None) -> None:
        self._store = store
        self._limit = settings.daily_pictures
        self._community_limit = settings.community_pictures
        self._cooldown = settings.cooldown
        self._operators = frozenset(settings.operators)
        self._clock = clock or SystemClock()

    async def usage(self, requester: Requester, scope: str | None = None, limits: Limits = NO_LIMITS) -> Usage:
        """What a person has used today, and what they may use; with a `scope`, by that community's limits too."""
        now = self._clock.now()
        used = await self._store.people.used(requester.key, utc_day(now))
        pairs = [(used, self._limit)]
        if scope is not None and limits.person:
            pairs.append((await self._store.people.used(requester.key, utc_day(now), scope), limits.person))
        bounded = [] if self._is_exempt(requester) else [(used, limit) for used, limit in pairs if limit]
        shown = min(bounded, key=lambda pair: pair[1] - pair[0], default=(used, None))
        return Usage(used=shown[0], limit=shown[1], resets_in=_until_tomorrow(now))

    def judge(self, requester: Requester, pictures: int, figures: Figures, limits: Limits = NO_LIMITS) -> None:
        """Compare a new job with the figures that were read in the transaction which will charge it.

        Raises:
            LimitError: it would exceed the day's pictures, or comes too soon after the last one.
        """
        if self._is_exempt(requester):
            return
        now = self._clock.now()
        self._judge_cooldown(figures, now, requester.locale)
        communal = min((limit for limit in (self._community_limit, limits.community) if limit), default=0)
        for kind, used, limit in (
            ("daily", figures.used_today, self._limit),
            ("daily_here", figures.used_here, limits.person),
            ("community", figures.used_by_community, communal),
        ):
            if limit and pictures and used + pictures > limit:
                raise LimitError(_exceeded(kind, used, limit, pictures, requester.locale, now))

    def _is_exempt(self, requester: Requester) -> bool:
        return requester.role is Role.OPERATOR or requester.key in self._operators

    def _judge_cooldown(self, figures: Figures, now: float, locale: str) -> None:
        # A clock that was set back must not lock anybody out, so a command from the future counts as long ago.
        since = math.inf if figures.last_asked is None else now - figures.last_asked
        if 0 <= since < self._cooldown:
            wait = messages.duration(self._cooldown - since, locale)
            raise LimitError(messages.say("limit.cooldown", locale, duration=wait))


def _exceeded(kind: str, used: int, limit: int, asked: int, locale: str, now: float) -> str:
    """The sentence on a day's limit that a job doesn't fit into any more."""
    again = messages.duration(_until_tomorrow(now), locale)
    if used >= limit:
        return messages.say(f"limit.{kind}", locale, used=used, limit=limit, duration=again)
    return messages.say(f"limit.{kind}_batch", locale, asked=asked, left=limit - used, limit=limit, duration=again)


def _until_tomorrow(now: float) -> float:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp() - now
