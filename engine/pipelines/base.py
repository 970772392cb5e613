"""The seam between engine and picture: whatever turns requests into pixels looks like this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from engine.types import Note, ResolvedRequest

if TYPE_CHECKING:
    from PIL.Image import Image

OnStep = Callable[[int, int], None]
"""Called after each denoising step with steps done and steps in all. Raises GenerationCancelled to stop."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One picture as the model drew it: RGB, of the size that was asked for, not yet checked or marked."""

    image: Image
    seconds: dict[str, float]
    """Wall time by stage: `text`, `denoise`, `decode`."""
    notes: tuple[Note, ...] = field(default=())


class Pipeline(Protocol):
    """A loaded or loadable model. Calls block: they belong in a worker thread, one at a time."""

    def load(self) -> None:
        """Bring the weights into memory; called once before the first `draw`.

        Raises:
            engine.errors.WeightsError: files are missing, truncated or of the wrong shape.
            engine.errors.ExtraMissingError: a package that the model needs is not installed.
        """

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Draw requests that agree in all but prompt, negative prompt, guidance and seed, as one batch.

        A request gives the same picture alone and in company, within the parity tolerance.

        Raises:
            engine.errors.GenerationCancelled: `on_step` asked for it.
            engine.errors.MemoryExhaustedError: it doesn't fit the device, even after falling back.
        """
