"""The operator's money: what GPUs cost this month, and whether there is any left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot import messages
from bot.clock import Clock, SystemClock
from bot.settings import Settings
from bot.store import Store
from bot.store.costs import month_of
from engine.rental import price_of
from engine.types import Value

FIRST_SECONDS = 30.0
"""What a month's first picture is taken to need of a GPU beside the wait that comes after it."""


class Expenses(Value):
    """Dollars of this month (UTC), by the engine's own estimates."""

    spent: float
    """In the scope that was asked for."""
    saved: float
    """By the cache, there."""
    spent_in_all: float
    budget: float | None
    """None is no limit."""

    @property
    def of_interest(self) -> bool:
        """Whether there is anything to say: nobody rents GPUs otherwise."""
        return self.budget is not None or self.spent_in_all > 0 or self.saved > 0

    def sentence(self, locale: str) -> str:
        """All of it in one sentence."""
        spent, saved = messages.dollars(self.spent), messages.dollars(self.saved)
        if self.budget is None:
            return messages.say("cost.month", locale, spent=spent, saved=saved)
        in_all, budget = messages.dollars(self.spent_in_all), messages.dollars(self.budget)
        key = "cost.budget" if self.spent_in_all < self.budget else "cost.budget_spent"
        return messages.say(key, locale, spent=spent, saved=saved, in_all=in_all, budget=budget)


class Budget:
    """Adds up what pictures cost, and says when that is enough."""

    def __init__(self, store: Store, settings: Settings, *, clock: Clock | None = None) -> None:
        self._store = store
        self._budget = settings.monthly_budget
        self._clock = clock or SystemClock()
        self._promised = 0
        """Pictures that are being drawn, and of which nobody knows yet what they cost."""
        rental = settings.modal
        dearest = max(price_of(gpu, rental) for gpu in rental.gpus) if settings.engine == "modal" else 0.0
        self._first_cost = dearest * (rental.scaledown_window + FIRST_SECONDS) / 3600

    async def expenses(self, scope: str | None) -> Expenses:
        """This month's, of a community; None is all together."""
        month = month_of(self._clock.now())
        here = await self._store.costs.spending(scope, month)
        everywhere = here if scope is None else await self._store.costs.spending(None, month)
        return Expenses(spent=here.spent, saved=here.saved, spent_in_all=everywhere.spent, budget=self._budget)

    @asynccontextmanager
    async def drawing(self, pictures: int) -> AsyncIterator[bool]:
        """Around the drawing of pictures; tells whether the month's money is spent, so that they may cost nothing.

        What others are drawing counts at this month's average: many who ask at once don't all find the same money.
        """
        ahead = self._promised
        self._promised += pictures
        try:
            yield await self._is_spent(ahead)
        finally:
            self._promised -= pictures

    async def _is_spent(self, promised: int) -> bool:
        if self._budget is None:
            return False
        month = await self._store.costs.spending(None, month_of(self._clock.now()))
        average = month.spent / month.drawn if month.drawn else self._first_cost
        return month.spent + promised * average >= self._budget
