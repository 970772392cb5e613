"""Timing pipelines side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine import wire
from engine.models.registry import ModelSource
from engine.pipelines.base import Pipeline
from engine.pipelines.remote import Drawn, Step
from engine.race import ENTRIES, first_picture, race, table
from engine.settings import EngineSettings
from tests.engine.scripted_pipeline import ScriptedPipeline


def test_every_entry_is_timed_by_its_own_pipeline(tmp_path: Path) -> None:
    made: list[str] = []
    ticks = iter(range(10_000))
    pipeline = ScriptedPipeline()

    def make(source: ModelSource, settings: EngineSettings) -> Pipeline:
        made.append(source.kind)
        return pipeline

    rows = list(race(EngineSettings(home=tmp_path), make, rounds=3, monotonic=lambda: float(next(ticks))))
    assert made == ["native", "diffusers"]
    assert [row.name for row in rows] == [name for name, *_ in ENTRIES]
    assert len(pipeline.batches) == 4 * len(ENTRIES)
    assert {(row.load_seconds, row.first_seconds, row.seconds) for row in rows} == {(1.0, 1.0, 1.0)}
    assert table(rows).count("1.00s") == 3 * len(rows)


def test_a_cold_start_is_timed_from_the_call(tmp_path: Path) -> None:
    ticks = iter((0.0, 8.0, 11.5))

    def draw(payload: bytes) -> Iterator[bytes]:
        assert len(wire.arguments(payload)["requests"]) == 1
        yield wire.called("fc-1")
        yield wire.alive()
        yield wire.value(Step(step=1, steps=1))
        yield wire.value(Drawn(place=0, data=b"png", seconds={}))

    timed = list(first_picture(draw, EngineSettings(home=tmp_path), lambda: next(ticks)))
    assert timed == [("container", 8.0), ("picture", 11.5)]
