"""Delivery in two phases: written, sent, written again; tried again, and given up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.chat import Delivery
from bot.errors import DeliveryError, NotFoundError
from bot.jobs import JobState
from bot.jobs.ids import nonce
from bot.jobs.sending import AWAY_SECONDS, LONGEST_PAUSE
from engine.types import Failed
from tests.bot.workbench import ANN, HOME, Bench, Platform, working


async def drawn(bench: Bench, *prompts: str) -> list[Delivery]:
    """A new job's parts, not yet sent."""
    updates = await bench.follow((await bench.submit(*prompts)).job)
    return [update for update in updates if isinstance(update, Delivery)]


async def test_a_message_is_written_down_before_it_is_sent(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")

        async def send(message: Delivery) -> str:
            row = await bench.row(message.job)
            assert row.state is JobState.SENDING
            (written,) = row.deliveries
            assert (written.nonce, written.delivered, written.attempts) == (message.nonce, False, 1)
            return "m1"

        await bench.jobs.deliver(delivery, send)
        row = await bench.row(delivery.job)
        assert row.state is JobState.DELIVERED
        assert (row.deliveries[0].message_id, row.deliveries[0].delivered) == ("m1", True)


async def test_a_part_that_has_arrived_is_not_sent_again(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        await bench.jobs.deliver(delivery, platform.send)
        await bench.jobs.deliver(delivery, platform.send)
        assert platform.calls == [(1, 1)]


async def test_two_who_send_the_same_part_send_it_once(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        await asyncio.gather(*(bench.jobs.deliver(delivery, platform.send) for _ in range(5)))
        assert platform.calls == [(1, 1)]


async def test_a_job_is_delivered_when_its_last_part_is(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        first, second = await drawn(bench, *(f"p{number}" for number in range(13)))
        assert (len(first.pictures), len(second.pictures), second.parts) == (10, 3, 2)
        await bench.jobs.deliver(second, platform.send)
        await bench.jobs.deliver(second, platform.send)
        assert platform.calls == [(2, 1)]
        assert await bench.state(first.job) is JobState.RENDERED
        await bench.jobs.deliver(first, platform.send)
        assert await bench.state(first.job) is JobState.DELIVERED


async def test_a_passing_failure_is_tried_again_with_the_same_mark(tmp_path: Path) -> None:
    platform = Platform(faults=[DeliveryError("Busy."), DeliveryError("Busy.")])
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        await bench.jobs.deliver(delivery, platform.send)
        assert platform.calls == [(1, 1), (1, 2), (1, 3)]
        assert bench.clock.slept == [2.0, 8.0]
        assert list(platform.messages) == [nonce(delivery.job, 1)]
        assert await bench.state(delivery.job) is JobState.DELIVERED


async def test_the_third_failure_is_the_last_and_the_person_is_told(tmp_path: Path) -> None:
    platform = Platform(faults=[DeliveryError("Busy.")] * 9)
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        with pytest.raises(
            DeliveryError, match=f"job {delivery.job} are drawn, but could not be sent after 3"
        ) as caught:
            await bench.jobs.deliver(delivery, platform.send)
        assert caught.value.permanent
        row = await bench.row(delivery.job)
        assert (row.state, row.error) == (JobState.DEAD, "Busy.")
        assert len(platform.calls) == 3
        await bench.jobs.deliver(delivery, platform.send)
        assert len(platform.calls) == 3
        # The pictures were drawn and are in the cache, so they count.
        assert await bench.used() == 1


async def test_while_the_platform_is_away_attempts_do_not_count(tmp_path: Path) -> None:
    platform = Platform(faults=[DeliveryError("No answer.", away=True)] * 8 + [DeliveryError("Busy.")] * 2)
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        await bench.jobs.deliver(delivery, platform.send)
        assert bench.clock.slept == [2.0, 8.0, 32.0] + [60.0] * 7
        assert await bench.state(delivery.job) is JobState.DELIVERED


async def test_a_platform_that_stays_away_is_given_up(tmp_path: Path) -> None:
    platform = Platform(faults=[DeliveryError("No answer.", away=True)] * 99)
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        with pytest.raises(DeliveryError, match="could not be sent"):
            await bench.jobs.deliver(delivery, platform.send)
        assert AWAY_SECONDS <= sum(bench.clock.slept) < AWAY_SECONDS + 4 * LONGEST_PAUSE
        assert await bench.state(delivery.job) is JobState.DEAD


async def test_a_lasting_failure_is_not_tried_again_and_stops_the_drawing(tmp_path: Path) -> None:
    platform = Platform(faults=[DeliveryError("I may not post in this channel.", permanent=True)])
    async with working(tmp_path, workers=1) as bench:
        job = (await bench.submit(*(f"p{number}" for number in range(20)))).job
        watching = bench.jobs.watch(job)
        async for update in watching:
            if isinstance(update, Delivery):
                bench.engine.gate.clear()
                with pytest.raises(DeliveryError, match="may not post"):
                    await bench.jobs.deliver(update, platform.send)
        assert await bench.state(job) is JobState.DEAD
        assert len(platform.calls) == 1
        assert bench.engine.cancelled == [job]
        bench.engine.gate.set()
        assert await drawn(bench, "next")


async def test_a_cancelled_job_is_not_sent(tmp_path: Path) -> None:
    platform = Platform()
    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        assert await bench.jobs.cancel(delivery.job, ANN, HOME)
        await bench.jobs.deliver(delivery, platform.send)
        assert platform.calls == []
        assert await bench.state(delivery.job) is JobState.CANCELLED


async def test_a_job_that_is_being_sent_is_past_cancelling(tmp_path: Path) -> None:
    sending, go_on = asyncio.Event(), asyncio.Event()

    async def send(_: Delivery) -> str:
        sending.set()
        await go_on.wait()
        return "m1"

    async with working(tmp_path) as bench:
        (delivery,) = await drawn(bench, "a")
        task = asyncio.create_task(bench.jobs.deliver(delivery, send))
        await sending.wait()
        assert not await bench.jobs.cancel(delivery.job, ANN, HOME)
        go_on.set()
        await task
        assert await bench.state(delivery.job) is JobState.DELIVERED


async def test_pictures_are_let_go_once_they_have_arrived(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        job = (await bench.submit("a")).job
        await bench.follow(job, Platform())
        assert bench.jobs._workshop.live(job) is None


async def test_the_parts_of_unknown_jobs_are_not_sent(tmp_path: Path) -> None:
    stranger = Delivery(job="none", part=1, parts=1, nonce="n", attempt=1, pictures=())
    async with working(tmp_path) as bench:
        with pytest.raises(NotFoundError):
            await bench.jobs.deliver(stranger, Platform().send)


async def test_a_job_that_another_process_cancels_while_it_rests_holds_nobody_up(tmp_path: Path) -> None:
    async with working(tmp_path) as bench, working(tmp_path) as other:
        bench.engine.endings = {"p10": lambda index: Failed(index=index, code="storage", sentence="Busy.")}
        bench.clock.awake.clear()
        job = (await bench.submit(*(f"p{number}" for number in range(11)))).job

        async def send(_: Delivery) -> str:
            await bench.clock.asleep.wait()
            assert await other.jobs.cancel(job, ANN, HOME)
            return "m1"

        async for update in bench.jobs.watch(job):
            if isinstance(update, Delivery):
                await bench.jobs.deliver(update, send)
        bench.clock.awake.set()
        await asyncio.sleep(0)
        assert await drawn(bench, "next")
