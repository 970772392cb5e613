"""Commands that were acknowledged outlive the process that did so, until they are answered."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from bot.adapters.base import settled
from bot.chat import Queued, Reply, Update
from bot.errors import LimitError
from bot.jobs import arrivals
from bot.store.arrivals import ArrivalTable
from tests.bot.test_pruning import count
from tests.bot.workbench import Bench, ManualClock, working

REPLY = Reply(text="five pictures")
QUEUED = Queued(job="J1", position=1, pictures=1, eta_seconds=None, text="")


async def left(bench: Bench, platform: str) -> list[str]:
    """What is left, in its adapter's writing."""
    return [arrival.asked for arrival in await bench.jobs.arrivals.left(platform)]


async def say(*updates: Update) -> AsyncGenerator[Update, None]:
    for update in updates:
        yield update


async def test_what_a_gone_process_kept_is_left_to_the_next_one(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.jobs.arrivals.keep("discord", "1", "first")
        bench.clock.time += 1
        await bench.jobs.arrivals.keep("discord", "2", "second")
        await bench.jobs.arrivals.keep("discord", "2", "the same event again")
        await bench.jobs.arrivals.keep("slack", "1", "of another platform")
        assert await left(bench, "discord") == []
    async with working(tmp_path) as bench:
        assert await left(bench, "discord") == ["first", "second"]
        assert await left(bench, "discord") == []
        assert await left(bench, "slack") == ["of another platform"]


async def test_nobody_takes_what_a_living_process_has_kept(tmp_path: Path) -> None:
    async with working(tmp_path) as first, working(tmp_path) as second:
        await first.jobs.arrivals.keep("discord", "1", "first")
        assert await left(second, "discord") == []


async def test_a_command_that_kills_every_process_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(tmp_path) as bench:
        await bench.jobs.arrivals.keep("discord", "1", "deadly")
    for _ in range(3):
        async with working(tmp_path) as bench:
            assert await left(bench, "discord") == ["deadly"], "a clean stop takes back its attempt"
    monkeypatch.setattr(ArrivalTable, "release", count_it)
    for expected in (["deadly"], ["deadly"], []):
        async with working(tmp_path) as bench:
            assert await left(bench, "discord") == expected
    assert count(tmp_path, "arrivals") == 0


async def count_it(_: ArrivalTable, runner: str) -> None:
    """What a process does that is killed: nothing is taken back."""
    assert runner


async def test_a_job_takes_the_place_of_its_command(tmp_path: Path) -> None:
    async with working(tmp_path, waiting_per_person=1, started=False) as bench:
        for event in ("1", "2"):
            await bench.jobs.arrivals.keep("discord", event, "a cat")
        await bench.submit("a cat", event="1")
        assert count(tmp_path, "arrivals") == 1
        with pytest.raises(LimitError):
            await bench.submit("a cat", event="2")
        assert count(tmp_path, "arrivals") == 1


@pytest.mark.parametrize(("updates", "rows"), [((), 0), ((REPLY,), 0), ((REPLY, REPLY), 0), ((QUEUED, REPLY), 1)])
async def test_an_answer_lets_go_of_its_command_and_a_queued_job_has_done_so(
    tmp_path: Path, updates: tuple[Update, ...], rows: int
) -> None:
    async with working(tmp_path) as bench:
        await bench.jobs.arrivals.keep("discord", "1", "a cat")
        shown = [update async for update in settled(say(*updates), bench.jobs.arrivals, "discord", "1")]
        assert shown == list(updates)
        assert count(tmp_path, "arrivals") == rows


async def test_an_answer_that_could_not_be_shown_is_given_by_the_next_process(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.jobs.arrivals.keep("discord", "1", "a cat")
        async with aclosing(settled(say(REPLY), bench.jobs.arrivals, "discord", "1")) as updates:
            assert await anext(updates) == REPLY
    async with working(tmp_path) as bench:
        assert await left(bench, "discord") == ["a cat"]


async def test_an_acknowledgement_does_not_wait_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "KEEP_SECONDS", 0.02)
    async with working(tmp_path) as bench:
        with closing(sqlite3.connect(tmp_path / "easel.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            await bench.jobs.arrivals.keep("discord", "1", "a cat")
            assert count(tmp_path, "arrivals") == 0
            other.rollback()
    assert count(tmp_path, "arrivals") == 1


async def test_a_disk_that_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        pass
    await bench.jobs.arrivals.keep("discord", "1", "a cat")  # the database is closed
    await bench.jobs.arrivals.settle("discord", "1")
    assert count(tmp_path, "arrivals") == 0


async def test_what_nobody_waits_for_any_more_is_forgotten(tmp_path: Path) -> None:
    clock = ManualClock()
    async with working(tmp_path, clock=clock) as bench:
        await bench.jobs.arrivals.keep("switched off", "1", "a cat")
        clock.time += 3_000
        await bench.jobs.arrivals.keep("discord", "1", "unban ada")
    clock.time += 3_000
    async with working(tmp_path, clock=clock) as bench:
        assert count(tmp_path, "arrivals") == 1
        clock.time += 3_000
    async with working(tmp_path, clock=clock) as bench:
        assert await left(bench, "discord") == []
    assert count(tmp_path, "arrivals") == 0


async def test_a_machine_stays_for_a_command_that_is_no_job_yet(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.jobs.arrivals.keep("discord", "1", "a cat")
        assert await bench.jobs.in_flight() == {"1"}
        await bench.jobs.arrivals.settle("discord", "1")
        assert await bench.jobs.in_flight() == frozenset()
