"""A pipeline that paints each picture in a colour made of its seed, and stops where a test wants to look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from PIL import Image

from engine.models.registry import ModelSource
from engine.pipelines.base import Drawing, OnStep
from engine.settings import EngineSettings
from engine.types import ResolvedRequest


def color(seed: int) -> tuple[int, int, int]:
    """The colour of a seed's picture."""
    return seed % 256, seed // 256 % 256, 128


class ScriptedPipeline:
    """Draws in two steps, waiting at `gate` between them."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.batches: list[tuple[int, ...]] = []
        """Seeds of every batch that was drawn or begun."""
        self.loads = 0
        self.looks = 0
        self.fault: Exception | None = None

    def __call__(self, source: ModelSource, settings: EngineSettings) -> ScriptedPipeline:
        """Stands where the engine makes pipelines."""
        return self

    def load(self) -> None:
        """Count."""
        self.loads += 1

    def move(self, settings: EngineSettings) -> None:
        """It is everywhere."""

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Paint."""
        self.batches.append(tuple(request.seed for request in requests))
        self.begun.set()
        on_step(1, 2, lambda: {place: self.look(request) for place, request in enumerate(requests)})
        assert self.gate.wait(30)
        if self.fault:
            raise self.fault
        on_step(2, 2)
        return [self.paint(request) for request in requests]

    def look(self, request: ResolvedRequest) -> Image.Image:
        """A preview: the same colour, smaller."""
        self.looks += 1
        return Image.new("RGB", (16, 8), color(request.seed))

    def paint(self, request: ResolvedRequest) -> Drawing:
        """One plain picture."""
        image = Image.new("RGB", request.output_size, color(request.seed))
        return Drawing(image=image, seconds={"denoise": 0.0})


Maker = Callable[[ModelSource, EngineSettings], ScriptedPipeline]
