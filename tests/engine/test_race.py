"""Timing pipelines side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine import wire
from engine.errors import UnreachableError
from engine.models.registry import ModelSource, resolve
from engine.pipelines.base import Drawing, OnStep, Pipeline
from engine.pipelines.remote import Drawn, Step
from engine.race import ENTRIES, ColdStart, first_picture, race, table, until_idle
from engine.settings import EngineSettings
from engine.types import ResolvedRequest
from tests.engine.scripted_pipeline import ScriptedPipeline


class Runner(ScriptedPipeline):
    """Takes as long as its maker and its steps say, by a clock of its own."""

    def __init__(self, clock: Clock, source: ModelSource) -> None:
        super().__init__()
        self.clock = clock
        self.source = source

    def load(self) -> None:
        self.clock.time += 10

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        (request,) = requests
        self.clock.drawn.append((self.source.kind, request.steps, request.width))
        slow = 2.0 if self.source.kind == "diffusers" else 1.0
        self.clock.time += slow * request.steps / 10 + (5.0 if len(self.clock.drawn) <= len(ENTRIES) else 0.0)
        return []


class Clock:
    def __init__(self) -> None:
        self.time = 0.0
        self.drawn: list[tuple[str, int, int]] = []

    def __call__(self) -> float:
        return self.time


def test_all_take_turns_and_are_set_against_the_stock_pipeline(tmp_path: Path) -> None:
    clock = Clock()

    def make(source: ModelSource, settings: EngineSettings) -> Pipeline:
        return Runner(clock, source)

    rows = race(EngineSettings(home=tmp_path), make, rounds=3, monotonic=clock)
    assert [row.name for row in rows] == [name for name, *_ in ENTRIES]
    assert clock.drawn == [(who, steps, 512) for _, steps, _, who in ENTRIES] * 4, "512 pixels, in turns"
    ours = rows[0]
    assert (ours.load_seconds, ours.first_seconds, ours.seconds) == pytest.approx((10.0, 10.0, 5.0))
    assert {row.times_stock for row in rows[:5]} == {2.0}
    assert {row.times_stock for row in rows[5:]} == {1.0}
    assert table(rows).splitlines()[1].split() == ["exact,", "50", "steps", "10.00s", "10.00s", "5.00s", "2.00x"]


def test_a_model_that_diffusers_alone_draws_races_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import race as racing

    clock = Clock()
    monkeypatch.setattr(racing, "resolve", lambda *of: replace(resolve(*of), kind="diffusers"))
    rows = race(EngineSettings(home=tmp_path), lambda source, _: Runner(clock, source), monotonic=clock)
    assert [row.name for row in rows] == ["diffusers, 50 steps", "diffusers, 20 steps"]


def answering(*answers: bytes) -> Iterator[bytes]:
    yield wire.called("fc-1")
    yield wire.alive()
    yield from answers


def test_a_cold_start_is_timed_from_the_call(tmp_path: Path) -> None:
    ticks = iter((0.0, 8.0, 11.5))

    def draw(payload: bytes) -> Iterator[bytes]:
        assert len(wire.arguments(payload)["requests"]) == 1
        return answering(
            wire.called("once more, by the service"),
            wire.value(Step(step=1, steps=1)),
            wire.value(Drawn(place=0, data=b"png", seconds={})),
        )

    timed = first_picture(draw, EngineSettings(home=tmp_path), lambda: next(ticks))
    assert timed == ColdStart(container=8.0, picture=11.5)


def test_a_start_without_a_picture_is_none(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        first_picture(lambda _: answering(), EngineSettings(home=tmp_path))


def test_containers_are_waited_for_until_none_is_left() -> None:
    clock, counts = Clock(), iter((2, 1, 0))

    def sleep(seconds: float) -> None:
        clock.time += seconds

    assert until_idle(lambda: next(counts), 60.0, sleep=sleep, monotonic=clock)
    assert clock.time == 10.0
    assert not until_idle(lambda: 1, 60.0, sleep=sleep, monotonic=clock)
