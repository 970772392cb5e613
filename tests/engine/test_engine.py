"""The engine's line from prompt to file, with a scripted pipeline and everything else real."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine import batcher, watermark
from engine.engine import Engine
from engine.errors import MemoryExhaustedError, SafetyUnavailableError
from engine.metrics import Metrics
from engine.settings import EngineSettings
from engine.types import (
    Cached,
    Cancelled,
    Failed,
    Image,
    Layer,
    NoteCode,
    Position,
    Progress,
    Refused,
    Stage,
    Watermark,
)
from tests.engine.ordering import Open, endings, everything, order, picture, pixel, request
from tests.engine.scripted_pipeline import ScriptedPipeline, color


async def test_a_picture_is_drawn_marked_and_kept(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        events = await everything(engine, order(request()))
        drawn = events[-1]
        assert isinstance(drawn, Image)
        assert [event.stage for event in events[:-1] if isinstance(event, Progress)] == [
            Stage.WARMING,
            Stage.DRAWING,
            Stage.DRAWING,
            Stage.FINISHING,
        ]
        assert drawn.cached is Cached.NONE
        assert pixel(drawn) == color(7)
        unmarked = await picture(engine, order(request(watermark=False)))
        assert unmarked.data != drawn.data
        assert {"check", "denoise", "image_check", "mark", "total"} <= drawn.seconds.keys()
        assert (await engine.cache_stats("x:a")).entries == 3


async def test_the_tiers_answer_before_the_pipeline(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        drawn = await picture(engine, order(request()))
        again = await picture(engine, order(request()))
        remarked = await picture(engine, order(request(watermark_position=Position.TOP_LEFT)))
    assert (again.cached, again.data) == (Cached.FINISHED, drawn.data)
    assert remarked.cached is Cached.UNMARKED
    assert remarked.generation_key == drawn.generation_key
    assert remarked.key != drawn.key
    assert pipeline.batches == [(7,)]


async def test_a_mark_that_is_only_tried_is_not_kept(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        await picture(engine, order(request()))
        before = (await engine.cache_stats("x:a")).entries
        tried = order(request(watermark_position=Position.TOP_LEFT)).model_copy(update={"keep": False})
        first, second = await picture(engine, tried), await picture(engine, tried)
        assert (first.cached, second.cached) == (Cached.UNMARKED, Cached.UNMARKED)
        assert (await engine.cache_stats("x:a")).entries == before
    assert pipeline.batches == [(7,)]


async def test_force_draws_anew(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        await picture(engine, order(request()))
        assert (await picture(engine, order(request(force=True)))).cached is Cached.NONE
    assert pipeline.batches == [(7,), (7,)]


async def test_the_cache_outlives_the_engine(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        drawn = await picture(engine, order(request()))
    async with open_engine() as engine:
        assert (await picture(engine, order(request()))).data == drawn.data
        assert (await engine.verify(drawn.data)).made_here is True
        assert (await engine.verify(drawn.data + b"x")).made_here is False
    assert len(pipeline.batches) == 1


async def test_a_community_does_not_see_what_another_asked(open_engine: Open) -> None:
    async with open_engine() as engine:
        await picture(engine, order(request()))
        assert (await picture(engine, order(request(), scope="x:b"))).cached is Cached.NONE
        assert await engine.cache_list("x:c") == ()
    async with open_engine(cache_scope="everyone") as engine:
        await picture(engine, order(request()))
        assert (await picture(engine, order(request(), scope="x:b"))).cached is Cached.FINISHED


async def test_one_generation_per_key_at_a_time(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    async with open_engine() as engine:
        both = asyncio.gather(*(picture(engine, order(request(), job=f"j{i}", owner=f"x:{i}")) for i in range(5)))
        assert await asyncio.to_thread(pipeline.begun.wait, 30)
        pipeline.gate.set()
        pictures = await both
    assert pipeline.batches == [(7,)]
    assert len({picture.data for picture in pictures}) == 1


async def test_who_cancels_takes_nothing_from_those_who_wait_for_the_same(
    open_engine: Open, pipeline: ScriptedPipeline
) -> None:
    pipeline.gate.clear()
    async with open_engine() as engine:
        first = asyncio.create_task(endings(engine, order(request(), job="first")))
        assert await asyncio.to_thread(pipeline.begun.wait, 30)
        second = asyncio.create_task(picture(engine, order(request(), job="second")))
        await engine.cancel("first")
        pipeline.gate.set()
        assert isinstance((await first)[0], Cancelled)
        assert (await second).cached is Cached.NONE


async def test_closing_the_iterator_cancels(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    async with open_engine() as engine:
        events = engine.generate(order(request()))
        await anext(events)
        assert await asyncio.to_thread(pipeline.begun.wait, 30)
        await events.aclose()
        pipeline.gate.set()
        assert (await picture(engine, order(request()))).cached is Cached.NONE


async def test_a_batch_is_drawn_by_shape_and_answered_in_full(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    wanted = [request(seed=i, width=128 if i % 2 else 256, height=128 if i % 2 else 256) for i in range(6)]
    async with open_engine(max_batch=2) as engine:
        pictures = await endings(engine, order(*wanted))
    assert [pixel(p) for p in pictures if isinstance(p, Image)] == [color(i) for i in range(6)]
    assert sorted(pipeline.batches) == [(0, 2), (1, 3), (4,), (5,)]
    assert pipeline.loads == 1


async def test_twins_in_a_batch_are_drawn_once(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        first, second = await endings(engine, order(request(), request(watermark_text="other")))
    assert isinstance(first, Image)
    assert isinstance(second, Image)
    assert pipeline.batches == [(7,)]
    assert first.data != second.data


async def test_a_free_seed_takes_a_cached_picture_once_per_person(
    open_engine: Open, pipeline: ScriptedPipeline
) -> None:
    async with open_engine() as engine:
        await picture(engine, order(request(seed=1), owner="x:1"))
        reused = await picture(engine, order(request(seed=2), owner="x:2", free=True))
        fresh = await picture(engine, order(request(seed=3), owner="x:2", free=True))
        own = await picture(engine, order(request(seed=4), owner="x:1", free=True))
    assert reused.request.seed == 1
    assert NoteCode.REUSED in {note.code for note in reused.notes}
    assert fresh.request.seed == 3
    assert NoteCode.REUSED not in {note.code for note in fresh.notes}
    assert own.request.seed == 3
    assert pipeline.batches == [(1,), (3,)]


async def test_free_seeds_of_one_order_never_give_the_same_picture_twice(
    open_engine: Open, pipeline: ScriptedPipeline
) -> None:
    async with open_engine() as engine:
        await picture(engine, order(request(seed=1), owner="x:1"))
        pictures = await endings(engine, order(request(seed=2), request(seed=3), owner="x:2", free=True))
    assert len({p.request.seed for p in pictures if isinstance(p, Image)}) == 2


async def test_a_risky_prompt_is_steered_or_refused(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        steered = await picture(engine, order(request("a shit painting")))
        (refused,) = await endings(engine, order(request("a shit painting", strict=True)))
        (unguided,) = await endings(engine, order(request("a shit painting", guidance=1.0)))
    assert NoteCode.STEERED in {note.code for note in steered.notes}
    assert steered.request.negative_prompt
    assert isinstance(refused, Refused)
    assert refused.layer is Layer.KEYWORDS
    assert isinstance(unguided, Refused), "without guidance a negative prompt steers nothing"
    assert len(pipeline.batches) == 1


async def test_a_refusal_wakes_no_pipeline_and_spares_the_rest_of_the_batch(
    open_engine: Open, pipeline: ScriptedPipeline
) -> None:
    async with open_engine(strict=True) as engine:
        refused, drawn = await endings(engine, order(request("fuck"), request("a red apple")))
    assert isinstance(refused, Refused)
    assert isinstance(drawn, Image)
    assert pipeline.batches == [(7,)]


async def test_a_withheld_picture_is_never_kept(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine(image_threshold=0.0) as engine:
        for _ in range(2):
            (event,) = await endings(engine, order(request()))
            assert isinstance(event, Refused)
            assert event.layer is Layer.IMAGE
        assert (await engine.cache_stats(None)).entries == 0
    assert len(pipeline.batches) == 2


async def test_a_mark_that_does_not_fit_is_bad_input(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        (event,) = await endings(engine, order(request(watermark_text="W" * 100, watermark_size=64)))
    assert isinstance(event, Failed)
    assert event.code == "input"
    assert pipeline.batches == []


async def test_an_engine_error_is_its_sentence_and_the_next_order_goes_on(
    open_engine: Open, pipeline: ScriptedPipeline
) -> None:
    pipeline.fault = MemoryExhaustedError("It does not fit.")
    async with open_engine() as engine:
        (event,) = await endings(engine, order(request()))
        assert event == Failed(index=0, code="memory", sentence="It does not fit.")
        pipeline.fault = None
        assert (await picture(engine, order(request()))).cached is Cached.NONE


async def test_a_fault_of_ours_is_answered_without_its_text(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    pipeline.fault = RuntimeError("secret path")
    async with open_engine() as engine:
        (event,) = await endings(engine, order(request()))
    assert isinstance(event, Failed)
    assert event.code == "internal"
    assert "secret" not in event.sentence


async def test_closing_does_not_wait_for_a_long_step(
    tmp_path: Path, pipeline: ScriptedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "CLOSE_SECONDS", 0.01)
    pipeline.gate.clear()
    engine = Engine(EngineSettings(home=tmp_path), make_pipeline=pipeline)
    await engine.start()
    drawing = asyncio.create_task(endings(engine, order(request())))
    await asyncio.to_thread(pipeline.begun.wait)
    async with asyncio.timeout(10):
        await engine.close()
    assert not drawing.done()
    pipeline.gate.set()
    assert await drawing == [Cancelled(index=0)]


async def test_an_iterator_closed_early_is_no_fault(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    pipeline.gate.clear()
    async with open_engine() as engine:
        with capture_logs() as lines:
            stream = engine.generate(order(request()))
            await anext(stream)
            await stream.aclose()
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_a_picture_that_is_drawn_is_one_miss(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    metrics = Metrics()
    engine = Engine(EngineSettings(home=tmp_path), metrics=metrics, make_pipeline=pipeline)
    await engine.start()
    for _ in range(2):
        await picture(engine, order(request()))
    await engine.close()
    assert metrics.registry.get_sample_value("easel_cache_misses_total") == 1
    assert metrics.registry.get_sample_value("easel_cache_hits_total", {"tier": "finished"}) == 1


async def test_what_is_slow_is_done_in_threads(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    check, threads = watermark.check, []

    def noted(mark: Watermark, width: int, height: int) -> None:
        threads.append(threading.current_thread())
        check(mark, width, height)

    monkeypatch.setattr(watermark, "check", noted)
    async with open_engine() as engine:
        assert "version" in vars(engine._safety)
        await picture(engine, order(request()))
    assert threads
    assert threading.main_thread() not in threads


async def test_drawing_is_given_up_after_its_time(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine(generation_timeout=1e-9) as engine:
        (event,) = await endings(engine, order(request()))
    assert isinstance(event, Failed)
    assert event.code == "timeout"


async def test_a_cache_that_cannot_be_written_costs_no_picture(open_engine: Open, tmp_path: Path) -> None:
    async with open_engine() as engine:
        unfinished = tmp_path / "cache" / "tmp"
        unfinished.rmdir()
        unfinished.write_bytes(b"in the way")
        for _ in range(2):
            assert (await picture(engine, order(request()))).cached is Cached.NONE


async def test_an_unknown_model_is_refused_even_if_the_bot_lets_it_through(open_engine: Open) -> None:
    async with open_engine() as engine:
        (event,) = await endings(engine, order(request(model="sd15")))
    assert isinstance(event, Failed)
    assert event.code == "model"


async def test_info_names_the_bundled_model_and_what_is_missing(open_engine: Open) -> None:
    async with open_engine() as engine:
        info = await engine.info()
    assert info.default_model == "emoji"
    assert any("detoxify" in warning for warning in info.warnings)


async def test_other_models_do_not_start_without_the_toxicity_model(tmp_path: Path) -> None:
    with pytest.raises(SafetyUnavailableError, match="fetch detoxify"):
        await Engine(EngineSettings(home=tmp_path, model="sd15")).start()


def test_importing_the_engine_loads_nothing_heavy() -> None:
    heavy = {"torch", "diffusers", "transformers", "onnxruntime", "numpy"}
    code = f"import sys, engine.engine; print({heavy!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
