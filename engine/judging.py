"""What may be drawn: the checks of a request before anything is looked up, and what follows from them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from engine.cache import Cache
from engine.errors import InputError
from engine.safety.policy import Decision, Safety, Verdict
from engine.settings import EngineSettings
from engine.sources import opened
from engine.types import ModelInfo, Note, NoteCode, ResolvedRequest, SourceImage


class Judge:
    """Judges requests. Verdicts are remembered by content and filter version, so that a hit needs no model."""

    def __init__(self, safety: Safety, cache: Cache, settings: EngineSettings) -> None:
        self._safety = safety
        self._cache = cache
        self._settings = settings

    async def __call__(self, request: ResolvedRequest, *, strict: bool) -> Verdict:
        """The verdict on what was written and on the image to start from; a refusal of either is one.

        Raises:
            InputError: nobody may start from an image here, or it is damaged.
            SafetyUnavailableError: a check that is switched on can't run.
        """
        written = await self._written(request, strict=strict)
        if request.image is None:
            return written
        if not self._settings.image_input:
            raise InputError("Starting from an image is switched off here; the operator may allow it.")
        shown = await self._shown(request.image)
        return shown if shown.decision == Decision.REFUSE else written

    async def _written(self, request: ResolvedRequest, *, strict: bool) -> Verdict:
        texts = (request.prompt, request.negative_prompt, request.watermark_text or "")
        text = "\0".join((*texts, str(strict), *sorted(request.waived)))
        check = lambda: self._safety.check_prompt(request, strict=strict, waived=request.waived)  # noqa: E731
        return await self._remembered(text, check)

    async def _shown(self, image: SourceImage) -> Verdict:
        async def check() -> Verdict:
            return await self._safety.check_image(await asyncio.to_thread(opened, image))

        return await self._remembered(f"image\0{image.sha256}", check)

    async def _remembered(self, content: str, check: Callable[[], Awaitable[Verdict]]) -> Verdict:
        digest = hashlib.sha256(content.encode()).hexdigest()
        known = await self._cache.verdict(digest, self._safety.version)
        if known is not None:
            return Verdict.model_validate(known)
        verdict = await check()
        await self._cache.remember_verdict(digest, self._safety.version, verdict.model_dump(mode="json"))
        return verdict


def refused(request: ResolvedRequest, verdict: Verdict) -> bool:
    """Whether nothing may be drawn; a risky prompt too where nothing can steer it, as models without guidance."""
    unsteerable = request.guidance <= 1
    return verdict.decision == Decision.REFUSE or (verdict.decision == Decision.STEER and unsteerable)


def steered(request: ResolvedRequest, verdict: Verdict) -> tuple[ResolvedRequest, tuple[Note, ...]]:
    """Normal mode goes on with a risky prompt, but away from what made it risky, and says so."""
    if verdict.decision != Decision.STEER:
        return request, ()
    negative = ", ".join(part for part in (request.negative_prompt, verdict.negative_prompt) if part)
    led = request.model_copy(update={"negative_prompt": negative})
    return led, (Note(code=NoteCode.STEERED, detail=", ".join(verdict.categories)),)


def check_size(request: ResolvedRequest, model: ModelInfo) -> None:
    """Raise InputError where an enlarged picture is larger than its model draws."""
    if request.upscale > 1 and max(request.output_size) > model.max_side:
        width, height = request.output_size
        raise InputError(
            f"The model {model.name} draws sides of up to {model.max_side} pixels, so not {width}x{height}."
        )
