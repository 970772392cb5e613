"""The bot's side of an engine on Modal: nothing lost, nothing twice, whatever the line does."""

from __future__ import annotations

import asyncio

import pytest
from modal import exception

from bot.clients.deployed import DeployedEngine
from bot.clients.modal import Deployed
from bot.clients.session import BREAKS, GPU_BREAKS
from engine.errors import EngineError, TookTooLongError
from engine.types import Cancelled, Failed, Image, Progress, Stage
from tests.bot.clients.meeting import endings, follow, meeting, order, stages
from tests.bot.workbench import resolved
from tests.fakes.engine_client import ScriptedEngine, picture
from tests.fakes.modal_handle import DOWN, Fault, ModalHandle
from tests.fakes.virtual_clock import VirtualClock


async def test_pictures_come_with_their_bytes() -> None:
    async with meeting(ModalHandle()) as client:
        events = await follow(client, "a red apple", "a pear")
    assert endings(events) == [(0, "a red apple"), (1, "a pear")]
    assert [event.data for event in events if isinstance(event, Image)] == [
        picture(resolved("a red apple")),
        picture(resolved("a pear")),
    ]


async def test_a_cold_start_of_40_seconds_is_told_and_waited_for() -> None:
    handle = ModalHandle(faults=[Fault(late=40.0)])
    async with meeting(handle) as client:
        events = await follow(client, "apple")
    assert stages(events) == [Stage.WAKING, Stage.DRAWING]
    assert endings(events) == [(0, "apple")]
    assert handle.streams == 1


@pytest.mark.parametrize("cut", range(6))
async def test_a_stream_cut_off_anywhere_loses_nothing_and_brings_nothing_twice(cut: int) -> None:
    handle = ModalHandle(faults=[Fault(cut_after=cut)])
    async with meeting(handle) as client:
        events = await follow(client, "one", "two", "three")
    assert sorted(endings(events)) == [(0, "one"), (1, "two"), (2, "three")]
    assert handle.streams == 2
    arrived = max(cut - 1, 0) // 2  # the call's name comes first, then a step and a picture each
    assert [request.prompt for request in handle.engine.orders[-1].requests] == ["one", "two", "three"][arrived:]


async def test_a_call_that_falls_silent_is_given_up_and_made_again() -> None:
    handle = ModalHandle(faults=[Fault(cut_after=2, silent=True)])
    async with meeting(handle) as client:
        events = await follow(client, "apple")
    assert endings(events) == [(0, "apple")]
    assert stages(events) == [Stage.DRAWING, Stage.UNREACHABLE, Stage.DRAWING]
    assert handle.cancelled == ["fc-1"], "nobody may go on drawing for it"


async def test_a_service_that_never_answers_is_asked_again_after_its_time_to_start() -> None:
    handle = ModalHandle(faults=[Fault(silent=True)])
    async with meeting(handle) as client:
        events = await follow(client, "apple")
        assert handle.clock.monotonic() - VirtualClock().time >= 300
    assert stages(events) == [Stage.WAKING, Stage.UNREACHABLE, Stage.DRAWING]
    assert endings(events) == [(0, "apple")]


@pytest.mark.parametrize(
    "error",
    [
        exception.ServiceError("x"),
        exception.InternalFailure("x"),
        exception.ConflictError("being deployed"),
        exception.InputCancellation("by somebody in the dashboard"),
        OSError("no route"),
        KeyError("the engine's code, over there"),
        exception.NotFoundError("app stopped"),
    ],
)
async def test_errors_of_the_line_are_passing(error: BaseException) -> None:
    async with meeting(ModalHandle(faults=[Fault(raising=error)])) as client:
        events = await follow(client, "apple")
    assert stages(events) == [Stage.UNREACHABLE, Stage.DRAWING]
    assert endings(events) == [(0, "apple")]


async def test_a_fault_over_there_is_none_here() -> None:
    handle = ModalHandle(faults=[Fault(raising=ZeroDivisionError("x")), Fault(cut_after=2, raising=KeyError("x"))])
    async with meeting(handle) as client:
        assert (await client.cache_stats(None)).misses == 2
        assert endings(await follow(client, "apple")) == [(0, "apple")]


async def test_an_app_that_is_deployed_again_is_found_again() -> None:
    """What `Cls.from_name` gives remembers the ids of a deployment; those of an app that was stopped are gone."""
    gone, present = ModalHandle(weather=lambda _: Fault(raising=exception.NotFoundError("x"))), ModalHandle()
    handles = iter((gone, gone, present))
    clock = present.clock = gone.clock = VirtualClock()
    edge = Deployed(lambda: next(handles), "generate")
    client = DeployedEngine(edge, deadline=1800.0, startup=300.0, clock=clock, jitter=lambda pause: pause)
    async with clock.running():
        with pytest.raises(EngineError, match=r"modal deploy modal_engine\.py"):
            await client.cache_stats(None)
        events = await follow(client, "apple")
        await client.close()
    assert stages(events) == [Stage.UNREACHABLE, Stage.DRAWING]
    assert endings(events) == [(0, "apple")]


async def test_an_order_that_breaks_every_call_is_given_up() -> None:
    """It may be the order itself that kills the machine, on which everybody else's are drawn too."""
    handle = ModalHandle(weather=lambda _: Fault(cut_after=2))
    async with meeting(handle) as client:
        with pytest.raises(TookTooLongError, match="again and again"):
            await follow(client, "apple", "pear")
    assert handle.streams == BREAKS


async def test_an_order_that_comes_further_at_every_call_is_not_given_up() -> None:
    prompts = [f"prompt {n}" for n in range(BREAKS + 2)]
    handle = ModalHandle(weather=lambda _: Fault(cut_after=4))
    async with meeting(handle) as client:
        assert len(endings(await follow(client, *prompts))) == len(prompts)


async def test_a_stream_that_just_ends_is_a_broken_one() -> None:
    handle = ModalHandle(faults=[Fault(cut_after=2, ending=True)])
    async with meeting(handle) as client:
        events = await follow(client, "apple")
    assert stages(events) == [Stage.DRAWING, Stage.UNREACHABLE, Stage.DRAWING]
    assert endings(events) == [(0, "apple")]


async def test_want_of_a_gpu_keeps_nobody_from_the_cache() -> None:
    """The engine answers, so the breaker stays closed: pictures that need no GPU can still be had."""
    handle = ModalHandle()
    for n in range(10):
        handle.engine.endings[f"new {n}"] = lambda index: Failed(index=index, code="unreachable", sentence="No GPU.")
    async with meeting(handle, deadline=20.0) as client:
        waiting = [asyncio.create_task(follow(client, f"new {n}")) for n in range(10)]
        await handle.clock.sleep(5)
        before = handle.clock.monotonic()
        assert endings(await follow(client, "known")) == [(0, "known")]
        assert handle.clock.monotonic() == before
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, TookTooLongError) for result in results)


async def test_ten_minutes_without_the_service_lose_nothing_and_hammer_nobody() -> None:
    handle = ModalHandle()
    began = VirtualClock().time
    handle.weather = lambda now: DOWN if now < began + 600 else Fault()
    async with meeting(handle) as client:
        streams = [asyncio.create_task(follow(client, f"prompt {n}")) for n in range(20)]
        results = await asyncio.gather(*streams)
    assert [endings(events) for events in results] == [[(0, f"prompt {n}")] for n in range(20)]
    assert all(stages(events)[0] is Stage.UNREACHABLE for events in results)
    assert handle.streams <= 20 + 20 + 5 + 600 / 15, "one probe at a time once the breaker is open"


async def test_a_job_has_a_deadline() -> None:
    async with meeting(ModalHandle(weather=lambda _: DOWN), deadline=120.0) as client:
        with pytest.raises(TookTooLongError):
            await follow(client, "apple")


async def test_a_call_that_never_comes_to_an_end_is_cancelled_at_the_deadline() -> None:
    handle = ModalHandle(weather=lambda _: Fault(lingering=True))
    async with meeting(handle, deadline=120.0) as client:
        began = handle.clock.monotonic()
        with pytest.raises(TookTooLongError, match="in time"):
            await follow(client, "apple")
        assert handle.clock.monotonic() - began == 120
    assert handle.streams == 1
    assert handle.cancelled == ["fc-1"]


async def test_a_container_that_stops_is_no_cancellation() -> None:
    """A container that is taken away answers with `Cancelled`, though nobody wanted that."""
    handle = ModalHandle()
    handle.engine.gate.clear()
    async with meeting(handle) as client:
        task = asyncio.create_task(follow(client, "apple"))
        await handle.engine.begun.wait()
        await handle.engine.close()
        handle.engine.gate.set()
        assert endings(await task) == [(0, "apple")]
    assert handle.streams == 2


async def test_a_gpu_that_can_t_be_had_is_tried_again() -> None:
    handle = ModalHandle()
    handle.engine.endings["apple"] = lambda index: _once(handle.engine, index)
    async with meeting(handle) as client:
        assert endings(await follow(client, "apple", "pear")) == [(1, "pear"), (0, "apple")]


async def test_a_picture_that_breaks_gpus_is_given_up_and_hurts_nobody_else() -> None:
    """Each call breaks one, and whoever draws beside it on that."""
    handle, asked = ModalHandle(), []

    def breaks(index: int) -> Failed:
        asked.append(index)
        return Failed(index=index, code="broke_off", sentence="The GPU failed.")

    handle.engine.endings["apple"] = breaks
    async with meeting(handle) as client:
        events = await follow(client, "apple", "pear")
    assert endings(events)[0] == (1, "pear")
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.index, failed.code) == (0, "timeout")
    assert "again and again" in failed.sentence
    assert len(asked) == GPU_BREAKS


def _once(engine: ScriptedEngine, index: int) -> Failed:
    engine.endings.clear()
    return Failed(index=index, code="unreachable", sentence="No GPU.")


async def test_cancelling_cancels_the_call_over_there() -> None:
    handle = ModalHandle()
    handle.engine.gate.clear()
    async with meeting(handle) as client:
        task = asyncio.create_task(follow(client, "apple", "pear"))
        await handle.engine.begun.wait()
        await client.cancel("J1")
        events = await task
    assert [event for event in events if not isinstance(event, Progress)] == [Cancelled(index=0), Cancelled(index=1)]
    assert handle.cancelled == ["fc-1"]


async def test_a_call_that_is_given_up_before_it_began_is_cancelled_when_it_begins() -> None:
    handle = ModalHandle(faults=[Fault(late=60.0)])
    handle.engine.gate.clear()
    async with meeting(handle) as client:
        task = asyncio.create_task(follow(client, "apple"))
        await asyncio.sleep(0)
        await client.cancel("J1")
        assert [type(event) for event in await task] == [Cancelled]
        assert handle.cancelled == []
        await handle.clock.sleep(120)
        assert handle.cancelled == ["fc-1"]


async def test_cancelling_a_job_that_is_not_there_does_nothing() -> None:
    async with meeting(ModalHandle()) as client:
        await client.cancel("J9")


async def test_a_restarted_bot_gets_what_it_had_asked_for() -> None:
    """The same order again, by another process: the engine's cache and flights make it the same picture."""
    handle = ModalHandle()
    async with meeting(handle) as first:
        stream = first.generate(order("apple"))
        await anext(stream)
        await stream.aclose()
    async with meeting(handle) as second:
        assert endings(await follow(second, "apple")) == [(0, "apple")]
