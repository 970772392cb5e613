"""The seam between engine and picture: whatever turns requests into pixels looks like this."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from engine.settings import EngineSettings
from engine.types import Cost, Note, ResolvedRequest, Stage

if TYPE_CHECKING:
    from PIL.Image import Image

Previews = Mapping[int, "Image"]
"""Small pictures of what a batch's pictures are becoming, by their place in the batch."""
Look = Callable[[], Previews]
"""Makes them, which takes a moment; good until the callback that it was given to returns."""


class OnStep(Protocol):
    """Called after each denoising step. Raises GenerationCancelled to stop."""

    def __call__(self, step: int, steps: int, look: Look | None = None, /) -> None:
        """`step` of `steps` are done; `look` is None where the model has no previews."""


def in_turn(on_step: OnStep, turn: int, places: Sequence[Sequence[int]]) -> OnStep:
    """Reports of the `turn`th group of a batch as reports of the whole; `places` has each group's places in the batch.

    Groups of equally many steps are drawn one after the other.
    """

    def report(step: int, steps: int, look: Look | None = None, /) -> None:
        placed = None if look is None else lambda: {places[turn][i]: picture for i, picture in look().items()}
        on_step(turn * steps + step, len(places) * steps, placed)

    return report


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One picture as the model drew it: RGB, of the request's `output_size`, not yet checked or marked."""

    image: Image
    seconds: dict[str, float]
    """Wall time by stage: `text`, `denoise`, `decode`."""
    notes: tuple[Note, ...] = field(default=())
    cost: Cost | None = None
    """Where GPUs are rented by the second."""


class Pipeline(Protocol):
    """A loaded or loadable model. Calls block: they belong in a worker thread, one at a time."""

    def load(self) -> None:
        """Bring the weights into memory; called once before the first `draw`.

        Raises:
            engine.errors.WeightsError: files are missing, truncated or of the wrong shape.
            engine.errors.ExtraMissingError: a package that the model needs is not installed.
        """

    def move(self, settings: EngineSettings) -> None:
        """Bring loaded weights to the device of other settings, as from a memory snapshot to a GPU.

        The precision stays what it was when they were loaded.

        Raises:
            engine.errors.InputError: there is no such device, or the attention kernel can't run on it.
        """

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Draw requests of one `shape` (`engine.orders.Plan`) as one batch.

        They may differ in prompt, negative prompt, guidance, seed, variations and starting image. A request gives the
        same picture alone and in company, within the parity tolerance.

        Raises:
            engine.errors.GenerationCancelled: `on_step` asked for it.
            engine.errors.InputError: the model can't start from an image, vary or enlarge a picture.
            engine.errors.MemoryExhaustedError: it doesn't fit the device, even after falling back.
        """


class Report(Protocol):
    """Called on the event loop as a batch comes further."""

    def __call__(self, step: int, steps: int, previews: Previews | None = None, /) -> None:
        """`step` of `steps` are done; `previews` are None more often than not."""


class Renderer(Protocol):
    """Has batches drawn without keeping the event loop: by a thread of this process, or on other machines."""

    @property
    def together(self) -> int:
        """Pictures of a batch at most."""

    @property
    def at_once(self) -> int:
        """Batches of one order at a time; more of them would only wait for each other."""

    def outlook(self, model: str) -> Stage:
        """What the next batch of a model begins with: drawing at once, or a wait before it."""

    async def draw(self, requests: Sequence[ResolvedRequest], report: Report, stop: threading.Event) -> list[Drawing]:
        """Draw a batch of one model.

        Raises:
            engine.errors.GenerationCancelled: `stop` was set, before the start or between two steps.
            engine.errors.EngineError: whatever went wrong, or that it took too long.
        """

    async def close(self) -> None:
        """Let go of everything, but don't wait long; whoever draws must have been told to stop."""
