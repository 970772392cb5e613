"""Jobs from acceptance to their end, on a real database and a scripted engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bot.chat import Delivery, Failure, Queued, Refusal, Stopped, Working
from bot.errors import NotAllowedError, NotFoundError
from bot.jobs import JobState, PictureState
from engine.errors import EngineError, GenerationCancelled, InputError
from engine.types import Event, Failed, Layer, Order, Progress, Refused, Stage
from tests.bot.workbench import ANN, BEN, ELSEWHERE, HOME, MOD, OWNER, Painter, Platform, kinds, working


async def test_a_job_goes_all_the_way(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        submitted = await bench.submit("a red apple")
        updates = await bench.follow(submitted.job, platform)
        row = await bench.row(submitted.job)
    assert kinds(updates) == ["queued", "working", "delivery"]
    queued, progress, delivery = updates
    assert isinstance(queued, Queued)
    assert (queued.pictures, queued.position, queued.eta_seconds) == (1, 0, None)
    assert isinstance(progress, Working)
    assert (progress.progress.step, progress.progress.steps) == (1, 2)
    assert isinstance(delivery, Delivery)
    assert (delivery.part, delivery.parts, delivery.attempt) == (1, 1, 1)
    assert delivery.pictures[0].file_name == f"{submitted.job}-1.png"
    assert "a red apple" in delivery.pictures[0].alt_text
    assert row.state is JobState.DELIVERED
    assert row.deliveries[0].message_id == f"message-{delivery.nonce}"
    assert (row.pictures[0].state, row.pictures[0].seed) == (PictureState.RENDERED, 7)
    order = bench.engine.orders[0]
    assert (order.job, order.scope, order.owner, order.seeds_free) == (row.id, HOME.scope, ANN.key, True)


async def test_the_same_event_is_one_job(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        both = await asyncio.gather(bench.submit("a", event="e"), bench.submit("a", event="e"))
        again = await bench.submit("a", event="e")
        assert len({answer.job for answer in (*both, again)}) == 1
        assert sorted(answer.duplicate for answer in both) == [False, True]
        assert again.duplicate
        assert await bench.used() == 1
        other = HOME.model_copy(update={"platform": "slack"})
        assert not (await bench.submit("a", event="e", place=other)).duplicate


async def test_a_command_whose_caller_is_cancelled_is_accepted_whole(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        task = asyncio.create_task(bench.submit("a"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.engine.begun.wait()
        (row,) = await bench.jobs.history(ANN, HOME.scope)
        assert kinds(await bench.follow(row.id))[-1] == "delivery"


async def test_a_batch_comes_in_parts_of_ten_as_they_are_finished(tmp_path: Path) -> None:
    platform = Platform()
    names = [f"p{number}" for number in range(20)]
    async with working(tmp_path) as bench:
        bench.engine.endings = {
            name: lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gore",)) for name in names[10:]
        }
        bench.engine.endings["p3"] = lambda index: Failed(index=index, code="memory", sentence="Too big.")
        job = (await bench.submit(*names)).job
        updates = await bench.follow(job, platform)
        row = await bench.row(job)
    assert platform.prompts() == [name for name in names[:10] if name != "p3"]
    assert platform.calls == [(1, 1)]
    refusals = [update for update in updates if isinstance(update, Refusal)]
    assert [update.index for update in refusals] == list(range(10, 20))
    assert "gore" in refusals[0].text
    (failure,) = [update for update in updates if isinstance(update, Failure)]
    assert (failure.index, "Picture 4 of 20" in failure.text) == (3, True)
    assert row.state is JobState.DELIVERED
    assert row.pictures[10].categories == ("gore",)


async def test_a_part_is_sent_while_the_next_is_drawn(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        bench.engine.faults["p10"] = EngineError("Gone.")
        bench.clock.awake.clear()
        job = (await bench.submit(*(f"p{number}" for number in range(12)))).job
        following = asyncio.create_task(bench.follow(job, platform))
        await bench.clock.asleep.wait()
        await platform.posted.wait()
        assert len(platform.prompts()) == 10
        bench.engine.faults.clear()
        bench.clock.awake.set()
        await following
        assert platform.calls == [(1, 1), (2, 1)]
        assert platform.prompts() == [f"p{number}" for number in range(12)]
        assert await bench.state(job) is JobState.DELIVERED
        # What was drawn before the fault is not asked for again.
        assert [request.prompt for request in bench.engine.orders[1].requests] == ["p10", "p11"]


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (lambda index: Refused(index=index, layer=Layer.TOXICITY), JobState.REFUSED),
        (lambda index: Failed(index=index, code="weights", sentence="Truncated."), JobState.FAILED),
    ],
)
async def test_a_job_without_a_picture_ends_at_once(tmp_path: Path, ending: object, state: JobState) -> None:
    async with working(tmp_path) as bench:
        bench.engine.endings["a"] = ending  # type: ignore[assignment]
        job = (await bench.submit("a")).job
        updates = await bench.follow(job)
        assert await bench.state(job) is state
        late = await bench.follow(job)
    assert updates[-1].kind in ("refusal", "failure")
    assert late == [updates[-1]]


class TestAttempts:
    async def test_a_passing_fault_is_tried_again(self, tmp_path: Path) -> None:
        platform = Platform()
        async with working(tmp_path) as bench:
            bench.engine.faults_by_order = [EngineError("Gone."), EngineError("Gone again.")]
            job = (await bench.submit("a", "b")).job
            await bench.follow(job, platform)
            assert bench.clock.slept == [2.0, 8.0]
            assert platform.prompts() == ["a", "b"]
            assert await bench.state(job) is JobState.DELIVERED
            assert await bench.used() == 2

    async def test_the_third_fault_is_the_last(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            bench.engine.faults_by_order = [EngineError(f"Fault {number}.") for number in (1, 2, 3)]
            job = (await bench.submit("a", "b")).job
            updates = await bench.follow(job)
            row = await bench.row(job)
            assert (row.state, row.error) == (JobState.DEAD, "Fault 3.")
            assert len(bench.engine.orders) == 3
            assert await bench.used() == 0
        failures = [update for update in updates if isinstance(update, Failure)]
        assert [(failure.index, "Fault 3." in failure.text) for failure in failures] == [(0, True), (1, True)]

    async def test_a_picture_that_fails_in_passing_is_tried_again_alone(self, tmp_path: Path) -> None:
        platform = Platform()
        async with working(tmp_path) as bench:
            bench.engine.endings["b"] = lambda index: Failed(index=index, code="engine", sentence="Lost.")
            bench.clock.awake.clear()
            job = (await bench.submit("a", "b")).job
            following = asyncio.create_task(bench.follow(job, platform))
            await bench.clock.asleep.wait()
            bench.engine.endings.clear()
            bench.clock.awake.set()
            updates = await following
        assert [request.prompt for request in bench.engine.orders[1].requests] == ["b"]
        assert "failure" not in kinds(updates)
        assert platform.prompts() == ["a", "b"]

    async def test_a_lasting_fault_is_not_tried_again(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            bench.engine.faults_by_order = [InputError("No such thing.")]
            job = (await bench.submit("a")).job
            updates = await bench.follow(job)
            assert bench.clock.slept == []
            assert await bench.state(job) is JobState.FAILED
            assert await bench.used() == 0
        assert isinstance(updates[-1], Failure)

    async def test_what_was_drawn_is_sent_when_the_rest_is_given_up(self, tmp_path: Path) -> None:
        platform = Platform()
        async with working(tmp_path) as bench:
            bench.engine.faults["b"] = EngineError("Gone.")
            job = (await bench.submit("a", "b")).job
            updates = await bench.follow(job, platform)
            assert await bench.state(job) is JobState.DELIVERED
            assert await bench.used() == 1
        assert platform.prompts() == ["a"]
        assert kinds(updates)[-2:] == ["failure", "delivery"]

    async def test_a_fault_of_our_own_ends_one_job_and_no_other(self, tmp_path: Path) -> None:
        async with working(tmp_path, workers=1) as bench:
            bench.engine.faults["a"] = ZeroDivisionError("a bug")
            job = (await bench.submit("a")).job
            updates = await bench.follow(job)
            assert isinstance(updates[-1], Failure)
            assert "incident" in updates[-1].text
            assert await bench.state(job) is JobState.DEAD
            assert await bench.used() == 0
            assert kinds(await bench.follow((await bench.submit("b")).job))[-1] == "delivery"

    @pytest.mark.parametrize("index", [0, 5, -1])
    async def test_an_engine_that_breaks_its_word_is_not_believed(self, tmp_path: Path, index: int) -> None:
        class Careless(Painter):
            async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
                self.orders.append(order)
                yield Progress(index=index, stage=Stage.CHECKING)

        async with working(tmp_path, engine=Careless()) as bench:
            job = (await bench.submit("a")).job
            updates = await bench.follow(job)
            assert (len(bench.engine.orders), await bench.state(job)) == (3, JobState.DEAD)
        assert isinstance(updates[-1], Failure)
        assert "broke off" in updates[-1].text

    async def test_an_engine_that_cancels_by_itself_ends_the_job(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            bench.engine.faults["a"] = GenerationCancelled()
            job = (await bench.submit("a")).job
            assert kinds(await bench.follow(job))[-1] == "stopped"
            assert await bench.state(job) is JobState.CANCELLED


class TestCancel:
    async def test_a_waiting_job_is_cancelled(self, tmp_path: Path) -> None:
        async with working(tmp_path, started=False) as bench:
            job = (await bench.submit("a")).job
            following = asyncio.create_task(bench.follow(job))
            await asyncio.sleep(0)
            assert await bench.jobs.cancel(job, ANN, HOME)
            assert kinds(await following) == ["queued", "stopped"]
            assert not await bench.jobs.cancel(job, ANN, HOME)
            await bench.jobs.start()
            assert kinds(await bench.follow(job)) == ["stopped"]
            assert (bench.engine.orders, bench.engine.cancelled) == ([], [])

    async def test_a_running_job_is_cancelled_and_frees_its_worker(self, tmp_path: Path) -> None:
        async with working(tmp_path, workers=1) as bench:
            bench.engine.gate.clear()
            job = (await bench.submit("a", "b")).job
            following = asyncio.create_task(bench.follow(job))
            await bench.engine.begun.wait()
            assert await bench.jobs.cancel(job, ANN, HOME)
            assert isinstance((await following)[-1], Stopped)
            row = await bench.row(job)
            assert {picture.state for picture in row.pictures} == {PictureState.CANCELLED}
            assert bench.engine.cancelled == [job]
            bench.engine.gate.set()
            assert kinds(await bench.follow((await bench.submit("c")).job))[-1] == "delivery"

    async def test_a_job_that_rests_before_its_next_attempt_is_cancelled(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench:
            bench.clock.awake.clear()
            bench.engine.faults_by_order = [EngineError("Gone.")]
            job = (await bench.submit("a")).job
            await bench.clock.asleep.wait()
            assert await bench.jobs.cancel(job, ANN, HOME)
            bench.clock.awake.set()
            assert kinds(await bench.follow(job)) == ["stopped"]
            assert len(bench.engine.orders) == 1

    async def test_an_engine_that_does_not_take_the_cancellation_draws_for_nothing(self, tmp_path: Path) -> None:
        class Deaf(Painter):
            async def cancel(self, job: str) -> None:
                raise EngineError(f"{job} can't be reached.")

        async with working(tmp_path, engine=Deaf(), workers=1) as bench:
            bench.engine.gate.clear()
            job = (await bench.submit("a")).job
            await bench.engine.begun.wait()
            assert await bench.jobs.cancel(job, ANN, HOME)
            bench.engine.gate.set()
            await bench.follow((await bench.submit("b")).job)
            assert await bench.state(job) is JobState.CANCELLED
            assert (await bench.row(job)).pictures[0].state is PictureState.CANCELLED

    async def test_a_job_cancelled_by_another_process_stops_here(self, tmp_path: Path) -> None:
        async with working(tmp_path) as bench, working(tmp_path) as other:
            bench.engine.gate.clear()
            job = (await bench.submit("a")).job
            following = asyncio.create_task(bench.follow(job))
            await bench.engine.begun.wait()
            assert await other.jobs.cancel(job, ANN, HOME)
            bench.engine.gate.set()
            assert isinstance((await following)[-1], Stopped)

    async def test_only_those_who_may_cancel_do(self, tmp_path: Path) -> None:
        async with working(tmp_path, started=False) as bench:
            job = (await bench.submit("a")).job
            with pytest.raises(NotAllowedError):
                await bench.jobs.cancel(job, BEN, HOME)
            with pytest.raises(NotFoundError):
                await bench.jobs.cancel(job, MOD, ELSEWHERE)
            with pytest.raises(NotFoundError):
                await bench.jobs.cancel("none", MOD, HOME)
            assert await bench.jobs.cancel(job, MOD, HOME)
            second = (await bench.submit("a")).job
            assert await bench.jobs.cancel(second, OWNER, ELSEWHERE)
            third = (await bench.submit("a")).job
            assert await bench.jobs.cancel(third, ANN, ELSEWHERE)


async def test_history_survives_a_restart(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        for prompt in "abc":
            bench.clock.time += 1
            await bench.follow((await bench.submit(prompt)).job, Platform())
    async with working(tmp_path) as bench:
        rows = await bench.jobs.history(ANN, HOME.scope, limit=2)
        assert [row.asked[0].prompt for row in rows] == ["c", "b"]
        assert await bench.jobs.history(BEN, HOME.scope) == ()
