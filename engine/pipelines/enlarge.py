"""Bringing a picture to the size that was asked for, where the model draws only its own."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from engine.pipelines.base import Drawing
from engine.types import Note, NoteCode, ResolvedRequest


def enlarged(image: Image.Image, request: ResolvedRequest, seconds: Mapping[str, float]) -> Drawing:
    """The drawing at the request's output size: as it is, or resampled by Lanczos' filter with a note that says so."""
    if image.size == request.output_size:
        return Drawing(image=image, seconds=dict(seconds))
    note = Note(code=NoteCode.UPSCALED, detail=f"{image.width}x{image.height}")
    resized = image.resize(request.output_size, Image.Resampling.LANCZOS)
    return Drawing(image=resized, seconds=dict(seconds), notes=(note,))
