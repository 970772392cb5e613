"""Our pipeline and the stock one of diffusers, side by side on the same device: what `benchmark` on Modal prints.

The ladder of single optimisations is elsewhere; here is what an operator gets.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from engine import wire
from engine.errors import UnreachableError
from engine.models.registry import resolve
from engine.pipelines.base import Pipeline
from engine.pipelines.resident import MakePipeline
from engine.settings import EngineSettings
from engine.types import Quality, ResolvedRequest, Value

PROMPT = "a lighthouse on a cliff at dawn, oil painting"
SEED = 7
SIDE = 512
"""Of the picture, where the model draws such."""
ENTRIES: Sequence[tuple[str, int, Quality, str]] = (
    ("exact, 50 steps", 50, Quality.EXACT, "native"),
    ("exact, 20 steps", 20, Quality.EXACT, "native"),
    ("balanced, 50 steps", 50, Quality.BALANCED, "native"),
    ("fast, 50 steps", 50, Quality.FAST, "native"),
    ("fast, 20 steps", 20, Quality.FAST, "native"),
    ("diffusers, 50 steps", 50, Quality.EXACT, "diffusers"),
    ("diffusers, 20 steps", 20, Quality.EXACT, "diffusers"),
)
"""Name, steps that are asked for, quality and who draws; guidance is on in all."""
IDLE_PAUSE = 5.0
"""Seconds between two looks at whether a container is still there."""


class Row(Value):
    """One entry's result."""

    name: str
    load_seconds: float
    first_seconds: float
    """With whatever is compiled or captured on first use."""
    seconds: float
    """Median of the following pictures."""
    times_stock: float
    """How many times as fast as the stock pipeline with the same steps."""


class ColdStart(Value):
    """Seconds from a call to what came of it, where a container had to start."""

    container: float
    picture: float


def race(
    settings: EngineSettings,
    make: MakePipeline,
    *,
    rounds: int = 5,
    monotonic: Callable[[], float] = time.monotonic,
) -> tuple[Row, ...]:
    """Time the default model: every entry once, and then in turns, so that a device that slows down does so for all.

    Raises:
        WeightsError: the model is not here.
    """
    source = resolve(settings.model, settings)
    pipelines: dict[str, Pipeline] = {}
    loads: dict[str, float] = {}
    for kind in ("native", "diffusers"):
        if kind in (source.kind, "diffusers"):
            pipelines[kind] = make(replace(source, kind=kind), settings)
            loads[kind] = _timed(pipelines[kind].load, monotonic)
    entries = [entry for entry in ENTRIES if entry[3] in pipelines]
    times: dict[str, list[float]] = {name: [] for name, *_ in entries}
    for _ in range(1 + rounds):
        for name, steps, quality, who in entries:
            times[name].append(_drawn(pipelines[who], _request(settings, steps, quality), monotonic))
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    return tuple(
        Row(
            name=name,
            load_seconds=loads[who],
            first_seconds=times[name][0],
            seconds=medians[name],
            times_stock=medians[f"diffusers, {steps} steps"] / medians[name],
        )
        for name, steps, _, who in entries
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':<22}{'load':>9}{'first':>9}{'then':>9}{'stock':>8}"]
    for row in rows:
        figures = (row.load_seconds, row.first_seconds, row.seconds)
        lines.append(f"{row.name:<22}{''.join(f'{seconds:>8.2f}s' for seconds in figures)}{row.times_stock:>7.2f}x")
    return "\n".join(lines)


def _request(settings: EngineSettings, steps: int, quality: Quality) -> ResolvedRequest:
    info = resolve(settings.model, settings).info
    side = SIDE if info.min_side <= SIDE <= info.max_side else info.default_side
    return ResolvedRequest(
        prompt=PROMPT,
        steps=steps,
        guidance=info.guidance,
        width=side,
        height=side,
        seed=SEED,
        sampler=info.sampler,
        model=info.name,
        quality=quality,
    )


def _drawn(pipeline: Pipeline, request: ResolvedRequest, monotonic: Callable[[], float]) -> float:
    return _timed(lambda: pipeline.draw([request], _ignored), monotonic)


def _timed(work: Callable[[], object], monotonic: Callable[[], float]) -> float:
    """Seconds; a drawn picture has left the GPU, so that nothing is still under way."""
    begun = monotonic()
    work()
    return monotonic() - begun


def _ignored(step: int, steps: int, look: object = None, /) -> None:
    pass


def first_picture(
    draw: Callable[[bytes], Iterator[bytes]], settings: EngineSettings, monotonic: Callable[[], float] = time.monotonic
) -> ColdStart:
    """Time a call of a generator whose container has to start.

    Raises:
        EngineError: it answered so, or with no picture.
    """
    begun, container = monotonic(), 0.0
    for payload in draw(wire.call(requests=(_request(settings, 20, Quality.EXACT),))):
        answer = wire.read(payload)
        if answer.call is not None:
            container = container or monotonic() - begun
        elif answer.value is not None and answer.value["kind"] == "drawn":
            return ColdStart(container=container, picture=monotonic() - begun)
    raise UnreachableError("The GPU service broke off before the picture was finished.")


def until_idle(
    containers: Callable[[], int],
    patience: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until there is no container left, so that the next call has to start one; False if some stay."""
    limit = monotonic() + patience
    while containers():
        if monotonic() > limit:
            return False
        sleep(IDLE_PAUSE)
    return True
