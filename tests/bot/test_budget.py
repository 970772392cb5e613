"""What GPUs cost, and what happens when the month's money is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.chat import Failure
from bot.jobs import JobState
from engine.errors import BudgetSpentError
from engine.types import Cached, Cost, Event, Failed, Image, Layer, Refused, ResolvedRequest
from tests.bot.workbench import ELSEWHERE, HOME, NOON, Bench, ManualClock, Painter, Platform, working

COST = Cost(gpu="A10", gpu_seconds=3.0, idle_seconds=1.0, dollars=0.4)


class Rented(Painter):
    """Draws on rented GPUs, keeps what it drew, and answers from that where only hits are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: set[str] = set()

    def _end(self, index: int, request: ResolvedRequest) -> Event:
        event = super()._end(index, request)
        if not isinstance(event, Image):
            return event
        key = f"{abs(hash(request.prompt)):064x}"
        hit = key in self.kept
        if self.orders[-1].hits_only and not hit:
            error = BudgetSpentError()
            return Failed(index=index, code=error.code, sentence=error.sentence)
        self.kept.add(key)
        values: dict[str, Any] = {"generation_key": key, "cached": Cached.FINISHED if hit else Cached.NONE}
        return event.model_copy(update=values | {"cost": None if hit else COST})


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


async def test_a_withheld_picture_has_cost_its_money(tmp_path: Path) -> None:
    engine = Rented()
    engine.endings["apple"] = lambda index: Refused(index=index, layer=Layer.IMAGE, cost=COST)
    async with working(tmp_path, engine=engine) as bench:
        await draw(bench, "apple")
        assert (await bench.jobs.budget.expenses(None)).spent == 0.4


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
