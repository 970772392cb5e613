"""Our own Stable Diffusion step by step: pictures of equal size share each forward pass, however far each has come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.errors import MemoryExhaustedError
from engine.pipelines.base import Drawing, OnStep
from engine.pipelines.optimisations import preset_for
from engine.pipelines.placement import free_memory, is_out_of_memory
from engine.pipelines.stepping import Way
from engine.types import ResolvedRequest

if TYPE_CHECKING:
    from engine.pipelines.native import NativePipeline


class NativeStepper:
    """`engine.pipelines.stepping.Stepper` of a loaded pipeline; moving the pipeline ends its use."""

    def __init__(self, pipeline: NativePipeline, device: torch.device) -> None:
        self._pipeline = pipeline
        self._device = device
        self._denoiser = pipeline.denoiser()

    def takes(self, request: ResolvedRequest) -> bool:
        """Whether such a picture can be drawn in company: not where features are reused from step to step."""
        return preset_for(request).reuse == 1

    @torch.inference_mode()
    def begin(self, request: ResolvedRequest, on_step: OnStep) -> Way:
        """Prompt, noise and schedule.

        Raises:
            MemoryExhaustedError: they don't fit the device.
        """
        with self._fitting():
            painting = self._pipeline.begin([request], on_step)
            self._denoiser.prepare(painting.times)
            return Way(painting=painting, query=next(painting.run))

    @torch.inference_mode()
    def answer(self, ways: Sequence[Way]) -> list[Tensor]:
        """Clean latents, [1, channels, height, width] each, by one forward pass; it is over when this returns.

        Raises:
            MemoryExhaustedError: so many don't fit the device.
        """
        with self._fitting():
            answers = self._denoiser.join([way.query for way in ways], [way.painting.conditioning for way in ways])
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)  # or the host would be steps ahead of whoever wants to join
            return answers

    @torch.inference_mode()
    def resume(self, way: Way, answer: Tensor) -> None:
        """Go on to the next query, or to the end.

        Raises:
            MemoryExhaustedError: what lies between two passes doesn't fit the device.
        """
        with self._fitting():
            try:
                way.query = way.painting.run.send(answer)
            except StopIteration as finished:
                way.latents = finished.value
                way.painting.seconds["denoise"] = time.perf_counter() - way.begun

    @torch.inference_mode()
    def finish(self, way: Way) -> Drawing:
        """Decode what has reached its end.

        Raises:
            MemoryExhaustedError: it doesn't fit the device.
        """
        assert way.latents is not None  # noqa: S101  (only what has ended is finished)
        with self._fitting():
            (drawing,) = self._pipeline.finish(way.painting, way.latents)
            return drawing

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Out of memory is an error of ours inside."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            free_memory(self._device)
            raise MemoryExhaustedError("So many pictures don't fit this device's memory at once.") from error
