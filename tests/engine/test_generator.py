"""What the Modal app's class with a GPU does, with a scripted pipeline in the place of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine import wire
from engine.batcher import STUCK_SECONDS
from engine.deployment import fault
from engine.deployment.generator import GeneratorService
from engine.errors import (
    BrokeOffError,
    DeviceMissingError,
    EngineError,
    MemoryExhaustedError,
    UnreachableError,
    WeightsError,
)
from engine.models.registry import ModelSource
from engine.pipelines.base import Drawing
from engine.pipelines.remote import NEWS, Drawn, Step, unpacked
from engine.settings import EngineSettings
from tests.engine.deployed import RENTAL, Clock, Disk
from tests.engine.ordering import request
from tests.engine.scripted_pipeline import ScriptedPipeline


async def test_a_gpu_container_without_weights_answers_so_and_does_not_crash(tmp_path: Path) -> None:
    service = GeneratorService(EngineSettings(home=tmp_path, model="sd15"), RENTAL)
    service.load()
    service.wake()
    answers = [payload async for payload in service.draw(wire.call(requests=(request(),)), "fc-2")]
    with pytest.raises(WeightsError, match="sd15"):
        wire.read(answers[-1])
    await service.close()


class Arriving(ScriptedPipeline):
    """Its weights are brought later."""

    def __init__(self) -> None:
        super().__init__()
        self.there = False

    def load(self) -> None:
        if not self.there:
            raise WeightsError("It is not here.")
        super().load()


async def test_a_fault_from_before_the_snapshot_is_not_kept_in_it(tmp_path: Path) -> None:
    arriving = Arriving()
    service = GeneratorService(EngineSettings(home=tmp_path), RENTAL, make=arriving)
    service.load()
    arriving.there = True
    service.wake()
    assert isinstance((await draw_on_gpu(service))[-1], Drawn)
    await service.close()


async def test_a_gpu_container_that_didn_t_start_tries_again_after_a_while(tmp_path: Path) -> None:
    """It answers fast, so it is given more calls than the others: for ever wrong, it would be everybody's end."""
    arriving, clock, disk = Arriving(), Clock(), Disk()
    service = GeneratorService(EngineSettings(home=tmp_path), RENTAL, make=arriving, weights=disk, monotonic=clock)
    service.load()
    service.wake()
    arriving.there = True
    clock.time += fault.RETRY_SECONDS - 1
    with pytest.raises(WeightsError):
        await draw_on_gpu(service)
    clock.time += 1
    drawn = await asyncio.gather(draw_on_gpu(service), draw_on_gpu(service, seed=8))
    assert all(isinstance(news[-1], Drawn) for news in drawn)
    assert arriving.loads == 1
    await service.close()


async def test_a_gpu_that_failed_is_replaced_and_its_picture_drawn_elsewhere(tmp_path: Path) -> None:
    """All that follows on it would fail as well, and fast, so that it would be given most of the calls."""
    pipeline, retired = ScriptedPipeline(), []

    async def retire() -> None:
        retired.append(True)

    service = GeneratorService(EngineSettings(home=tmp_path), RENTAL, make=pipeline, retire=retire)
    service.load()
    service.wake()
    pipeline.fault = ZeroDivisionError("a fault of ours")
    with pytest.raises(EngineError, match="fault of its own"):
        await draw_on_gpu(service)
    assert retired == []
    pipeline.fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(BrokeOffError, match="GPU failed"):
        await draw_on_gpu(service)
    assert retired == [True]
    await service.close()


@pytest.mark.parametrize("cause", [OSError("the driver is gone"), DeviceMissingError("There is no cuda here.")])
async def test_a_machine_that_fails_to_start_twice_is_replaced(tmp_path: Path, cause: Exception) -> None:
    retired, clock = [], Clock()

    async def retire() -> None:
        retired.append(True)

    def broken(*_: object) -> ScriptedPipeline:
        raise cause

    service = GeneratorService(EngineSettings(home=tmp_path), RENTAL, make=broken, retire=retire, monotonic=clock)
    service.load()
    service.wake()
    with pytest.raises(UnreachableError, match="could not start"):
        await draw_on_gpu(service)
    assert retired == []
    clock.time += fault.RETRY_SECONDS
    with pytest.raises(UnreachableError, match="could not start"):
        await draw_on_gpu(service)
    assert retired == [True]
    await service.close()


async def test_a_machine_that_hangs_is_replaced_once_somebody_has_given_up(tmp_path: Path) -> None:
    """Nothing can break off what its thread does, and whoever comes next would wait behind it."""
    pipeline, retired, clock = ScriptedPipeline(), [], Clock()

    async def retire() -> None:
        retired.append(True)

    settings = EngineSettings(home=tmp_path)
    service = GeneratorService(settings, RENTAL, make=pipeline, retire=retire, monotonic=clock)
    service.load()
    service.wake()
    pipeline.gate.clear()
    for patience, replaced in ((STUCK_SECONDS - 1, []), (2, [True])):
        waiting = asyncio.create_task(draw_on_gpu(service))
        await asyncio.to_thread(pipeline.begun.wait)
        for _ in range(20):  # until the second one, too, waits for its picture
            await asyncio.sleep(0)
        clock.time += patience
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert retired == replaced
    pipeline.gate.set()
    await service.close()


def test_a_fault_that_is_told_often_doesn_t_grow() -> None:
    def break_down() -> None:
        raise WeightsError("They are torn.")

    kept = fault.Fault(Clock())
    with kept.kept():
        break_down()
    for _ in range(3):
        with pytest.raises(WeightsError, match="torn") as caught:
            kept.check()
        assert len(caught.traceback) == 2


class Cramped(ScriptedPipeline):
    """Doesn't fit the GPU, unless told to use as little as possible."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[EngineSettings] = []

    def __call__(self, source: ModelSource, settings: EngineSettings) -> Cramped:
        self.made.append(settings)
        return self

    def draw(self, requests: Any, on_step: Any) -> list[Drawing]:
        settings = self.made[-1]
        if not settings.offload or (requests[0].width > 512 and settings.attention_slice == 1):
            raise MemoryExhaustedError("It doesn't fit.")
        return super().draw(requests, on_step)


async def draw_on_gpu(service: GeneratorService, **changes: Any) -> list[Step | Drawn]:
    news = []
    async for payload in service.draw(wire.call(requests=(request(**changes),)), "fc-1"):
        answer = wire.read(payload)
        if answer.value is not None:
            news.append(wire.understood(NEWS, answer.value))
    return news


async def test_out_of_memory_is_tried_once_smaller_then_fails_clearly_and_the_container_lives(tmp_path: Path) -> None:
    cramped = Cramped()
    service = GeneratorService(EngineSettings(home=tmp_path), RENTAL, make=cramped)
    service.load()
    service.wake()
    drawn = (await draw_on_gpu(service))[-1]
    assert isinstance(drawn, Drawn)
    assert unpacked(drawn).image.getpixel((0, 0)) == (7, 0, 128)
    assert [(settings.offload, settings.attention_slice) for settings in cramped.made] == [(False, None), (True, 1)]
    with pytest.raises(MemoryExhaustedError):
        await draw_on_gpu(service, width=1024)
    assert len(cramped.made) == 4, "the usual pipeline again, then once smaller, and no third time"
    await service.close()


def test_before_the_snapshot_torch_s_cuda_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bundled model's real pipeline: a process that has looked for a GPU can't be restored beside one."""
    import torch

    asked: list[str] = []
    for name in ("is_available", "device_count", "init", "_lazy_init", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: asked.append(name))
    service = GeneratorService(EngineSettings(home=tmp_path, device="cuda"), RENTAL)
    service.load()
    service._fault.check()
    assert asked == []


def test_before_the_snapshot_nothing_asks_for_a_gpu(tmp_path: Path) -> None:
    cramped = Cramped()
    settings = EngineSettings(home=tmp_path, device="cuda", attention="flash", offload=True)
    GeneratorService(settings, RENTAL, make=cramped).load()
    (used,) = cramped.made
    assert (used.device, used.precision, used.attention, used.offload) == ("cpu", "float16", "auto", False)
    assert cramped.loads == 1
