"""The values that cross the engine's seams: requests down, events up. Frozen, torch-free, JSON-serialisable."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
"""Raised whenever a value on this page changes its meaning; bot and engine refuse each other when it differs."""

MAX_PROMPT = 2_000
"""Characters; a prompt's first 77 tokens are what the model reads."""
MAX_SEED = 2**64 - 1
MAX_BATCH = 20
"""Pictures in one `/batch`."""
SIZE_STEP = 8
"""Every side is a multiple of this many pixels, the factor of Stable Diffusion's autoencoder."""


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


class ResolvedRequest(ImageRequest):
    """A request in which nothing is left open: what a job stores and the engine draws."""

    steps: Steps
    guidance: Guidance
    width: Side
    height: Side
    seed: Seed
    sampler: Sampler
    model: str


class Watermark(Value):
    """The visible mark as it is drawn; `size` None takes the letters' height from the picture's width."""

    text: Annotated[Text, Field(min_length=1, max_length=100)]
    position: Position = Position.BOTTOM_RIGHT
    opacity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    size: Annotated[int | None, Field(ge=6, le=256)] = None
    color: Annotated[str, AfterValidator(_color)] = "#ffffff"
    margin: Annotated[int, Field(ge=0, le=512)] = 8


class Order(Value):
    """What crosses the seam from bot to engine: the pictures of one job, and on whose behalf."""

    job: str
    requests: Annotated[tuple[ResolvedRequest, ...], Field(min_length=1, max_length=MAX_BATCH)]
    scope: str
    """The community whose cache is used, `platform:workspace`."""
    owner: str
    """The person who asked, `platform:id`."""
    seeds_free: bool = False
    """The person named no seed, so a cached picture with another seed will do if they haven't had it yet."""


class ModelInfo(Value):
    """What a front end must know of a model."""

    name: str
    title: str
    revision: str
    licence: str
    note: str = ""
    """One honest sentence shown under its pictures, or nothing."""
    native: int
    """Side in pixels at which it was trained."""
    default_side: int
    min_side: int
    max_side: int
    square_only: bool = False
    steps: int = 20
    guidance: float = 7.5
    sampler: Sampler = Sampler.DPMPP_2M
    installed: bool = True


class EngineInfo(Value):
    """Answer to "who are you": exchanged when bot and engine meet."""

    schema_version: int = SCHEMA_VERSION
    models: tuple[ModelInfo, ...]
    default_model: str
    warnings: tuple[str, ...] = ()
    """Sentences for the operator, such as that the toxicity model is absent."""


class Stage(StrEnum):
    """What the engine is doing for a picture."""

    WARMING = "warming"
    CHECKING = "checking"
    DRAWING = "drawing"
    FINISHING = "finishing"


class Cached(StrEnum):
    """Which tier of the cache answered."""

    NONE = "none"
    UNMARKED = "unmarked"
    FINISHED = "finished"


class Layer(StrEnum):
    """Which layer refused."""

    ZERO_TOLERANCE = "zero-tolerance"
    KEYWORDS = "keywords"
    TOXICITY = "toxicity"
    IMAGE = "image"


class NoteCode(StrEnum):
    """Things said about a picture that was delivered; `bot.messages` has the sentences."""

    STEERED = "steered"
    """The prompt looked risky, so negative prompts were added; detail: the categories."""
    UPSCALED = "upscaled"
    """Drawn at the model's own size and enlarged; detail: that size."""
    REUSED = "reused"
    """Somebody had asked the same before; a re-roll draws another."""
    TOXICITY_ABSENT = "toxicity-absent"
    """The toxicity model is not installed."""
    TINY_MODEL = "tiny-model"
    """The bundled model is for trying things out."""
    MARK_FALLBACK = "mark-fallback"
    """The bundled font lacks letters of the mark; detail: which."""


class Note(Value):
    """One remark on a delivered picture."""

    code: NoteCode
    detail: str = ""


class Progress(Value):
    """A picture has come further."""

    kind: Literal["progress"] = "progress"
    index: int
    stage: Stage
    step: int = 0
    steps: int = 0


class Refused(Value):
    """A picture will not be drawn, or not be shown."""

    kind: Literal["refused"] = "refused"
    index: int
    layer: Layer
    categories: tuple[str, ...] = ()


class Failed(Value):
    """A picture could not be drawn; `sentence` may be read by the person."""

    kind: Literal["failed"] = "failed"
    index: int
    code: str
    sentence: str


class Cancelled(Value):
    """A picture was cancelled before it was finished."""

    kind: Literal["cancelled"] = "cancelled"
    index: int


class Image(Value):
    """A finished picture: watermarked, with its provenance, as it must be delivered."""

    kind: Literal["image"] = "image"
    index: int
    data: bytes
    media_type: str = "image/png"
    request: ResolvedRequest
    key: str
    """Key of the finished file."""
    generation_key: str
    """Key of the unmarked picture."""
    cached: Cached
    seconds: dict[str, float]
    """Wall time by stage."""
    notes: tuple[Note, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


Event = Annotated[Progress | Refused | Failed | Cancelled | Image, Field(discriminator="kind")]
"""What the engine streams back for an order; every index ends in exactly one of the last four."""


class CacheStats(Value):
    """Figures of the cache, of one scope or of all."""

    entries: int
    finished: int
    unmarked: int
    bytes: int
    max_bytes: int
    hits: int
    misses: int
    quarantined: int


class CacheEntry(Value):
    """One file of the cache, as moderators see it."""

    key: str
    tier: Literal["finished", "unmarked"]
    scope: str
    owner: str
    prompt: str
    model: str
    seed: int
    width: int
    height: int
    bytes: int
    sha256: str
    created: float
    last_used: float
    uses: int
    parameters: dict[str, Any]


class CacheCheck(Value):
    """Result of verifying every file of the cache."""

    checked: int
    damaged: tuple[str, ...]


class Verification(Value):
    """What could be read from a picture file about its making."""

    made_here: bool | None
    """True: this installation's cache holds exactly this file. False: it doesn't. None: not asked."""
    parameters: dict[str, Any] | None
    visible_mark: str | None
    """Text of the visible mark according to the file, if it says."""
    intact: bool
    """Whether the file decodes fully, checksums included."""
