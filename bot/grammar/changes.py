"""Changes to a picture that buttons make in chats, as a front end with typed options may give them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from bot import messages
from bot.errors import BadInputError
from bot.grammar.options import Given
from engine.types import MAX_VARIATIONS, Variation

UPSCALE, VARIATIONS = "upscale", "variations"
SEPARATOR = " "
"""Between variations."""
STEP = re.compile(r"\s*(?P<seed>[0-9]{1,20})\s*:\s*(?P<strength>[0-9]*\.?[0-9]+)\s*", re.ASCII)


def take_changes(options: dict[str, Given], locale: str = messages.ENGLISH) -> dict[str, Any]:
    """Take these changes out of options, as fields of a request: `upscale`, and `variations` as `SEED:STRENGTH ...`.

    Raises:
        BadInputError: a variation is not written so, or there are too many.
    """
    changes: dict[str, Any] = {}
    if options.pop(UPSCALE, None):
        changes[UPSCALE] = 2
    steps = str(options.pop(VARIATIONS, None) or "").split(SEPARATOR)
    variations = tuple(_variation(step, locale) for step in steps if step)
    if len(variations) > MAX_VARIATIONS:
        raise BadInputError(messages.say("input.too_many_variations", locale, limit=MAX_VARIATIONS))
    return changes | ({VARIATIONS: variations} if variations else {})


def _variation(given: str, locale: str) -> Variation:
    match = STEP.fullmatch(given)
    try:
        if match:
            return Variation(seed=int(match["seed"]), strength=float(match["strength"]))
    except ValidationError:
        pass
    raise BadInputError(messages.say("input.variation", locale, given=messages.quote(given)))
