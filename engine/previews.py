"""Previews on their way out: what may be seen of a picture before it is finished and checked.

A preview must not show what the check of the finished picture would withhold. So none is shown of a prompt that was
steered, or in strict mode; each is looked at by the same classifier, which passes it only below half the score that
would withhold a picture, since it sees less of it; after the first that it doesn't pass, no more are shown of that
picture. Whatever goes wrong, nothing is shown: a preview is worth no error. And it shows little, at most 64 blurred
pixels a side.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.orders import Plan, Run
from engine.safety.policy import Safety
from engine.types import MAX_PREVIEW, Stage

if TYPE_CHECKING:
    from PIL.Image import Image

    from engine.pipelines.base import Previews

SHOWN_SIDE = 256
"""Pixels of the longest side as it is sent; the pixels between are smoothed in, so that no chat shows blocks."""
QUALITIES = (80, 60, 40)
"""JPEG qualities to try until the preview is small enough; the first does at 256 x 256."""


class Viewing:
    """Reports a batch's progress, with previews where they may be seen."""

    def __init__(self, run: Run, plans: Sequence[Plan], safety: Safety) -> None:
        self._run = run
        self._plans = plans
        self._safety = safety
        self._hidden = {place for place, plan in enumerate(plans) if not plan.previewed}
        self._latest: dict[int, bytes] = {}
        self._checking: asyncio.Task[None] | None = None

    def report(self, step: int, steps: int, previews: Previews | None = None, /) -> None:
        """Send progress, each picture's with its latest preview; new ones follow when they have been checked."""
        self._send(range(len(self._plans)), step, steps)
        if previews and (self._checking is None or self._checking.done()):
            self._checking = asyncio.create_task(self._show(previews, step, steps))

    async def close(self) -> None:
        """Nothing more will be reported."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)

    async def _show(self, previews: Previews, step: int, steps: int) -> None:
        for place, picture in previews.items():
            if place in self._hidden:
                continue
            larger = await asyncio.to_thread(_larger, picture)
            data = await asyncio.to_thread(_encoded, larger) if await self._safety.allows_preview(larger) else None
            if data is None:
                self._hidden.add(place)
                self._latest.pop(place, None)
            else:
                self._latest[place] = data
                self._send([place], step, steps)

    def _send(self, places: Sequence[int], step: int, steps: int) -> None:
        for place in places:
            self._run.report([self._plans[place]], Stage.DRAWING, step, steps, self._latest.get(place))


def _larger(picture: Image) -> Image:
    """A preview at the size in which it is shown, and as the classifier sees it."""
    from PIL.Image import Resampling

    scale = SHOWN_SIDE / max(picture.size)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    return picture.resize((width, height), Resampling.BICUBIC)


def _encoded(picture: Image) -> bytes | None:
    """A JPEG of at most `MAX_PREVIEW` bytes."""
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= MAX_PREVIEW:
            return file.getvalue()
    return None
