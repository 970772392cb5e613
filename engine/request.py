"""One picture, as a person asks for it: the one declaration of every option. Frozen, torch-free, JSON-serialisable."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_PROMPT = 2_000
"""Characters; a prompt's first 77 tokens are what the model reads."""
MAX_SEED = 2**64 - 1
MAX_BATCH = 20
"""Pictures in one `/batch`."""
SIZE_STEP = 8
"""Every side is a multiple of this many pixels, the factor of Stable Diffusion's autoencoder."""
MAX_VARIATIONS = 8
"""Variations of variations that one request carries."""
MAX_SOURCE = 16 * 2**20
"""Bytes of a starting image once it is a PNG of the request's size."""
DEFAULT_STRENGTH = 0.6
"""Of image-to-image, where the person names none: the composition stays, the rest is drawn anew."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Sampler(StrEnum):
    """Ways from noise to picture; `engine.sd.samplers` implements one function each."""

    DDIM = "ddim"
    EULER = "euler"
    EULER_ANCESTRAL = "euler_a"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    HEUN = "heun"
    LCM = "lcm"


class Quality(StrEnum):
    """How much of the picture may be traded for time."""

    EXACT = "exact"
    BALANCED = "balanced"
    FAST = "fast"


class Position(StrEnum):
    """Where the visible mark sits."""

    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"
    CENTER = "center"


class Value(BaseModel):
    """Base of all values: frozen, strict about unknown fields, compared by content."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Flags:
    """Marks a field as an option that a person may set, and names its flags in text, the canonical one first."""

    def __init__(self, *names: str) -> None:
        self.names = names


def _printable(text: str) -> str:
    """Control characters have no meaning to a model and are a way to spoof what moderators read."""
    if any(ord(c) < 32 or ord(c) == 127 for c in text if c not in "\t\n"):
        raise ValueError("must not hold control characters")
    return text.strip()


def _color(text: str) -> str:
    digits = text.removeprefix("#")
    if len(digits) != 6 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise ValueError("must be a colour like #rrggbb")
    return f"#{digits.lower()}"


Text = Annotated[str, AfterValidator(_printable)]
Guidance = Annotated[float, Field(ge=0.0, le=30.0, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=100)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Side = Annotated[int, Field(ge=64, le=2048, multiple_of=SIZE_STEP)]


class Variation(Value):
    """A step away from a picture: its noise, interpolated spherically towards the noise of another seed."""

    seed: Seed
    strength: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
    """0 would be the picture itself, 1 is the other seed's."""


def _png(data: bytes) -> bytes:
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError("must be a PNG")
    return data


class SourceImage(Value):
    """An image to start from, as `engine.sources` makes it of a stranger's file: an RGB PNG, checked and resized."""

    data: Annotated[bytes, Field(max_length=MAX_SOURCE, repr=False), AfterValidator(_png)]

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    @cached_property
    def sha256(self) -> str:
        """Digest of the file, by which keys and parameters name it."""
        return hashlib.sha256(self.data).hexdigest()


Waivable = Literal["keywords", "toxicity"]
"""Safety layers whose refusal a moderator may overrule; zero tolerance and the check of pictures are none."""


class ImageRequest(Value):
    """One picture, as a person asks for it: the one declaration of every option.

    None means "the model's own default", or a random seed. Front ends, the documentation and the cache key are
    derived from these fields or tested against them.
    """

    prompt: Annotated[Text, Field(min_length=1, max_length=MAX_PROMPT)] = Field(
        description="What the picture should show."
    )
    negative_prompt: Annotated[Text, Field(max_length=MAX_PROMPT), Flags("--negative", "--no")] = Field(
        default="", description="What the picture should not show."
    )
    steps: Annotated[Steps | None, Flags("--steps")] = Field(
        default=None, description="Denoising steps: more are slower and finer."
    )
    guidance: Annotated[Guidance | None, Flags("--guidance", "--cfg")] = Field(
        default=None, description="How closely the picture follows the prompt."
    )
    width: Annotated[Side | None, Flags("--width")] = Field(default=None, description="Width in pixels.")
    height: Annotated[Side | None, Flags("--height")] = Field(default=None, description="Height in pixels.")
    seed: Annotated[Seed | None, Flags("--seed")] = Field(
        default=None, description="The same seed and options give the same picture; random when unset."
    )
    sampler: Annotated[Sampler | None, Flags("--sampler")] = Field(
        default=None, description="The way from noise to picture."
    )
    model: Annotated[str | None, Field(max_length=200), Flags("--model")] = Field(
        default=None, description="Which model draws."
    )
    style: Annotated[str | None, Field(max_length=50), Flags("--style")] = Field(
        default=None, description="A named look that the operator defined."
    )
    quality: Annotated[Quality, Flags("--quality")] = Field(
        default=Quality.EXACT, description="exact, or balanced and fast, which trade some likeness for time."
    )
    strict: Annotated[bool, Flags("--strict")] = Field(
        default=False, description="Refuse a risky prompt instead of steering it."
    )
    watermark: Annotated[bool, Flags("--watermark")] = Field(
        default=True, description="Put the visible mark on the picture."
    )
    watermark_text: Annotated[Text | None, Field(max_length=100), Flags("--watermark-text")] = Field(
        default=None, description="Text of the visible mark."
    )
    watermark_position: Annotated[Position | None, Flags("--watermark-position")] = Field(
        default=None, description="Where the visible mark sits."
    )
    watermark_opacity: Annotated[float | None, Field(ge=0.0, le=1.0), Flags("--watermark-opacity")] = Field(
        default=None, description="Opacity of the visible mark, 0 to 1."
    )
    watermark_size: Annotated[int | None, Field(ge=6, le=256), Flags("--watermark-size")] = Field(
        default=None, description="Height of the visible mark's letters in pixels; from the width when unset."
    )
    watermark_color: Annotated[str | None, AfterValidator(lambda c: c and _color(c)), Flags("--watermark-color")] = (
        Field(default=None, description="Colour of the visible mark, #rrggbb.")
    )
    watermark_margin: Annotated[int | None, Field(ge=0, le=512), Flags("--watermark-margin")] = Field(
        default=None, description="Distance of the visible mark from the edge in pixels."
    )
    force: Annotated[bool, Flags("--force")] = Field(
        default=False, description="Draw anew even if the cache holds the picture."
    )
    strength: Annotated[float | None, Field(ge=0.05, le=1.0, allow_inf_nan=False), Flags("--strength")] = Field(
        default=None, description="How far a picture that starts from an image may leave it, 0.05 to 1."
    )
    spoiler: Annotated[bool, Flags("--spoiler")] = Field(
        default=False, description="Cover the picture until somebody uncovers it."
    )
    private: Annotated[bool, Flags("--private")] = Field(
        default=False, description="Show the picture to you alone, where the platform can."
    )
    image: SourceImage | None = Field(default=None, description="An image to start from instead of noise alone.")
    variations: Annotated[tuple[Variation, ...], Field(max_length=MAX_VARIATIONS)] = Field(
        default=(), description="Steps away from the seed's picture, taken in order."
    )
    upscale: Literal[1, 2] = Field(default=1, description="Draw the picture over at so many times its size.")


class ResolvedRequest(ImageRequest):
    """A request in which nothing is left open: what a job stores and the engine draws."""

    steps: Steps
    guidance: Guidance
    width: Side
    height: Side
    seed: Seed
    sampler: Sampler
    model: str
    waived: tuple[Waivable, ...] = ()
    """Layers that let these texts pass, because a moderator allowed them to the person who asks."""

    @property
    def start_strength(self) -> float | None:
        """Share of the noise and the steps that a starting image gets; None without one."""
        if self.image is None:
            return None
        return DEFAULT_STRENGTH if self.strength is None else self.strength

    @property
    def output_size(self) -> tuple[int, int]:
        """Width and height in pixels of the finished picture."""
        return self.width * self.upscale, self.height * self.upscale


class Watermark(Value):
    """The visible mark as it is drawn; `size` None takes the letters' height from the picture's width."""

    text: Annotated[Text, Field(min_length=1, max_length=100)]
    position: Position = Position.BOTTOM_RIGHT
    opacity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    size: Annotated[int | None, Field(ge=6, le=256)] = None
    color: Annotated[str, AfterValidator(_color)] = "#ffffff"
    margin: Annotated[int, Field(ge=0, le=512)] = 8
