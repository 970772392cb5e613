"""The values that cross the engine's seams: requests down, events up. Frozen, torch-free, JSON-serialisable."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field

from engine.request import (
    MAX_BATCH,
    MAX_PROMPT,
    MAX_SEED,
    MAX_SOURCE,
    MAX_VARIATIONS,
    SIZE_STEP,
    Flags,
    ImageRequest,
    Position,
    Quality,
    ResolvedRequest,
    Sampler,
    Seed,
    Side,
    SourceImage,
    Steps,
    Text,
    Value,
    Variation,
    Waivable,
    Watermark,
)

SCHEMA_VERSION = 3
"""Raised whenever a value on this page changes its meaning, or a question is added; bot and engine refuse each other
when it differs."""

MAX_PREVIEW = 16 * 1024
"""Bytes of a preview."""

__all__ = [
    "BLOCKED_WORD",
    "MAX_BATCH",
    "MAX_PREVIEW",
    "MAX_PROMPT",
    "MAX_SEED",
    "MAX_SOURCE",
    "MAX_VARIATIONS",
    "SCHEMA_VERSION",
    "SIZE_STEP",
    "CacheCheck",
    "CacheEntry",
    "CacheStats",
    "Cached",
    "Cancelled",
    "ContentCredentials",
    "Cost",
    "CredentialState",
    "EngineInfo",
    "Event",
    "Failed",
    "Flags",
    "Image",
    "ImageRequest",
    "InvisibleMark",
    "Layer",
    "ModelInfo",
    "Note",
    "NoteCode",
    "Order",
    "Position",
    "Progress",
    "Quality",
    "Refused",
    "Rendition",
    "ResolvedRequest",
    "Sampler",
    "Seed",
    "Side",
    "SourceImage",
    "Stage",
    "Steps",
    "Text",
    "Value",
    "Variation",
    "Verification",
    "Waivable",
    "Watermark",
]
"""What may be imported from here, a request's own values included, so that this is the one page to know."""


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
    hits_only: bool = False
    """The month's budget is spent: what the cache doesn't hold is not drawn."""
    keep: bool = True
    """Whether finished files go into the cache; a mark that is only being tried need not push out anybody's picture."""


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

    UNREACHABLE = "unreachable"
    """The service that draws doesn't answer; the order is kept and sent again."""
    WAKING = "waking"
    """A machine with a GPU is being started."""
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

    @property
    def waivable(self) -> bool:
        """Whether a moderator may overrule its refusal."""
        return self.value in get_args(Waivable)


BLOCKED_WORD = "blocked-word"
"""The category of words that the operator blocked, which no moderator may allow."""


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
    preview: Annotated[bytes | None, Field(max_length=MAX_PREVIEW, repr=False)] = None
    """A small JPEG of what the picture is becoming; None when off, not known, or not for showing."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Cost(Value):
    """What drawing one picture cost where GPUs are rented by the second: an estimate, not a bill."""

    gpu: str
    """As the price table names it, such as `A10`."""
    gpu_seconds: float
    """Spent on this picture, loading the model included where it was the first."""
    idle_seconds: float = 0.0
    """That the GPU was kept waiting before it, or will be after the last one."""
    dollars: float
    """For both together."""


class Refused(Value):
    """A picture will not be drawn, or not be shown."""

    kind: Literal["refused"] = "refused"
    index: int
    layer: Layer
    categories: tuple[str, ...] = ()
    cost: Cost | None = None
    """Of a picture that was drawn and then withheld."""


class Failed(Value):
    """A picture could not be drawn; `sentence` may be read by the person."""

    kind: Literal["failed"] = "failed"
    index: int
    code: str
    sentence: str
    cost: Cost | None = None
    """Of a picture that was drawn, and then couldn't be checked or finished."""


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
    cost: Cost | None = None
    """None where nothing was drawn, or on a machine of one's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Rendition(Value):
    """A finished picture in another encoding, as it must be delivered."""

    data: bytes
    media_type: str

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


class CredentialState(StrEnum):
    """What became of a file's content credentials."""

    ABSENT = "absent"
    """The file holds none."""
    OWN = "own"
    """True, and signed with this installation's certificate."""
    UNKNOWN_SIGNER = "unknown-signer"
    """The file is as it was signed, by somebody whom this installation has no certificate of."""
    TAMPERED = "tampered"
    """The file was changed after it was signed, or the signature is not what it says."""
    UNREADABLE = "unreadable"
    """There are credentials, but they make no sense."""


class ContentCredentials(Value):
    """A file's content credentials (C2PA); every text in them is the file's own word."""

    state: CredentialState
    generator: str | None = None
    """The program that made the file."""
    signer: str | None = None
    """Name in the certificate."""
    source_type: str | None = None
    """IPTC digital source type, such as trainedAlgorithmicMedia for a picture by a model."""


class InvisibleMark(Value):
    """A mark of Easel's that was found in the picture itself."""

    number: int
    """Of the installation, as its operator set it."""
    score: float
    """Standard deviations above chance."""
    cropped: bool
    """Whether the picture is a part of what was marked."""


class Verification(Value):
    """What could be read from a picture file about its making."""

    made_here: bool | None
    """True: this installation's cache holds exactly this file. False: it doesn't. None: not asked."""
    parameters: dict[str, Any] | None
    visible_mark: str | None
    """Text of the visible mark according to the file, if it says."""
    intact: bool
    """Whether the file decodes fully, checksums included."""
    credentials: ContentCredentials | None = None
    """None: not asked, or no picture."""
    invisible_mark: InvisibleMark | None = None
