"""What watchers see: updates at their own speed, their place in the line, and how long it will take."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.chat import Delivery, Queued, Requester, Update, Working
from bot.errors import LimitError, NotFoundError
from bot.jobs import JobState
from bot.jobs.pace import Course, Pace
from engine.errors import EngineError
from engine.types import Layer, Progress, Refused, Stage
from tests.bot.workbench import ANN, BEN, Platform, kinds, working


class TestWatching:
    async def test_late_watchers_get_the_present_state_and_all_get_the_end(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            bench.engine.gate.clear()
            job = (await bench.submit("a", "b")).job
            first = asyncio.create_task(bench.follow(job))
            await bench.engine.begun.wait()
            second = asyncio.create_task(bench.follow(job))
            await asyncio.sleep(0)
            bench.engine.gate.set()
            early, late = await first, await second
            assert kinds(early) == ["queued", "working", "working", "delivery"]
            assert kinds(late) == ["working", "working", "delivery"]
            assert kinds(await bench.follow(job, Platform()))[-1] == "delivery"
            assert await bench.follow(job) == []

    async def test_a_slow_reader_misses_progress_and_nothing_else(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            bench.engine.endings["c"] = lambda index: Refused(index=index, layer=Layer.IMAGE)
            job = (await bench.submit("a", "b", "c", "d")).job
            watching = bench.jobs.watch(job)
            first = await anext(watching)
            await bench.follow(job)
            rest = [update async for update in watching]
        assert first.kind == "queued"
        assert kinds(rest) == ["refusal", "delivery"]

    async def test_pictures_that_nobody_waited_for_are_drawn_again_from_the_cache(self, tmp_path: Path) -> None:
        platform = Platform()
        async with working(tmp_path) as bench:
            job = (await bench.submit("a")).job
            await bench.follow(job)
            assert await bench.state(job) is JobState.RENDERED
            await bench.follow(job, platform)
            assert await bench.state(job) is JobState.DELIVERED
            assert [order.seeds_free for order in bench.engine.orders] == [True, False]
        assert platform.prompts() == ["a"]

    async def test_a_part_that_has_arrived_is_not_shown_to_later_watchers(self, tmp_path: Path) -> None:
        platform = Platform()
        async with working(tmp_path) as bench:
            bench.engine.faults["p10"] = EngineError("Gone.")
            bench.clock.awake.clear()
            job = (await bench.submit(*(f"p{number}" for number in range(12)))).job
            async for update in bench.jobs.watch(job):
                if isinstance(update, Delivery):
                    await bench.jobs.deliver(update, platform.send)
                    break
            await bench.clock.asleep.wait()
            late = bench.jobs.watch(job)
            assert (await anext(late)).kind == "working"
            await late.aclose()

    async def test_unknown_jobs_are_named(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            with pytest.raises(NotFoundError, match="nothing"):
                await bench.follow("nothing")
            assert await bench.jobs.get("nothing") is None

    async def test_an_id_may_be_typed_loosely(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            job = (await bench.submit("a")).job
            assert (await bench.row(f" {job.upper().replace('0', 'O').replace('1', 'l')} ")).id == job


class TestLine:
    async def test_position_and_waiting_time_are_told_whenever_they_change(self, tmp_path: Path) -> None:
        async with working(tmp_path, workers=1) as bench:
            bench.engine.gate.clear()
            await bench.submit("a")
            await bench.engine.begun.wait()
            await bench.submit("b", "c")
            third = (await bench.submit("d", who=BEN)).job
            watching = bench.jobs.watch(third)
            assert _position(await anext(watching)) == 2
            assert bench.jobs.waiting == 2
            assert bench.jobs.unfinished(ANN) == 2
            bench.engine.gate.set()
            positions = [_position(update) async for update in watching if isinstance(update, Queued)]
        assert positions == [0]

    async def test_a_long_line_is_told_in_a_moment_and_not_at_every_move(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("bot.jobs.workshop.LONG_LINE", 3)
        monkeypatch.setattr("bot.jobs.workshop.TELL_SECONDS", 0.0)
        async with working(tmp_path, workers=1) as bench:
            bench.engine.gate.clear()
            people = [Requester(platform="discord", id=f"p{number}") for number in range(12)]
            jobs = [(await bench.submit("a", who=who)).job for who in people]
            await bench.engine.begun.wait()
            watching = [bench.jobs.watch(job) for job in jobs[1:]]
            assert [_position(await anext(updates)) for updates in watching] == list(range(11))
            for updates in watching:
                await updates.aclose()

    async def test_the_waiting_time_follows_the_last_jobs(self, tmp_path: Path) -> None:
        async with working(tmp_path, workers=1) as bench:
            bench.engine.gate.clear()
            job = (await bench.submit("a", "b")).job
            await bench.engine.begun.wait()
            bench.clock.time += 8.0
            bench.engine.gate.set()
            await bench.follow(job)
            bench.engine.gate.clear()
            await bench.submit("c")
            waiting = (await bench.submit("d", who=BEN)).job
            update = await anext(bench.jobs.watch(waiting))
            assert isinstance(update, Queued)
            assert update.eta_seconds == 8.0
            assert "8 seconds" in update.text

    async def test_one_person_has_one_job_at_work_and_few_waiting(self, tmp_path: Path) -> None:
        async with working(tmp_path, workers=4, waiting_per_person=2, waiting=3) as bench:
            bench.engine.gate.clear()
            await bench.submit("a")
            await bench.engine.begun.wait()
            await bench.submit("b")
            await bench.submit("c")
            with pytest.raises(LimitError, match="You already have 2 jobs waiting"):
                await bench.submit("d")
            for who in ("w", "x", "y"):
                await bench.submit(who, who=Requester(platform="discord", id=who))
            for _ in range(4):
                await bench.engine.taken.acquire()
            assert [order.owner for order in bench.engine.orders] == [
                f"discord:{who}" for who in ("ann", "w", "x", "y")
            ]
            await bench.submit("z", who=BEN)
            with pytest.raises(LimitError, match="queue is full"):
                await bench.submit("z", who=Requester(platform="discord", id="z"))


def test_the_course_of_a_job_tells_what_is_left() -> None:
    pace = Pace()
    course = Course(2, pace)
    assert course.remaining(0.0) is None
    pace.measured(10.0)
    pace.measured(20.0)
    assert pace.mean == pytest.approx(13.0)
    assert course.remaining(0.0) == pytest.approx(26.0)
    course.came(Progress(index=0, stage=Stage.WARMING), 0.0)
    course.came(Progress(index=0, stage=Stage.DRAWING, step=1, steps=10), 100.0)
    course.came(Progress(index=0, stage=Stage.DRAWING, step=6, steps=10), 105.0)
    assert course.remaining(105.0) == pytest.approx(14.0)
    course.ended(0)
    course.ended(1)
    assert course.remaining(110.0) == 0.0


def _position(update: Update) -> int:
    assert isinstance(update, Queued)
    return update.position


async def test_a_picture_to_be_covered_has_no_preview(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        bench.engine.preview = b"\xff\xd8\xff"
        for spoiler, shown in ((False, bench.engine.preview), (True, None)):
            updates = await bench.follow((await bench.submit("a", spoiler=spoiler, seed=spoiler)).job)
            assert {update.preview for update in updates if isinstance(update, Working)} == {shown}


async def test_pictures_that_nobody_waits_for_are_not_kept_in_memory(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        job = (await bench.submit("a")).job
        await bench.engine.begun.wait()
        await asyncio.gather(*bench.jobs._workshop._tasks)
        assert bench.jobs._workshop.live(job) is None
        platform = Platform()
        assert kinds(await bench.follow(job, platform))[-1] == "delivery"
        assert platform.prompts() == ["a"]
