"""Life after the end of a process: stopped, or killed in the middle of drawing or sending."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.chat import Delivery, Refusal, Requester
from bot.errors import DatabaseError, DeliveryError
from bot.jobs import JobState, PictureState
from bot.jobs.runner import Runner
from engine.errors import EngineError, GenerationCancelled
from engine.types import Cancelled, Event, Failed, Layer, Order, Progress, Refused, Stage
from tests.bot.crashing_bot import post, posted
from tests.bot.workbench import ANN, HOME, NOON, ManualClock, Painter, Platform, kinds, working
from tests.fakes.engine_client import Ending

ROOT = Path(__file__).parents[2]
LOCAL = HOME.model_copy(update={"platform": "cli", "workspace": "local"})


def kill_in_the_middle_of(where: str, home: Path) -> None:
    """Run a bot in a process of its own until it is there, and kill it as nothing can prepare for."""
    command = [sys.executable, str(ROOT / "tests" / "bot" / "crashing_bot.py"), str(home), where]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line == "ready\n":
                    break
            assert process.poll() is None
        finally:
            process.kill()


async def lose(home: Path, *prompts: str, clock: ManualClock | None = None) -> str:
    """A job that a process left in the middle of drawing; returns its id."""
    async with working(home, clock=clock) as bench:
        bench.engine.gate.clear()
        job = (await bench.submit(*prompts)).job
        await bench.engine.begun.wait()
    return job


@pytest.mark.parametrize("where", ["drawing", "sending"])
async def test_a_job_of_a_killed_process_is_delivered_once(tmp_path: Path, where: str) -> None:
    await asyncio.to_thread(kill_in_the_middle_of, where, tmp_path)
    before = len(posted(tmp_path))
    attempts = []

    async def send(delivery: Delivery) -> str:
        attempts.append(delivery.attempt)
        return post(tmp_path, delivery)

    async with working(tmp_path) as bench:
        (recovered,) = await bench.jobs.recover("discord")
        assert (recovered.requester, recovered.place, recovered.reply_to) == (ANN, HOME, "reply")
        async for update in bench.jobs.watch(recovered.job):
            if isinstance(update, Delivery):
                await bench.jobs.deliver(update, send)
        row = await bench.row(recovered.job)
        assert row.state is JobState.DELIVERED
        assert row.deliveries[0].message_id == "message-0"
        assert await bench.used() == 2
        assert await bench.jobs.recover("discord") == ()
    assert before == (1 if where == "sending" else 0)
    assert attempts == ([2] if where == "sending" else [1])
    assert [line.split()[1:] for line in posted(tmp_path)] == [["apple", "pear"]]


async def test_stopping_puts_running_jobs_back_and_loses_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    async with working(tmp_path, workers=1) as bench:
        bench.engine.gate.clear()
        running = (await bench.submit("a")).job
        await bench.engine.begun.wait()
        waiting = (await bench.submit("b")).job
        watching = asyncio.create_task(bench.follow(running))
        await asyncio.sleep(0)
        await bench.jobs.stop()
        # The watcher is let go without a last word: the job is not over.
        assert kinds(await watching)[-1] == "working"
        row = await bench.row(running)
        assert (row.state, row.attempts) == (JobState.QUEUED, 0)
        late = (await bench.submit("c")).job
        assert await bench.follow(late) == []
        await bench.jobs.stop()
    assert time.monotonic() - began < 10
    assert list((tmp_path / "run").iterdir()) == []
    platform = Platform()
    async with working(tmp_path) as bench:
        recovered = await bench.jobs.recover("discord")
        assert [job.job for job in recovered] == [running, waiting, late]
        for job in recovered:
            await bench.follow(job.job, platform)
        assert await bench.used() == 3
    assert platform.prompts() == ["a", "b", "c"]


class Obstinate(Painter):
    """Answers a stop in ways that a careless engine might."""

    def __init__(self, answer: Exception | Event) -> None:
        super().__init__()
        self.answer = answer

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Wait for the stop, and answer it."""
        try:
            yield Progress(index=0, stage=Stage.DRAWING, step=1, steps=2)
            self.begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if isinstance(self.answer, Exception):
                raise self.answer from None
            yield self.answer


@pytest.mark.parametrize("answer", [GenerationCancelled(), RuntimeError("no loop"), Cancelled(index=0)])
async def test_an_engine_that_answers_a_stop_in_its_own_way_costs_no_job(
    tmp_path: Path, answer: Exception | Event
) -> None:
    async with working(tmp_path, engine=Obstinate(answer)) as bench:
        job = (await bench.submit("a")).job
        await bench.engine.begun.wait()
        await bench.jobs.stop()
        assert await bench.state(job) is JobState.QUEUED


async def test_an_engine_that_never_lets_go_does_not_hold_up_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(Painter):
        async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
            yield Progress(index=0, stage=Stage.DRAWING, step=1, steps=2)
            self.begun.set()
            while not self.gate.is_set():
                with suppress(asyncio.CancelledError):
                    await self.gate.wait()

    monkeypatch.setattr("bot.jobs.workshop.STOP_SECONDS", 0.05)
    engine = Stuck()
    engine.gate.clear()
    async with working(tmp_path, engine=engine) as bench:
        job = (await bench.submit("a")).job
        await engine.begun.wait()
        await bench.jobs.stop()
        assert await bench.state(job) is JobState.QUEUED
        engine.gate.set()
        await asyncio.sleep(0)
        assert await bench.state(job) is JobState.QUEUED


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_every_job_ends_and_every_picture_is_paid_for_once(tmp_path: Path, seed: int) -> None:
    """A busy day: many people, faults, cancellations, restarts."""
    chance = random.Random(seed)
    platform, jobs = Platform(), dict[str, Requester]()
    people = [Requester(platform="discord", id=name) for name in "abcdef"]
    clock = ManualClock()
    endings: dict[str, Ending] = {
        "refused": lambda index: Refused(index=index, layer=Layer.KEYWORDS),
        "broken": lambda index: Failed(index=index, code="memory", sentence="Too big."),
    }
    for _ in range(3):
        async with working(tmp_path, clock=clock, daily_pictures=0, workers=3, waiting_per_person=99) as bench:
            bench.engine.endings.update(endings)
            bench.engine.faults_by_order = [EngineError("Gone.") for _ in range(chance.randint(0, 4))]
            platform.faults = [DeliveryError("Busy.") for _ in range(chance.randint(0, 2))]
            follows = [
                asyncio.create_task(bench.follow(job.job, platform)) for job in await bench.jobs.recover("discord")
            ]
            for _ in range(6):
                who = chance.choice(people)
                prompts = chance.choices(["good", "refused", "broken"], weights=[8, 1, 1], k=chance.choice([1, 2, 11]))
                job = (await bench.submit(*prompts, who=who)).job
                jobs[job] = who
                follows.append(asyncio.create_task(bench.follow(job, platform)))
                if chance.random() < 0.3:
                    await bench.jobs.cancel(*chance.choice(list(jobs.items())), HOME)
            await asyncio.wait(follows, timeout=chance.choice([0.0, 0.1]))
            await bench.jobs.stop()
            await asyncio.gather(*follows)
    async with working(tmp_path, clock=clock, workers=3) as bench:
        for recovered in await bench.jobs.recover("discord"):
            await bench.follow(recovered.job, platform)
        rows = [await bench.row(job) for job in jobs]
        assert all(row.state.ended for row in rows)
        for who in people:
            states = Counter(picture.state for row in rows if row.requester == who for picture in row.pictures)
            due = states[PictureState.RENDERED] + states[PictureState.REFUSED]
            assert due <= await bench.used(who) <= due + states[PictureState.CANCELLED]
    sent = {(row.id, delivery.part) for row in rows for delivery in row.deliveries if delivery.delivered}
    assert sent == {(message.job, message.part) for message in platform.messages.values()}


async def test_what_ended_before_a_crash_is_told_and_not_drawn_again(tmp_path: Path) -> None:
    platform = Platform()
    job = await lose(tmp_path, "a", "b", "c")
    async with working(tmp_path, started=False) as bench:
        (row,) = await bench.store.recovery.adopt("discord", (await bench.row(job)).runner, "gone", now=NOON)
        await bench.store.jobs.begin(job, "gone", now=NOON)
        ended = (
            row.pictures[0].model_copy(update={"state": PictureState.RENDERED, "seed": 99}),
            row.pictures[1].model_copy(update={"state": PictureState.REFUSED, "layer": Layer.KEYWORDS}),
        )
        for picture in ended:
            await bench.store.jobs.picture_ended(job, "gone", picture)
    async with working(tmp_path) as bench:
        await bench.jobs.recover("discord")
        updates = await bench.follow(job, platform)
    (order,) = bench.engine.orders
    assert [(request.prompt, request.seed) for request in order.requests] == [("a", 99), ("c", 7)]
    assert not order.seeds_free
    assert [update.index for update in updates if isinstance(update, Refusal)] == [1]
    assert platform.prompts() == ["a", "c"]


async def test_parts_that_had_arrived_are_not_sent_again(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        updates = await bench.follow((await bench.submit(*(f"p{number}" for number in range(12)))).job)
        first, _ = [update for update in updates if isinstance(update, Delivery)]
        await bench.jobs.deliver(first, platform.send)
    async with working(tmp_path) as bench:
        (recovered,) = await bench.jobs.recover("discord")
        await bench.follow(recovered.job, platform)
        assert await bench.state(recovered.job) is JobState.DELIVERED
        assert [request.prompt for request in bench.engine.orders[0].requests] == ["p10", "p11"]
    assert platform.calls == [(1, 1), (2, 1)]


async def test_a_last_attempt_at_sending_is_made_after_a_crash_and_then_given_up(tmp_path: Path) -> None:
    platform = Platform(faults=[DeliveryError("Busy.")])
    async with working(tmp_path) as bench:
        job = (await bench.submit("a")).job
        await bench.follow(job)
        for _ in range(3):
            await bench.store.deliveries.begin(job, 1, "nonce", now=NOON)
    async with working(tmp_path) as bench:
        await bench.jobs.recover("discord")
        with pytest.raises(DeliveryError):
            await bench.follow(job, platform)
        assert await bench.state(job) is JobState.DEAD
    assert platform.calls == [(1, 4)]


async def test_a_job_that_ends_every_process_is_given_up(tmp_path: Path) -> None:
    async with working(tmp_path, started=False) as bench:
        job = (await bench.submit("a")).job
        runner = (await bench.row(job)).runner
        for number in range(3):
            await bench.store.jobs.begin(job, runner, now=NOON)
            await bench.store.recovery.adopt("discord", runner, f"gone{number}", now=NOON)
            runner = f"gone{number}"
    async with working(tmp_path) as bench:
        await bench.jobs.recover("discord")
        updates = await bench.follow(job)
        assert (kinds(updates)[-1], await bench.state(job)) == ("failure", JobState.DEAD)
        assert "ended three times" in updates[-1].text  # type: ignore[union-attr]
        assert bench.engine.orders == []
        assert await bench.used() == 0


async def test_jobs_of_a_living_process_and_of_other_platforms_are_left_alone(tmp_path: Path) -> None:
    async with working(tmp_path) as bench, working(tmp_path) as other:
        bench.engine.gate.clear()
        job = (await bench.submit("a")).job
        await bench.engine.begun.wait()
        assert await other.jobs.recover("discord") == ()
        assert await other.jobs.abandon("discord") == ()
        assert await other.follow(job) == []
        assert await bench.state(job) is JobState.RUNNING
    async with working(tmp_path) as bench:
        assert await bench.jobs.recover("slack") == ()
        assert [recovered.job for recovered in await bench.jobs.recover("discord")] == [job]


async def test_two_processes_that_recover_at_once_share_no_job(tmp_path: Path) -> None:
    jobs = [await lose(tmp_path, "a") for _ in range(3)]
    async with working(tmp_path) as one, working(tmp_path) as two:
        both = await asyncio.gather(one.jobs.recover("discord"), two.jobs.recover("discord"))
        again = (*await one.jobs.recover("discord"), *await two.jobs.recover("discord"))
        assert sorted(job.job for job in (*both[0], *both[1], *again)) == sorted(jobs)


async def test_orphans_of_a_one_shot_platform_are_cancelled_and_given_back(tmp_path: Path) -> None:
    async with working(tmp_path, workers=1) as bench:
        bench.engine.gate.clear()
        running = (await bench.submit("a", "b", place=LOCAL)).job
        await bench.engine.begun.wait()
        kept = (await bench.submit("c")).job
    async with working(tmp_path) as bench:
        assert await bench.jobs.abandon("cli") == (running,)
        assert await bench.state(running) is JobState.CANCELLED
        assert await bench.used() == 1
        assert await bench.jobs.abandon("cli") == ()
        assert [recovered.job for recovered in await bench.jobs.recover("discord")] == [kept]


async def test_a_refusal_before_the_crash_is_still_told_after_it(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        bench.engine.endings["a"] = lambda index: Refused(index=index, layer=Layer.IMAGE)
        job = (await bench.submit("a")).job
        before = await bench.follow(job)
    async with working(tmp_path) as bench:
        assert await bench.follow(job) == before[-1:]
        assert await bench.jobs.recover("discord") == ()


async def test_a_disk_that_fills_up_while_drawing_is_told_and_the_job_goes_on_later(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        bench.engine.gate.clear()
        job = (await bench.submit("a")).job
        await bench.engine.begun.wait()
        await bench.store._database._writing.execute_fetchall("PRAGMA query_only = ON")
        bench.engine.gate.set()
        updates = await bench.follow(job)
        assert kinds(updates)[-1] == "failure"
        await bench.store._database._writing.execute_fetchall("PRAGMA query_only = OFF")
    async with working(tmp_path) as bench:
        (recovered,) = await bench.jobs.recover("discord")
        assert kinds(await bench.follow(recovered.job, Platform()))[-1] == "delivery"


def test_a_runner_is_seen_gone_only_when_it_is(tmp_path: Path) -> None:
    one, two = Runner(tmp_path / "run"), Runner(tmp_path / "run")
    one.start()
    two.start()
    assert not two.is_gone(one.id)
    assert not two.is_gone(two.id)
    one.stop()
    one.stop()
    assert two.is_gone(one.id)
    two.stop()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_home_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(DatabaseError, match="can't be written"):
        Runner(tmp_path / "run").start()


async def test_adapters_that_start_together_each_get_their_jobs(tmp_path: Path) -> None:
    async with working(tmp_path, workers=1) as bench:
        bench.engine.gate.clear()
        on_discord = (await bench.submit("a")).job
        in_terminal = (await bench.submit("b", place=LOCAL)).job
    async with working(tmp_path) as bench:
        found = await asyncio.gather(bench.jobs.recover("discord"), bench.jobs.recover("cli"))
        assert [[job.job for job in jobs] for jobs in found] == [[on_discord], [in_terminal]]


async def test_two_processes_that_take_over_together_share_the_jobs(tmp_path: Path) -> None:
    async with working(tmp_path, workers=1) as bench:
        bench.engine.gate.clear()
        jobs = {(await bench.submit("a")).job, (await bench.submit("b")).job}
    async with working(tmp_path) as one, working(tmp_path) as two:
        found = await asyncio.gather(one.jobs.recover("discord"), two.jobs.recover("discord"))
        assert {job.job for jobs in found for job in jobs} == jobs
        assert sum(map(len, found)) == 2
