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
from tests.bot.test_pruning import DAY, count
from tests.bot.workbench import ANN, ManualClock, Platform, working

REPLY = Reply(text="five pictures")
QUEUED = Queued(job="J1", position=1, pictures=1, eta_seconds=None, text="")


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
        assert await bench.jobs.arrivals.left("discord") == ()
    async with working(tmp_path) as bench:
        assert await bench.jobs.arrivals.left("discord") == ("first", "second")
        assert await bench.jobs.arrivals.left("discord") == ()
        assert await bench.jobs.arrivals.left("slack") == ("of another platform",)


async def test_nobody_takes_what_a_living_process_has_kept(tmp_path: Path) -> None:
    async with working(tmp_path) as first, working(tmp_path) as second:
        await first.jobs.arrivals.keep("discord", "1", "first")
        assert await second.jobs.arrivals.left("discord") == ()


async def test_a_command_that_ends_every_process_is_let_go_of(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.jobs.arrivals.keep("discord", "1", "deadly")
    for expected in (("deadly",), ("deadly",), (), ()):
        async with working(tmp_path) as bench:
            assert await bench.jobs.arrivals.left("discord") == expected
    assert count(tmp_path, "arrivals") == 0


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
        assert await bench.jobs.arrivals.left("discord") == ("a cat",)


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


async def test_what_no_adapter_asks_for_is_pruned(tmp_path: Path) -> None:
    clock = ManualClock()
    async with working(tmp_path, clock=clock) as bench:
        await bench.jobs.arrivals.keep("gone", "1", "a cat")
    clock.time += 40 * DAY
    async with working(tmp_path, clock=clock, history_days=30) as bench:
        await bench.follow((await bench.submit("a cat", who=ANN)).job, Platform())
        await bench.jobs.stop()
    assert count(tmp_path, "arrivals") == 0
