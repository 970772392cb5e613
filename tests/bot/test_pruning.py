from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.bot.workbench import ManualClock, Platform, working

DAY = 86_400.0


def count(home: Path, table: str) -> int:
    with closing(sqlite3.connect(home / "easel.db")) as database:
        (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        return int(rows)


async def test_old_jobs_and_counts_are_forgotten_after_the_operators_days(tmp_path: Path) -> None:
    clock = ManualClock()
    async with working(tmp_path, clock=clock, history_days=30) as bench:
        await bench.follow((await bench.submit("a cat")).job, Platform())
        clock.time += 20 * DAY
        young = (await bench.submit("a dog")).job
        await bench.follow(young, Platform())
        assert count(tmp_path, "jobs") == 2
        clock.time += 20 * DAY
        await bench.submit("a cow")
        await bench.jobs.stop()
        assert [job is not None for job in [await bench.jobs.get(young)]] == [True]
        assert count(tmp_path, "jobs") == 2
        assert count(tmp_path, "pictures") == 2
        assert count(tmp_path, "usage") == 2


async def test_what_is_in_flight_is_never_pruned(tmp_path: Path) -> None:
    clock = ManualClock()
    async with working(tmp_path, clock=clock, started=False, history_days=1) as bench:
        waiting = (await bench.submit("a cat")).job
        clock.time += 90 * DAY
        await bench.submit("a dog")
        await bench.jobs.stop()
        assert await bench.jobs.get(waiting) is not None


async def test_everything_is_kept_unless_the_operator_says_otherwise(tmp_path: Path) -> None:
    clock = ManualClock()
    async with working(tmp_path, clock=clock) as bench:
        await bench.follow((await bench.submit("a cat")).job, Platform())
        clock.time += 4000 * DAY
        await bench.submit("a dog")
        await bench.jobs.stop()
        assert count(tmp_path, "jobs") == 2


async def test_many_jobs_go_in_several_steps(tmp_path: Path) -> None:
    clock = ManualClock()
    async with working(tmp_path, clock=clock, started=False, waiting_per_person=1000) as bench:
        for _ in range(5):
            job = (await bench.submit("a cat")).job
            await bench.store.jobs.cancel(job, now=clock.time)
        clock.time += 10 * DAY
        assert await bench.store.removal.prune(before=clock.time - DAY, before_day="2026-10-01") == 5
        assert count(tmp_path, "usage") == 0
