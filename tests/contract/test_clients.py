"""What every way to reach an engine does alike: the same events, the same cache, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.clients.base import EngineClient
from engine.errors import InputError, WeightsError
from engine.settings import EngineSettings
from engine.types import (
    SCHEMA_VERSION,
    Cached,
    Cancelled,
    CredentialState,
    Event,
    Failed,
    Image,
    Layer,
    Order,
    Progress,
    Refused,
    Stage,
)
from tests.contract import clients
from tests.engine.ordering import order, request
from tests.engine.scripted_pipeline import ScriptedPipeline

Open = Callable[[EngineSettings, ScriptedPipeline], AbstractAsyncContextManager[EngineClient]]


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline()


@pytest.fixture(params=[clients.local, clients.modal], ids=["local", "modal"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, pipeline: ScriptedPipeline
) -> AsyncIterator[EngineClient]:
    opened: Open = request.param
    async with opened(EngineSettings(home=tmp_path), pipeline) as client:
        await client.start()
        yield client


async def events(client: EngineClient, wanted: Order) -> list[Event]:
    return [event async for event in client.generate(wanted)]


async def endings(client: EngineClient, wanted: Order) -> list[Event]:
    found = [event for event in await events(client, wanted) if not isinstance(event, Progress)]
    assert sorted(event.index for event in found) == list(range(len(wanted.requests)))
    return sorted(found, key=lambda event: event.index)


async def test_it_says_who_it_is(client: EngineClient) -> None:
    info = await client.info()
    assert (info.schema_version, info.default_model) == (SCHEMA_VERSION, "emoji")


async def test_a_picture_is_drawn_step_by_step(client: EngineClient) -> None:
    found = await events(client, order(request()))
    drawing = [(event.step, event.steps) for event in found if isinstance(event, Progress) and event.step]
    assert drawing == [(1, 2), (2, 2)]
    assert isinstance(found[-2], Progress)
    assert found[-2].stage is Stage.FINISHING
    assert isinstance(found[-1], Image)


async def test_every_picture_of_an_order_ends_once(client: EngineClient) -> None:
    wanted = order(request(), request("a naked child"), request(model="nobody"), request(seed=9))
    first, refused, failed, last = await endings(client, wanted)
    assert isinstance(first, Image)
    assert isinstance(refused, Refused)
    assert refused.layer is Layer.ZERO_TOLERANCE
    assert isinstance(failed, Failed)
    assert failed.code == "model"
    assert isinstance(last, Image)
    assert last.request.seed == 9


async def test_the_same_comes_from_the_cache(client: EngineClient, pipeline: ScriptedPipeline) -> None:
    (first,) = await endings(client, order(request()))
    (second,) = await endings(client, order(request(), owner="x:2"))
    assert isinstance(first, Image)
    assert isinstance(second, Image)
    assert (first.cached, second.cached) == (Cached.NONE, Cached.FINISHED)
    assert (second.data, second.key) == (first.data, first.key)
    assert len(pipeline.batches) == 1


async def test_errors_keep_their_code_and_sentence(client: EngineClient, pipeline: ScriptedPipeline) -> None:
    pipeline.fault = WeightsError("The weights are torn.")
    assert await endings(client, order(request())) == [
        Failed(index=0, code="weights", sentence="The weights are torn.")
    ]


async def test_a_job_can_be_cancelled(client: EngineClient, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    task = asyncio.create_task(endings(client, order(request(), request(seed=8), job="j7")))
    assert await asyncio.to_thread(pipeline.begun.wait, 10)
    await client.cancel("j7")
    pipeline.gate.set()
    assert await task == [Cancelled(index=0), Cancelled(index=1)]
    await client.cancel("j7")


async def test_closing_the_iterator_stops_the_drawing(client: EngineClient, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    stream = client.generate(order(request()))
    async for event in stream:
        if isinstance(event, Progress) and event.step == 1:
            break
    await stream.aclose()
    pipeline.gate.set()
    (image,) = await endings(client, order(request(seed=8)))
    assert isinstance(image, Image)
    assert (await client.cache_stats(None)).misses == 1, "the first one was not finished"


async def test_orders_run_beside_each_other(client: EngineClient) -> None:
    orders = [order(request(seed=seed), job=f"j{seed}", owner=f"x:{seed}") for seed in range(4)]
    found = await asyncio.gather(*(endings(client, wanted) for wanted in orders))
    assert [event.request.seed for (event,) in found if isinstance(event, Image)] == [0, 1, 2, 3]


async def test_moderators_find_and_remove(client: EngineClient) -> None:
    (image,) = await endings(client, order(request()))
    assert isinstance(image, Image)
    assert {entry.tier for entry in await client.cache_list("x:a", search="APPLE")} == {"finished", "unmarked"}
    assert await client.cache_list("x:other") == ()
    shown = await client.cache_show("x:a", image.key)
    assert shown is not None
    assert shown.bytes == len(image.data)
    assert await client.cache_show("x:other", image.key) is None
    assert await client.cache_read("x:a", image.key) == image.data
    assert await client.cache_read("x:other", image.key) is None
    assert (await client.verify(image.data)).made_here
    assert not (await client.verify(b"no picture")).intact
    assert (await client.cache_verify()).checked == 2
    assert await client.cache_delete("x:a", image.key) == 1
    assert await client.cache_purge("x:a", "x:1") == 1
    assert await client.cache_clear(None) == 0


async def test_a_picture_is_made_smaller_and_signed_again(client: EngineClient) -> None:
    (image,) = await endings(client, order(request()))
    assert isinstance(image, Image)
    made = await client.smaller(image.data, len(image.data) - 1)
    assert len(made.data) < len(image.data)
    found = (await client.verify(made.data)).credentials
    assert found is not None
    assert found.state is CredentialState.OWN
    with pytest.raises(InputError):
        await client.smaller(b"no picture", 100)


async def test_it_closes_twice(client: EngineClient) -> None:
    await client.close()
