"""A stranger's image, and what a picture can start from.

This is done in the bot's process and not by the engine: bytes that are no image, or one that would unfold into
gigabytes, go no further than here.
"""

from __future__ import annotations

import asyncio

from engine.errors import ExtraMissingError
from engine.types import ModelInfo, SourceImage


async def size_for(data: bytes, model: ModelInfo) -> tuple[int, int]:
    """Width and height for a request that names none: of the image's shape, as the model draws them.

    Raises:
        InputError: it is no image, or out of bounds; the sentence says which.
    """
    if model.square_only:
        return model.default_side, model.default_side
    return await asyncio.to_thread(_size, data, model)


async def source_image(data: bytes, width: int, height: int) -> SourceImage:
    """The image, checked and brought to the size of a request in pixels.

    Raises:
        InputError: it is no image, damaged, or out of bounds; the sentence says which.
    """
    return await asyncio.to_thread(_source, data, width, height)


def _size(data: bytes, model: ModelInfo) -> tuple[int, int]:
    try:
        from engine import sources
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return sources.request_size(data, side=model.default_side, low=model.min_side, high=model.max_side)


def _source(data: bytes, width: int, height: int) -> SourceImage:
    try:
        from engine import sources
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return sources.source_image(data, width, height)


def _missing(error: ModuleNotFoundError) -> ExtraMissingError:
    return ExtraMissingError(
        f"Starting from an image needs the package {error.name}: run pip install pillow where the bot runs."
    )
