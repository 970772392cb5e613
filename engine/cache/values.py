"""What the cache keeps beside a picture, and what it hands out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from engine.types import Seed, Value

Tier = Literal["finished", "unmarked"]
"""`unmarked` pictures come from the pipeline; `finished` files are delivered."""

MAX_BYTES = 2**28
"""Of one picture's file."""
MAX_SIDE = 2**16
"""Pixels."""

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_KEY = re.compile(r"[0-9a-f]{64}\Z")


def is_key(text: str) -> bool:
    """Whether a text is 64 lower-case hexadecimal digits, the only thing that may become part of a path."""
    return _KEY.match(text) is not None


class EntryFacts(Value):
    """What is known of a picture when it is stored."""

    scope: str
    owner: str
    """Who asked for it first."""
    family: Key
    generation_key: Key
    """Of the unmarked picture; an unmarked entry's own key."""
    prompt: str
    model: str
    seed: Seed
    width: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    parameters: dict[str, Any]


class SideCar(Value):
    """The JSON file beside every picture. Its presence makes the entry: it is written last and removed first."""

    version: Literal[1] = 1
    key: Key
    tier: Tier
    sha256: Key
    bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)]
    created: Annotated[float, Field(allow_inf_nan=False)]
    """Seconds since 1970."""
    facts: EntryFacts

    @model_validator(mode="after")
    def _unmarked_is_its_own_generation(self) -> Self:
        if self.tier == "unmarked" and self.facts.generation_key != self.key:
            raise ValueError("an unmarked entry's key must be its generation key")
        return self


class CachedFile(NamedTuple):
    """A hit: the file's bytes, verified, and what is known of it."""

    data: bytes
    side_car: SideCar

    @property
    def parameters(self) -> dict[str, Any]:
        """The options that it was drawn with."""
        return self.side_car.facts.parameters


class Reusable(NamedTuple):
    """An unmarked picture that will do for a request without a seed."""

    key: str
    seed: int
