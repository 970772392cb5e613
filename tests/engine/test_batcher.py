"""The denoising loop that all share, with the bundled model: who takes which step with whom, and what comes of it."""

from __future__ import annotations

import asyncio
import weakref
from pathlib import Path

import pytest

from engine.batcher import Batcher
from engine.errors import GenerationCancelled, MemoryExhaustedError, TookTooLongError, WeightsError
from engine.models.registry import resolve
from engine.pipelines.native import NativePipeline
from engine.settings import EngineSettings
from engine.types import Quality, Sampler, Stage
from tests.engine.batching import Asker, Hungry, Watched, alone, asking, bundled, still
from tests.engine.ordering import request
from tests.engine.pipelines.conftest import psnr

PARITY = 60.0
"""Decibels between the same picture drawn alone and in company."""


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> NativePipeline:
    return bundled(tmp_path_factory.mktemp("home"))


@pytest.fixture
def watched(native: NativePipeline) -> Watched:
    return Watched(native)


async def test_a_picture_is_the_same_in_company_whoever_joins_when(watched: Watched) -> None:
    first = request("a red apple", seed=0, steps=6, sampler=Sampler.DDIM)
    others = [
        request("a cat", seed=1, steps=4, sampler=Sampler.EULER_ANCESTRAL, guidance=7.0, negative_prompt="a dog"),
        request("a house", seed=2, steps=3, sampler=Sampler.HEUN, guidance=1.0),
        request("the sun", seed=3, steps=9, sampler=Sampler.DPMPP_2M_KARRAS, quality=Quality.BALANCED),
        request("a tree", seed=4, steps=2, sampler=Sampler.LCM, guidance=1.5),
    ]
    async with asking(watched, most=5) as asker:
        for number, other in enumerate(others, start=1):
            watched.at[number].append(asker.later(other))
        asker.ask(first)
        await asker.pictures(0)
        await asker.everything()
        for number, wanted in enumerate([first, *others]):
            (picture,) = await asker.pictures(number)
            assert psnr(picture, alone(watched.native, wanted)) >= PARITY
    assert watched.passes[:6] == [[0], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert watched.whole == []


async def test_who_is_cancelled_leaves_at_the_next_step(watched: Watched) -> None:
    wanted = [request(seed=seed, steps=5) for seed in range(3)]

    def cancel() -> None:
        asker.stops[1].set()

    async with asking(watched) as asker:
        watched.at[0].append(asker.later(wanted[1]))
        watched.at[0].append(asker.later(wanted[2]))
        watched.at[2].append(cancel)
        asker.ask(wanted[0])
        await asker.pictures(0)
        first, second, third = await asker.everything()
    assert isinstance(second, GenerationCancelled)
    for drawn, one in ((first, wanted[0]), (third, wanted[2])):
        assert isinstance(drawn, list)
        assert psnr(drawn[0].image, alone(watched.native, one)) >= PARITY
    assert watched.passes == [[0], [0, 1, 2], [0, 1, 2], [0, 2], [0, 2], [2]]


async def test_who_goes_wrong_takes_nobody_along(watched: Watched) -> None:
    watched.fault_of = 1
    async with asking(watched) as asker:
        watched.at[0].append(asker.later(request(seed=1)))
        asker.ask(request(seed=0, steps=4))
        (picture,) = await asker.pictures(0)
        assert psnr(picture, alone(watched.native, request(seed=0, steps=4))) >= PARITY
        with pytest.raises(RuntimeError, match="a fault"):
            await asker.tasks[1]


async def test_a_fault_of_the_network_ends_those_who_met_and_no_others(watched: Watched) -> None:
    def break_down() -> None:
        raise RuntimeError("a fault")

    async with asking(watched) as asker:
        watched.at[0].append(asker.later(request(seed=1)))
        watched.at[1].append(break_down)
        asker.ask(request(seed=0, steps=4))
        await asyncio.wait(asker.tasks)
        assert [str(outcome) for outcome in await asker.everything()] == ["a fault", "a fault"]
        watched.at.clear()
        asker.ask(request(seed=2))
        await asker.pictures(2)


async def test_reused_features_have_the_machine_to_themselves_in_their_turn(watched: Watched) -> None:
    fast = request(seed=1, steps=9, quality=Quality.FAST)
    async with asking(watched) as asker:
        watched.at[0].append(asker.later(fast))
        watched.at[0].append(asker.later(request(seed=2)))
        asker.ask(request(seed=0, steps=3))
        await asker.pictures(0)
        (picture,) = await asker.pictures(1)
        await asker.pictures(2)
    assert picture.tobytes() == alone(watched.native, fast).tobytes()
    assert watched.whole == [[1]]
    assert watched.passes == [[0], [0], [0], [2], [2]]


async def test_another_model_waits_for_the_running_ones_and_is_not_overtaken(native: NativePipeline) -> None:
    one, other = Watched(native, "one"), Watched(native, "other")
    made: list[str] = []

    def make(name: str) -> Watched:
        made.append(name)
        return {"one": one, "other": other}[name]

    asker = Asker(Batcher(make, timeout=60.0, monotonic=still))
    one.at[0] += [asker.later(request(seed=1, model="other")), asker.later(request(seed=2, model="one"))]
    assert asker.batcher.outlook("one") is Stage.WARMING
    asker.ask(request(seed=0, steps=3, model="one"))
    await asker.pictures(0)
    await asker.everything()
    assert made == ["one", "other", "one"]
    assert one.passes == [[0], [0], [0], [2], [2]]
    assert other.passes == [[1], [1]]
    assert asker.batcher.outlook("one") is Stage.DRAWING
    await asker.batcher.close()


async def test_one_model_is_let_go_before_the_next_is_made(native: NativePipeline) -> None:
    made: list[weakref.ref[Watched]] = []
    left: list[int] = []

    def make(name: str) -> Watched:
        left.append(sum(each() is not None for each in made))
        pipeline = Watched(native, name)
        made.append(weakref.ref(pipeline))
        return pipeline

    asker = Asker(Batcher(make, timeout=60.0, monotonic=still))
    for model in ("one", "other", "one"):
        asker.ask(request(model=model))
    await asker.everything()
    await asker.batcher.close()
    assert left == [0, 0, 0]


async def test_where_not_all_fit_commissions_take_turns(watched: Watched) -> None:
    async with asking(watched, most=2) as asker:
        watched.at[0].append(asker.later(request(seed=10)))
        asker.ask(*(request(seed=seed) for seed in range(4)))
        pictures = await asker.pictures(0)
        await asker.pictures(1)
    assert watched.begun == [0, 1, 10, 2, 3]
    assert max(len(together) for together in watched.passes) == 2
    for seed, picture in enumerate(pictures):
        assert psnr(picture, alone(watched.native, request(seed=seed))) >= PARITY


async def test_pictures_of_other_sizes_take_their_steps_by_themselves(watched: Watched) -> None:
    small, larger = request(seed=0, steps=3), request(seed=1, upscale=2, steps=3)
    async with asking(watched) as asker:
        asker.ask(small, larger)
        pictures = await asker.pictures(0)
    assert watched.passes[:3] == [[0, 1]] * 3
    assert set(map(tuple, watched.passes[3:])) == {(1,)}
    for picture, wanted in zip(pictures, (small, larger), strict=True):
        assert psnr(picture, alone(watched.native, wanted)) >= PARITY


# Memory and time.


async def test_out_of_memory_fewer_go_together(watched: Watched) -> None:
    hungry = Hungry(watched.native, rows=4)
    async with asking(watched) as asker:
        asker.ask(*(request(seed=seed) for seed in range(4)))
        pictures = await asker.pictures(0)
    hungry.handle.remove()
    assert [len(together) for together in watched.passes] == [4, 2, 2, 2, 2]
    for seed, picture in enumerate(pictures):
        assert psnr(picture, alone(watched.native, request(seed=seed))) >= PARITY


async def test_what_does_not_fit_step_by_step_is_drawn_whole_and_frugally(watched: Watched) -> None:
    hungry = Hungry(watched.native, rows=2, needs_slices=True)
    async with asking(watched) as asker:
        (drawing,) = await asker.ask(request(seed=0))
        hungry.handle.remove()
        assert watched.whole == [[0]]
        assert psnr(drawing.image, alone(watched.native, request(seed=0))) >= PARITY


async def test_out_of_memory_even_so_is_an_error(watched: Watched) -> None:
    hungry = Hungry(watched.native, rows=0)
    async with asking(watched) as asker:
        with pytest.raises(MemoryExhaustedError, match="128x128 pixels doesn't fit"):
            await asker.ask(request(seed=0))
        hungry.handle.remove()


async def test_time_counts_from_the_first_step_of_each(watched: Watched) -> None:
    now = [0.0]
    async with asking(watched, timeout=10.0, monotonic=lambda: now[0]) as asker:
        watched.at[2].append(lambda: now.__setitem__(0, 6.0))
        watched.at[2].append(asker.later(request(seed=1, steps=3)))
        watched.at[4].append(lambda: now.__setitem__(0, 11.0))
        asker.ask(request(seed=0, steps=9))
        with pytest.raises(TookTooLongError, match="longer than 10 seconds"):
            await asker.tasks[0]
        await asker.pictures(1)


# What is told.


async def test_every_step_is_told_once(watched: Watched) -> None:
    async with asking(watched) as asker:
        await asker.ask(request(seed=0, steps=3), request(seed=1, steps=3))
    assert asker.reports[0] == [(1, 3), (2, 3), (3, 3)]


async def test_previews_come_for_each_picture_in_its_place(watched: Watched) -> None:
    now = [0.0]
    async with asking(watched, monotonic=lambda: now[0]) as asker:
        watched.at[2].append(lambda: now.__setitem__(0, 2.0))
        drawings = await asker.ask(request(seed=0, steps=5), request(seed=1, steps=5))
    (previews,) = asker.previews[0]
    assert previews.keys() == {0, 1}
    assert previews[0].tobytes() != previews[1].tobytes()
    assert all(preview.size < drawing.image.size for preview, drawing in zip(previews.values(), drawings, strict=True))


async def test_nobody_wants_previews_none_are_made(watched: Watched) -> None:
    now = [0.0]
    async with asking(watched, monotonic=lambda: now[0], previews=False) as asker:
        watched.at[2].append(lambda: now.__setitem__(0, 2.0))
        await asker.ask(request(seed=0, steps=5))
    assert asker.previews[0] == []


async def test_stages_are_timed(watched: Watched) -> None:
    async with asking(watched) as asker:
        (drawing,) = await asker.ask(request(seed=0))
    assert drawing.seconds.keys() == {"text", "denoise", "decode"}


async def test_a_model_that_does_not_load_is_tried_again_for_the_next(native: NativePipeline) -> None:
    faults: list[Exception] = [WeightsError("It is torn.")]

    def make(_: str) -> Watched:
        if faults:
            raise faults.pop()
        return Watched(native)

    asker = Asker(Batcher(make, timeout=60.0))
    with pytest.raises(WeightsError):
        await asker.ask(request())
    assert len(await asker.ask(request())) == 1
    await asker.batcher.close()


async def test_who_was_stopped_before_he_began_draws_nothing(watched: Watched) -> None:
    async with asking(watched) as asker:
        task = asker.ask(request())
        asker.stops[0].set()
        with pytest.raises(GenerationCancelled):
            await task
    assert watched.passes == []


async def test_offloading_is_drawn_whole(tmp_path: Path) -> None:
    settings = EngineSettings(home=tmp_path, device="cpu", threads=1, compile="off", offload=True)
    assert NativePipeline(resolve("emoji", settings), settings).stepper() is None
