"""The bot's side of an engine on Modal: nothing lost, nothing twice, whatever the line does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from modal import exception

from bot.clients.deployed import DeployedEngine
from bot.clients.modal import Deployed
from bot.clients.session import BREAKS
from engine.errors import EngineError, TookTooLongError, UnreachableError, VersionMismatchError
from engine.types import Cancelled, Event, Failed, Image, Order, Progress, Stage
from tests.bot.workbench import resolved
from tests.fakes.engine_client import ScriptedEngine, picture
from tests.fakes.modal_handle import DOWN, Fault, ModalHandle
from tests.fakes.virtual_clock import VirtualClock


class Edge(Deployed):
    """The real edge, whose calls are cancelled at the fake."""

    def __init__(self, handle: ModalHandle) -> None:
        super().__init__(lambda: handle, "generate")
        self.fake = handle

    async def cancel(self, call: str) -> None:
        await self.fake.cancel(call)


@asynccontextmanager
async def meeting(handle: ModalHandle, **options: Any) -> AsyncIterator[DeployedEngine]:
    clock = VirtualClock()
    handle.clock = clock
    values: dict[str, Any] = {"deadline": 1800.0, "startup": 300.0, "clock": clock, "jitter": lambda pause: pause}
    client = DeployedEngine(Edge(handle), **(values | options))
    async with clock.running():
        try:
            yield client
        finally:
            await client.close()


def order(*prompts: str, job: str = "J1") -> Order:
    return Order(job=job, requests=tuple(map(resolved, prompts)), scope="discord:guild", owner="discord:ann")


async def follow(client: DeployedEngine, *prompts: str) -> list[Event]:
    return [event async for event in client.generate(order(*prompts))]


def endings(events: list[Event]) -> list[tuple[int, str]]:
    """Place and prompt of every picture, in order of arrival."""
    return [(event.index, event.request.prompt) for event in events if isinstance(event, Image)]


def stages(events: list[Event]) -> list[Stage]:
    """What was said of the first picture, without repeats."""
    told = [event.stage for event in events if isinstance(event, Progress) and event.index == 0]
    return [stage for place, stage in enumerate(told) if told[place - 1 : place] != [stage]]


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


async def test_an_answer_within_the_patience_is_no_cold_start() -> None:
    async with meeting(ModalHandle(faults=[Fault(late=2.5)])) as client:
        assert Stage.WAKING not in stages(await follow(client, "apple"))


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


async def test_a_client_that_modal_no_longer_takes_is_said_so() -> None:
    async with meeting(ModalHandle(faults=[Fault(raising=exception.VersionError("old"))])) as client:
        with pytest.raises(EngineError, match="--upgrade modal"):
            await client.start()


async def test_what_modal_says_of_its_own_settings_is_passed_on() -> None:
    async with meeting(ModalHandle(faults=[Fault(raising=exception.InvalidError("No Modal\nprofile."))])) as client:
        with pytest.raises(EngineError, match=r"No Modal profile\."):
            await client.start()


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


async def test_another_version_is_refused_clearly_and_not_tried_again() -> None:
    handle = ModalHandle(faults=[Fault(version=1), Fault(version=1)])
    async with meeting(handle) as client:
        with pytest.raises(VersionMismatchError, match="deploy the engine again"):
            await client.start()
        with pytest.raises(VersionMismatchError, match="deploy the engine again"):
            await follow(client, "apple")
    assert handle.streams == 1


async def test_an_engine_that_is_not_deployed_is_said_so_at_the_start() -> None:
    handle = ModalHandle(faults=[Fault(raising=exception.NotFoundError("no app"))])
    async with meeting(handle) as client:
        with pytest.raises(EngineError, match=r"modal deploy modal_engine\.py"):
            await client.start()


async def test_a_wrong_token_is_said_so() -> None:
    async with meeting(ModalHandle(faults=[Fault(raising=exception.AuthError("bad"))])) as client:
        with pytest.raises(EngineError, match="modal token new"):
            await client.start()


async def test_the_bot_starts_without_the_engine_if_it_knew_it_before(tmp_path: Path) -> None:
    memory = tmp_path / "engine.json"
    async with meeting(ModalHandle(), memory=memory) as client:
        await client.start()
        known = await client.info()
    async with meeting(ModalHandle(weather=lambda _: DOWN), memory=memory) as client:
        await client.start()
        assert await client.info() == known
    memory.write_text("damaged")
    async with meeting(ModalHandle(weather=lambda _: DOWN), memory=memory) as client:
        await client.start()
        with pytest.raises(UnreachableError):
            await client.info()


async def test_a_bot_that_was_deployed_with_its_engine_doesn_t_wait_for_it_to_start(tmp_path: Path) -> None:
    """A command waits for the bot's machine already, and has three seconds."""
    memory = tmp_path / "engine.json"
    async with meeting(ModalHandle(), memory=memory) as client:
        await client.start()
    handle = ModalHandle(faults=[Fault(late=60.0)])
    async with meeting(handle, memory=memory, trusted=lambda info: info.default_model == "emoji") as client:
        before = handle.clock.monotonic()
        await client.start()
        await client.info()
        assert handle.clock.monotonic() == before
        await handle.clock.sleep(61)
        assert handle.questions == ["info"], "but its machine starts"


async def test_what_is_known_is_asked_anew_after_a_while_without_keeping_anybody() -> None:
    handle = ModalHandle()
    async with meeting(handle) as client:
        await client.start()
        for _ in range(5):
            await client.info()
        assert handle.questions == ["info"]
        await handle.clock.sleep(3600)
        handle.faults.append(Fault(late=50.0))
        before = handle.clock.monotonic()
        await client.info()
        assert handle.clock.monotonic() == before
        await handle.clock.sleep(100)
    assert handle.questions == ["info", "info"]


async def test_questions_are_asked_again_where_no_answer_comes() -> None:
    handle = ModalHandle(faults=[DOWN, Fault(silent=True)])
    async with meeting(handle) as client:
        assert (await client.cache_stats(None)).misses == 2
    assert handle.questions == ["cache_stats"] * 3


async def test_questions_find_out_soon_that_the_service_is_away() -> None:
    handle = ModalHandle(weather=lambda _: DOWN)
    async with meeting(handle) as client:
        for _ in range(4):
            with pytest.raises(UnreachableError):
                await client.cache_stats(None)
    assert len(handle.questions) == 5, "then the breaker is open"


async def test_a_restarted_bot_gets_what_it_had_asked_for() -> None:
    """The same order again, by another process: the engine's cache and flights make it the same picture."""
    handle = ModalHandle()
    async with meeting(handle) as first:
        stream = first.generate(order("apple"))
        await anext(stream)
        await stream.aclose()
    async with meeting(handle) as second:
        assert endings(await follow(second, "apple")) == [(0, "apple")]
