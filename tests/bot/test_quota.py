"""The quota: counted when asked, given back on failure, and never exceeded however many ask at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.chat import Role
from bot.errors import LimitError
from bot.jobs import JobState
from engine.types import Failed, Layer, Refused
from tests.bot.workbench import ANN, BEN, ELSEWHERE, HOME, OWNER, ManualClock, working

HALF_PAST_ELEVEN = 1_790_119_800.0
"""2026-09-22 23:30 UTC."""


async def test_pictures_count_when_they_are_asked_for(tmp_path: Path) -> None:
    async with working(tmp_path, daily_pictures=5) as bench:
        await bench.submit("a", "b")
        await bench.submit("c", place=ELSEWHERE)
        usage = await bench.quota.usage(ANN)
        assert (usage.used, usage.limit, usage.resets_in) == (3, 5, 12 * 3600)
        with pytest.raises(LimitError, match="2 are left of today's 5"):
            await bench.submit("d", "e", "f")
        assert await bench.used() == 3
        await bench.submit("d", "e")
        with pytest.raises(LimitError, match="5 pictures today, and the limit is 5; it starts anew in 12 hours"):
            await bench.submit("f")
        await bench.submit("g", who=BEN)


async def test_the_day_ends_at_midnight_utc(tmp_path: Path) -> None:
    clock = ManualClock(HALF_PAST_ELEVEN)
    async with working(tmp_path, clock=clock, daily_pictures=1) as bench:
        await bench.submit("a")
        with pytest.raises(LimitError, match="30 minutes"):
            await bench.submit("b")
        clock.time += 1801
        await bench.submit("b")


async def test_the_limit_holds_when_many_ask_at_once(tmp_path: Path) -> None:
    async with working(tmp_path, daily_pictures=7, waiting_per_person=1000, started=False) as bench:
        answers = await asyncio.gather(*(bench.submit("a") for _ in range(40)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, LimitError)]
        assert (len(answers) - len(refused), len(refused)) == (7, 33)
        assert await bench.used() == 7


async def test_the_limit_holds_between_processes(tmp_path: Path) -> None:
    async with (
        working(tmp_path, daily_pictures=7, waiting_per_person=99) as one,
        working(tmp_path, daily_pictures=7) as two,
    ):
        answers = await asyncio.gather(
            *(bench.submit("a") for _ in range(10) for bench in (one, two)), return_exceptions=True
        )
        assert sum(isinstance(answer, LimitError) for answer in answers) == 13
        assert await one.used() == await two.used() == 7


async def test_failed_pictures_are_given_back_and_refused_ones_are_not(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        bench.engine.endings = {
            "bad": lambda index: Refused(index=index, layer=Layer.KEYWORDS),
            "broken": lambda index: Failed(index=index, code="memory", sentence="Too big."),
        }
        job = (await bench.submit("good", "bad", "broken", "broken")).job
        await bench.follow(job)
        assert await bench.state(job) is JobState.RENDERED
        assert await bench.used() == 2


async def test_what_is_cancelled_before_it_began_is_given_back(tmp_path: Path) -> None:
    async with working(tmp_path, workers=1) as bench:
        bench.engine.gate.clear()
        running = (await bench.submit("a")).job
        await bench.engine.begun.wait()
        waiting = (await bench.submit("b", "c")).job
        assert await bench.jobs.cancel(waiting, ANN, HOME)
        assert await bench.used() == 1
        assert await bench.jobs.cancel(running, ANN, HOME)
        assert await bench.used() == 1


async def test_a_cooldown_keeps_commands_apart(tmp_path: Path) -> None:
    async with working(tmp_path, cooldown=30.0) as bench:
        await bench.submit("a")
        bench.clock.time += 10
        with pytest.raises(LimitError, match="Wait 20 seconds"):
            await bench.submit("b")
        await bench.submit("b", who=BEN)
        bench.clock.time += 20
        await bench.submit("b")
        bench.clock.time -= 86400  # somebody sets the machine's clock back
        await bench.submit("c")


async def test_operators_are_counted_and_never_stopped(tmp_path: Path) -> None:
    local = ANN.model_copy(update={"role": Role.OPERATOR})
    async with working(tmp_path, daily_pictures=1, cooldown=60.0) as bench:
        for _ in range(3):
            await bench.submit("a", "b", who=OWNER)
            await bench.submit("a", who=local)
        usage = await bench.quota.usage(OWNER)
        assert (usage.used, usage.limit) == (6, None)


async def test_zero_is_no_limit(tmp_path: Path) -> None:
    async with working(tmp_path, daily_pictures=0) as bench:
        await bench.submit(*"abcdefgh")
        usage = await bench.quota.usage(ANN)
        assert (usage.used, usage.limit) == (8, None)


async def test_a_failed_picture_is_given_back_once_however_often_its_job_is_taken_up(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        bench.engine.endings = {"b": lambda index: Failed(index=index, code="memory", sentence="Too big.")}
        job = (await bench.submit("a", "b", "c")).job
        await bench.follow(job)
        assert await bench.state(job) is JobState.RENDERED
        assert await bench.used() == 2
        await bench.follow(job)
        assert len(bench.engine.orders) == 2
        assert await bench.used() == 2
    async with working(tmp_path) as bench:
        bench.engine.gate.clear()
        await bench.jobs.recover("discord")
        assert await bench.jobs.cancel(job, ANN, HOME)
        assert await bench.used() == 2
