"""The neutral language between adapters and everything below them: who asks what, where, and what comes back.

Strings, numbers and bytes only: nothing here holds an object of a chat SDK, and everything can be stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from engine.types import Image, Layer, Progress, Value


class Role(StrEnum):
    """What a person may do, least first."""

    MEMBER = "member"
    MODERATOR = "moderator"
    """Acts on one community's pictures and people."""
    OPERATOR = "operator"
    """Owns the installation."""

    def reaches(self, needed: Role) -> bool:
        """Whether this role includes what `needed` may do."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Requester(Value):
    """The person who asks; `role` is what the platform said of them at the time of asking."""

    platform: str
    id: str
    name: str = ""
    role: Role = Role.MEMBER
    locale: str = "en"

    @property
    def key(self) -> str:
        """`platform:id`, unique over all platforms."""
        return f"{self.platform}:{self.id}"


class Place(Value):
    """Where they ask and where the answer goes."""

    platform: str
    workspace: str
    """Discord guild or direct conversation (`dm-CHANNEL`), Slack team; `local` where there is none."""
    channel: str
    thread: str | None = None

    @property
    def scope(self) -> str:
        """`platform:workspace`: the community that shares cache, quotas, bans and history."""
        return f"{self.platform}:{self.workspace}"


class Invocation(Value):
    """One command, as it came in.

    `text` holds what was typed after the command's name, for the grammar to read, `options` values that the platform
    has already typed; a prompt may come as text with options beside it. `event` is the platform's own id of the event:
    seen twice, it is one job.
    """

    event: str
    command: str
    requester: Requester
    place: Place
    text: str = ""
    options: dict[str, str | int | float | bool] | None = None
    reply_to: str = ""
    """What the adapter needs to answer after a restart, as it likes to write it down."""


class Reply(Value):
    """An answer to a command that makes no picture."""

    kind: Literal["reply"] = "reply"
    text: str
    private: bool = True
    data: dict[str, Any] = Field(default_factory=dict)
    """The same answer for machines (`--json`)."""


class Queued(Value):
    """The job is stored and waits; sent again when its place in the queue changes."""

    kind: Literal["queued"] = "queued"
    job: str
    pictures: int
    position: int
    """Pictures ahead of it; 0 means that it is next."""
    eta_seconds: float | None
    text: str


class Working(Value):
    """A picture of the job has come further."""

    kind: Literal["working"] = "working"
    job: str
    pictures: int
    progress: Progress
    eta_seconds: float | None
    text: str


class Refusal(Value):
    """A picture, or a whole command, was refused; `layer` is None for bans, limits and roles."""

    kind: Literal["refusal"] = "refusal"
    job: str | None
    index: int | None
    layer: Layer | None
    categories: tuple[str, ...] = ()
    text: str


class Failure(Value):
    """A picture or a whole command failed; `input` says that the person can mend it."""

    kind: Literal["failure"] = "failure"
    job: str | None
    index: int | None
    input: bool = False
    text: str


class Stopped(Value):
    """The job was cancelled."""

    kind: Literal["stopped"] = "stopped"
    job: str
    text: str


class Picture(Value):
    """One picture of a delivery, with everything an adapter shows beside it."""

    image: Image
    file_name: str
    alt_text: str
    caption: str
    """Parameters in one quiet line."""
    notes: tuple[str, ...] = ()
    """Sentences about how it was made."""


class Delivery(Value):
    """Finished pictures to send, up to ten, exactly once."""

    kind: Literal["delivery"] = "delivery"
    job: str
    part: int
    """From 1; a part without any picture is left out."""
    parts: int
    nonce: str
    """Derived from job and part: the same after a restart, for platforms that deduplicate by it."""
    attempt: int
    """Above 1, an earlier attempt may have arrived: an adapter that can look it up does so before sending."""
    pictures: tuple[Picture, ...]


Update = Annotated[
    Reply | Queued | Working | Refusal | Failure | Stopped | Delivery,
    Field(discriminator="kind"),
]
"""What comes back up to the adapter."""
