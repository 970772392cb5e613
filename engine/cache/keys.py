"""Content addresses: SHA-256 of the canonical JSON of everything that makes a picture what it is."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from engine.types import ResolvedRequest, Watermark

SCHEMA = 1
"""Raised when a key's ingredients change their meaning; old entries are then never found again and age out."""

NOT_PIXELS = frozenset(
    {
        "style",  # already expanded into the prompt
        "strict",  # given beside the request, since the operator may demand it from everybody
        "force",
        "watermark",
        "watermark_text",
        "watermark_position",
        "watermark_opacity",
        "watermark_size",
        "watermark_color",
        "watermark_margin",
        "spoiler",
        "private",
    }
)
"""Fields of a request that leave the unmarked picture as it is; every other field is part of its key."""


def generation_key(
    request: ResolvedRequest, *, revision: str, fingerprint: str, filter_version: str, strict: bool, scope: str
) -> str:
    """Address of an unmarked picture.

    Args:
        request: what is drawn, with its seed.
        revision: of the model's weights.
        fingerprint: what else of the engine changes pixels: pipeline, precision, optimisations.
        filter_version: of the safety checks that the picture passed.
        strict: the safety mode that was in force.
        scope: the community that may see it.

    Returns:
        64 hexadecimal digits.
    """
    facts = _picture(request, revision, fingerprint, filter_version) | {"strict": strict, "scope": scope}
    return _digest("generation", facts)


def family_key(
    request: ResolvedRequest, *, revision: str, fingerprint: str, filter_version: str, strict: bool, scope: str
) -> str:
    """Address of all the pictures that differ in nothing but their seed; arguments as of `generation_key`."""
    facts = _picture(request, revision, fingerprint, filter_version) | {"strict": strict, "scope": scope}
    del facts["seed"]
    return _digest("family", facts)


def finished_key(generation: str, mark: Watermark | None, *, provenance: str) -> str:
    """Address of a file as it is delivered: a picture, its visible mark, and how marks and text are written."""
    facts = {
        "generation": generation,
        "mark": mark and _canonical(mark.model_dump(mode="json")),
        "provenance": provenance,
    }
    return _digest("finished", facts)


def _picture(request: ResolvedRequest, revision: str, fingerprint: str, filter_version: str) -> dict[str, Any]:
    given = request.model_dump(mode="json", exclude={*NOT_PIXELS, "image"})
    start = {"image": request.image and request.image.sha256, "strength": request.start_strength}
    facts = _canonical(given | start)
    return facts | {"revision": revision, "fingerprint": fingerprint, "filter_version": filter_version}


def _canonical(facts: dict[str, Any]) -> dict[str, Any]:
    """Minus zero is zero; any other float has one shortest spelling, which JSON uses."""
    return {name: fact + 0.0 if isinstance(fact, float) else fact for name, fact in facts.items()}


def _digest(kind: str, facts: dict[str, Any]) -> str:
    text = json.dumps({"schema": SCHEMA, "kind": kind, **facts}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
