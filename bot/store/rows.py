"""What the store takes and gives: one frozen value per kind of row, and the rules between their states."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from bot.chat import Place, Requester
from engine.types import BLOCKED_WORD, Cached, ImageRequest, Layer, ResolvedRequest, Value

PART_SIZE = 10
"""Pictures in one message; both Discord and Slack stop there."""
EVERYWHERE = "*"
"""The scope of a ban that holds in every community."""


class JobState(StrEnum):
    """received -> queued -> running -> rendered -> sending -> delivered | refused | failed | cancelled | dead."""

    RECEIVED = "received"
    """Stored; quota and limits are being checked in the same transaction."""
    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"
    """Every picture has ended and at least one is there to be sent."""
    SENDING = "sending"
    DELIVERED = "delivered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"
    """Given up: drawing or sending failed too often."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in IN_FLIGHT


IN_FLIGHT = frozenset({JobState.RECEIVED, JobState.QUEUED, JobState.RUNNING, JobState.RENDERED, JobState.SENDING})


class PictureState(StrEnum):
    """How far one picture of a job has come."""

    PENDING = "pending"
    RENDERED = "rendered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PictureRow(Value):
    """One picture of a job."""

    index: int
    state: PictureState = PictureState.PENDING
    key: str | None = None
    generation_key: str | None = None
    seed: int | None = None
    """The seed it was really drawn with, which differs from the request's when a cached picture was reused."""
    cached: Cached | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    layer: Layer | None = None
    categories: tuple[str, ...] = ()
    error: str | None = None
    """The sentence that the person was given."""
    deleted: float | None = None
    """When the picture was deleted, seconds since 1970."""

    @property
    def stands(self) -> bool:
        """Whether it was drawn and has not been deleted."""
        return self.state is PictureState.RENDERED and self.deleted is None

    @property
    def appealable(self) -> bool:
        """Whether a moderator may overrule its refusal."""
        return self.layer is not None and self.layer.waivable and BLOCKED_WORD not in self.categories

    @property
    def part(self) -> int:
        """Number of the message that carries it, from 1."""
        return part_of(self.index)


class DeliveryRow(Value):
    """One message of a job: written before it is sent, and again when it has arrived."""

    job: str
    part: int
    nonce: str
    delivered: bool
    message_id: str | None
    attempts: int


class JobRow(Value):
    """A job as it is stored."""

    id: str
    event: str
    place: Place
    requester: Requester
    reply_to: str
    command: str
    asked: tuple[ImageRequest, ...]
    requests: tuple[ResolvedRequest, ...]
    seeds_free: bool
    charged: bool = True
    """Whether its pictures count against the person's day."""
    state: JobState = JobState.RECEIVED
    attempts: int = 0
    """How often drawing was begun."""
    runner: str
    """The process that looks after it."""
    error: str | None = None
    created: float
    updated: float
    pictures: tuple[PictureRow, ...] = ()
    deliveries: tuple[DeliveryRow, ...] = ()

    @property
    def private(self) -> bool:
        """Whether a picture of it is for the person alone."""
        return any(request.private for request in self.requests)

    def private_part(self, part: int) -> bool:
        """Whether a message holds a picture that is for the person alone."""
        return any(request.private for index, request in enumerate(self.requests) if part_of(index) == part)

    @property
    def parts(self) -> int:
        """Messages that its pictures would fill."""
        return part_of(len(self.requests) - 1)

    def delivered(self, part: int) -> bool:
        """Whether that message has arrived."""
        return any(row.delivered for row in self.deliveries if row.part == part)


class Figures(Value):
    """What the limits are compared with, read in the transaction that charges."""

    used_today: int
    """By the person, in all communities."""
    used_here: int = 0
    """By the person in this community, today."""
    used_by_community: int = 0
    """By everybody in this community, today."""
    last_asked: float | None
    """When the person last gave a job, seconds since 1970."""
    waiting_of_person: int
    waiting: int


class Ban(Value):
    """Somebody may not ask here."""

    person: str
    scope: str
    reason: str = ""
    until: float | None = None
    """When it ends, seconds since 1970; None is never."""
    actor: str
    created: float


class AuditEntry(Value):
    """One thing that a moderator or the operator did."""

    created: float
    actor: str
    action: str
    target: str
    scope: str
    detail: str = ""


class AppealState(StrEnum):
    """What became of an appeal."""

    OPEN = "open"
    ALLOWED = "allowed"
    DENIED = "denied"


class Appeal(Value):
    """A refusal that somebody asked the moderators about."""

    id: str
    created: float
    job: str
    index: int
    person: str
    scope: str
    prompt: str
    digest: str
    """Of the texts that were judged: the same texts are allowed the next time."""
    layer: Layer
    categories: tuple[str, ...]
    reason: str = ""
    state: AppealState = AppealState.OPEN
    actor: str | None = None
    decided: float | None = None


class Report(Value):
    """A picture that somebody wants the moderators to look at."""

    id: str
    created: float
    job: str
    index: int
    person: str
    """Who reports it."""
    scope: str
    reason: str = ""


class Known(Value):
    """A picture, as far as withholding it goes."""

    key: str
    """Of a finished file or of an unmarked picture."""
    owner: str
    """Who asked for it first."""
    prompt: str


class Quarantined(Value):
    """A picture that nobody is given."""

    key: str
    """Of a finished file or of an unmarked picture."""
    scope: str
    owner: str
    """Who asked for it first."""
    prompt: str
    actor: str
    created: float


class Forgotten(Value):
    """What went when somebody was forgotten."""

    jobs: int
    pictures: int
    appeals: int
    reports: int


def part_of(index: int) -> int:
    """Number of the message that carries a picture, from 1."""
    return index // PART_SIZE + 1


def settled(pictures: tuple[PictureRow, ...], deliveries: tuple[DeliveryRow, ...]) -> JobState:
    """State of a job whose pictures have all ended, from what became of them and of their messages."""
    to_send = {picture.part for picture in pictures if picture.state is PictureState.RENDERED}
    arrived = {row.part for row in deliveries if row.delivered}
    if to_send - arrived:
        return JobState.SENDING if any(not row.delivered for row in deliveries) else JobState.RENDERED
    if to_send | arrived:
        return JobState.DELIVERED
    ends = {picture.state for picture in pictures}
    if PictureState.FAILED in ends:
        return JobState.FAILED
    return JobState.REFUSED if PictureState.REFUSED in ends else JobState.CANCELLED
