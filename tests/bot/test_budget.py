"""What GPUs cost, and what happens when the month's money is spent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bot.budget import Budget
from bot.chat import Failure, Requester
from bot.jobs import JobState
from bot.settings import Settings
from bot.store import Store
from engine.errors import BudgetSpentError
from engine.types import Cached, Cost, Event, Failed, Image, Layer, Order, Refused
from tests.bot.workbench import ELSEWHERE, HOME, NOON, Bench, ManualClock, Painter, Platform, working

COST = Cost(gpu="A10", gpu_seconds=3.0, idle_seconds=1.0, dollars=0.4)


class Rented(Painter):
    """Draws on rented GPUs, keeps what it drew, and answers from that where only hits are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: set[str] = set()

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Follow the script, for money where it must be."""
        async for event in super().generate(order):
            yield self._paid(order, event) if isinstance(event, Image) else event

    def _paid(self, order: Order, image: Image) -> Event:
        key = f"{abs(hash(image.request.prompt)):064x}"
        hit = key in self.kept
        if order.hits_only and not hit:
            error = BudgetSpentError()
            return Failed(index=image.index, code=error.code, sentence=error.sentence)
        self.kept.add(key)
        values: dict[str, Any] = {"generation_key": key, "cached": Cached.FINISHED if hit else Cached.NONE}
        return image.model_copy(update=values | {"cost": None if hit else COST})


async def draw(bench: Bench, *prompts: str, **options: Any) -> str:
    submitted = await bench.submit(*prompts, **options)
    await bench.follow(submitted.job, Platform())
    return submitted.job


async def test_costs_and_savings_are_added_up_by_community_and_month(tmp_path: Path) -> None:
    async with working(tmp_path, engine=Rented()) as bench:
        await draw(bench, "apple", "pear")
        await draw(bench, "apple")
        await draw(bench, "pear", place=ELSEWHERE)
        here = await bench.jobs.budget.expenses(HOME.scope)
        assert (here.spent, round(here.saved, 6)) == (0.8, 0.3), "what the work had cost, without the wait"
        there = await bench.jobs.budget.expenses(ELSEWHERE.scope)
        assert (there.spent, round(there.saved, 6), there.spent_in_all) == (0.0, 0.3, 0.8)
        everywhere = await bench.jobs.budget.expenses(None)
        assert (everywhere.spent, round(everywhere.saved, 6)) == (0.8, 0.6)
        bench.clock.time += 40 * 86_400
        assert (await bench.jobs.budget.expenses(None)).spent == 0.0


async def test_a_spent_budget_leaves_the_cache_and_counts_nothing_against_the_person(tmp_path: Path) -> None:
    async with working(tmp_path, engine=Rented(), monthly_budget=0.4) as bench:
        await draw(bench, "apple")
        assert await bench.state(await draw(bench, "apple")) is JobState.DELIVERED
        used = await bench.used()
        job = (await bench.submit("pear")).job
        updates = await bench.follow(job)
        (failure,) = [update for update in updates if isinstance(update, Failure)]
        assert "budget" in failure.text
        assert await bench.state(job) is JobState.FAILED
        assert await bench.used() == used
        bench.clock.time += 40 * 86_400
        assert await bench.state(await draw(bench, "pear")) is JobState.DELIVERED


async def test_many_who_ask_at_once_don_t_all_find_the_same_money(tmp_path: Path) -> None:
    """What others are having drawn counts as if it were paid, at the month's average."""
    engine = Rented()
    async with working(tmp_path, engine=engine, monthly_budget=2.0, workers=20) as bench:
        await draw(bench, "first")
        engine.gate.clear()
        people = [Requester(platform="discord", id=f"person{n}") for n in range(15)]
        jobs = [(await bench.submit(f"prompt {n}", who=who)).job for n, who in enumerate(people)]
        for _ in range(1 + len(jobs)):
            await engine.taken.acquire()
        engine.gate.set()
        for job in jobs:
            await bench.follow(job, Platform())
        assert [order.hits_only for order in engine.orders[1:16]] == [False] * 4 + [True] * 11
        assert (await bench.jobs.budget.expenses(None)).spent == pytest.approx(2.0)


async def test_before_a_month_s_first_picture_a_gpu_s_start_is_reckoned_with(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, engine="modal", monthly_budget=0.05)
    async with Store.open(settings.database) as store, AsyncExitStack() as drawing:
        budget = Budget(store, settings)
        spent = [await drawing.enter_async_context(budget.drawing(1)) for _ in range(4)]
        assert spent == [False, False, True, True]
        await drawing.aclose()
        async with budget.drawing(1) as spent_again:
            assert not spent_again, "the others ended, and cost nothing"


async def test_a_withheld_picture_has_cost_its_money(tmp_path: Path) -> None:
    engine = Rented()
    engine.endings["apple"] = lambda index: Refused(index=index, layer=Layer.IMAGE, cost=COST)
    async with working(tmp_path, engine=engine) as bench:
        await draw(bench, "apple")
        assert (await bench.jobs.budget.expenses(None)).spent == 0.4


async def test_a_picture_that_failed_once_it_was_drawn_has_cost_its_money_each_time(tmp_path: Path) -> None:
    """Otherwise a broken check of pictures would draw for ever, and the budget would never know."""
    engine = Rented()
    engine.endings["apple"] = lambda index: Failed(index=index, code="safety", sentence="It can't load.", cost=COST)
    engine.endings["pear"] = lambda index: Failed(index=index, code="internal", sentence="A fault.", cost=COST)
    async with working(tmp_path, engine=engine) as bench:
        await draw(bench, "apple")
        assert (await bench.jobs.budget.expenses(None)).spent == 0.4
        await draw(bench, "pear")
        assert (await bench.jobs.budget.expenses(None)).spent == pytest.approx(1.6), "three attempts"


async def test_a_picture_that_is_fetched_again_after_a_restart_saves_nothing(tmp_path: Path) -> None:
    engine = Rented()
    async with working(tmp_path, engine=engine) as bench:
        job = (await bench.submit("apple")).job
        await bench.follow(job)  # drawn, but nobody takes it
    async with working(tmp_path, engine=engine, clock=ManualClock(NOON + 60)) as bench:
        await bench.jobs.recover("discord")
        await bench.follow(job, Platform())
        assert len(engine.orders) == 2
        expenses = await bench.jobs.budget.expenses(None)
        assert (expenses.spent, expenses.saved) == (0.4, 0.0)


async def test_without_rented_gpus_nothing_is_said(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await draw(bench, "apple")
        assert not (await bench.jobs.budget.expenses(None)).of_interest


async def test_the_sentences(tmp_path: Path) -> None:
    async with working(tmp_path, engine=Rented(), monthly_budget=1.0) as bench:
        budget = bench.jobs.budget
        await draw(bench, "apple")
        assert (await budget.expenses(HOME.scope)).sentence("en") == (
            "GPUs this month: $0.400 spent, $0.00 saved by the cache; in all $0.400 of the budget of $1.00."
        )
        await draw(bench, "pear")
        await draw(bench, "plum")
        assert "is spent" in (await budget.expenses(HOME.scope)).sentence("en")
