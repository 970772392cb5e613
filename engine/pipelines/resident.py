"""A pipeline that is in memory before anybody asks for it: loaded on the CPU, to be moved once there is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.models.registry import ModelSource
from engine.pipelines.base import Drawing, OnStep, Pipeline
from engine.pipelines.stepping import Stepped, Stepper
from engine.settings import EngineSettings
from engine.types import ResolvedRequest

MakePipeline = Callable[[ModelSource, EngineSettings], Pipeline]


class ResidentPipeline:
    """Another pipeline, whose weights are loaded once, however often that is asked for."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._loaded = False

    def load(self) -> None:
        """Bring the weights into memory, unless they are there; errors as of `Pipeline.load`."""
        if not self._loaded:
            self._pipeline.load()
            self._loaded = True

    def move(self, settings: EngineSettings) -> None:
        """Bring the loaded weights to the device of other settings; errors as of `Pipeline.move`."""
        self._pipeline.move(settings)

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Draw a batch; errors as of `Pipeline.draw`."""
        return self._pipeline.draw(requests, on_step)

    def stepper(self) -> Stepper | None:
        """Of the pipeline itself, if it has one."""
        return self._pipeline.stepper() if isinstance(self._pipeline, Stepped) else None
