"""Drawing step by step: pictures of one model that share the network's forward passes, each on a way of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from engine.pipelines.base import Drawing, OnStep
    from engine.sd.denoiser import Conditioning
    from engine.sd.samplers import Query, Run
    from engine.types import ResolvedRequest


@dataclass(kw_only=True, eq=False)
class Painting:
    """Pictures of one shape on their way from noise to latents: what they ask the network, again and again."""

    requests: Sequence[ResolvedRequest]
    conditioning: Conditioning
    times: Sequence[float]
    """Every timestep that will be asked about."""
    run: Run
    seconds: dict[str, float]
    """Wall time by stage, so far."""


@dataclass(kw_only=True, eq=False)
class Way:
    """One picture that is drawn in company."""

    painting: Painting
    query: Query
    """The question that it waits to be answered."""
    latents: Tensor | None = None
    """Set when it has reached its end."""
    begun: float = field(default_factory=time.perf_counter)

    @property
    def size(self) -> tuple[int, ...]:
        """Of its latents: one forward pass takes those of equal size."""
        return tuple(self.query.x.shape[1:])

    @property
    def rows(self) -> int:
        """How many rows of the network's batch the question takes: two where guidance is on."""
        return len(self.query.x) + len(self.painting.conditioning.guided(self.query.progress))


class Stepper(Protocol):
    """Takes pictures from step to step. Like a pipeline's, its calls block and come from one thread."""

    def takes(self, request: ResolvedRequest) -> bool:
        """Whether such a picture can be drawn in company."""

    def begin(self, request: ResolvedRequest, on_step: OnStep) -> Way:
        """Everything before the first question.

        Raises:
            engine.errors.InputError: the model can't do what was asked for.
            engine.errors.MemoryExhaustedError: it doesn't fit, as from the others.
        """

    def answer(self, ways: Sequence[Way]) -> list[Tensor]:
        """Answer the questions of pictures of equal size by one forward pass.

        Raises:
            engine.errors.MemoryExhaustedError: so many don't fit the device.
        """

    def resume(self, way: Way, answer: Tensor) -> None:
        """Go on to the next question, or to the end; whatever `on_step` raises ends this picture alone."""

    def finish(self, way: Way) -> Drawing:
        """Decode what has reached its end."""


@runtime_checkable
class Stepped(Protocol):
    """A pipeline whose pictures can be drawn step by step."""

    def stepper(self) -> Stepper | None:
        """Of the loaded weights where they are; None where stepping doesn't go with the settings."""
