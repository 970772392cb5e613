"""Our pipeline and the stock one of diffusers, side by side on the same device: what `benchmark` on Modal prints.

The ladder of single optimisations is elsewhere; here is what an operator gets.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from engine import wire
from engine.models.registry import resolve
from engine.pipelines.base import Pipeline
from engine.pipelines.resident import MakePipeline
from engine.settings import EngineSettings
from engine.types import Quality, ResolvedRequest, Value

PROMPT = "a lighthouse on a cliff at dawn, oil painting"
SEED = 7
ENTRIES: Sequence[tuple[str, int, Quality, str]] = (
    ("exact, 50 steps", 50, Quality.EXACT, "native"),
    ("exact, 20 steps", 20, Quality.EXACT, "native"),
    ("balanced", 50, Quality.BALANCED, "native"),
    ("fast", 50, Quality.FAST, "native"),
    ("diffusers, 50 steps", 50, Quality.EXACT, "diffusers"),
    ("diffusers, 20 steps", 20, Quality.EXACT, "diffusers"),
)
"""Name, steps, quality and who draws; guidance is on in all."""


class Row(Value):
    """One entry's result."""

    name: str
    load_seconds: float
    first_seconds: float
    """With whatever is compiled or captured on first use."""
    seconds: float
    """Median of the following pictures."""


def race(
    settings: EngineSettings,
    make: MakePipeline,
    *,
    rounds: int = 5,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Row]:
    """Time the default model, one pipeline in memory at a time; yields a row as soon as it is known.

    Raises:
        WeightsError: the model is not here.
    """
    source = resolve(settings.model, settings)
    for kind in ("native", "diffusers"):
        pipeline = make(replace(source, kind=kind), settings)
        load = _timed(pipeline.load, monotonic)
        for name, steps, quality, who in ENTRIES:
            if who == kind:
                request = _request(settings, steps, quality)
                first, *further = [_drawn(pipeline, request, monotonic) for _ in range(rounds + 1)]
                yield Row(name=name, load_seconds=load, first_seconds=first, seconds=statistics.median(further))
        del pipeline


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':<22}{'load':>8}{'first':>8}{'then':>8}"]
    lines += [f"{row.name:<22}{row.load_seconds:>7.2f}s{row.first_seconds:>7.2f}s{row.seconds:>7.2f}s" for row in rows]
    return "\n".join(lines)


def _request(settings: EngineSettings, steps: int, quality: Quality) -> ResolvedRequest:
    info = resolve(settings.model, settings).info
    return ResolvedRequest(
        prompt=PROMPT,
        steps=steps,
        guidance=info.guidance,
        width=info.default_side,
        height=info.default_side,
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
) -> Iterator[tuple[str, float]]:
    """Seconds from a call of a generator to its beginning, and to its first picture.

    Raises:
        EngineError: it answered so.
    """
    begun = monotonic()
    for payload in draw(wire.call(requests=(_request(settings, 20, Quality.EXACT),))):
        answer = wire.read(payload)
        if answer.call is not None:
            yield "container", monotonic() - begun
        elif answer.value is not None and answer.value["kind"] == "drawn":
            yield "picture", monotonic() - begun
