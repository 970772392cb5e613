"""The neutral language between adapters and everything below them: who asks what, where, and what comes back.

Strings, numbers and bytes only: nothing here holds an object of a chat SDK, and everything can be stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from engine.types import Image, Layer, Progress, Value

MAX_ATTACHMENT = 10 * 2**20
"""Bytes of a file that comes with a command; adapters refuse larger ones before they fetch them."""


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
    roles: tuple[str, ...] = ()
    """Ids of the community's own roles or groups that the person has, where the platform knows such."""
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
    nsfw: bool = False
    """The platform marks the channel as age-restricted."""

    @property
    def scope(self) -> str:
        """`platform:workspace`: the community that shares cache, quotas, bans and history."""
        return f"{self.platform}:{self.workspace}"


class Attachment(Value):
    """A file that came with a command. Name and type are what the sender claims."""

    name: str
    media_type: str
    data: Annotated[bytes, Field(max_length=MAX_ATTACHMENT)]

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


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
    attachments: tuple[Attachment, ...] = ()
    reply_to: str = ""
    """What the adapter needs to answer after a restart, as it likes to write it down."""


class Reply(Value):
    """An answer to a command that makes no picture."""

    kind: Literal["reply"] = "reply"
    text: str
    private: bool = True
    data: dict[str, Any] = Field(default_factory=dict)
    """The same answer for machines (`--json`)."""
    confirm: str = ""
    """What is typed to go on, without the slash (`forget-me confirm`), when the answer is a question."""


class Button(Value):
    """Something that may be pressed: the same as giving this command with this text."""

    label: str
    command: str
    text: str


class Notice(Value):
    """Something said beside the answer, as a message of its own."""

    kind: Literal["notice"] = "notice"
    text: str
    channel: str | None = None
    """A channel of this workspace, for its moderators; None is the person who gave the command, in private."""
    job: str | None = None
    index: int | None = None
    """The picture that it is about."""
    buttons: tuple[Button, ...] = ()


class Queued(Value):
    """The job is stored and waits; sent again when its place in the queue changes."""

    kind: Literal["queued"] = "queued"
    job: str
    pictures: int
    position: int
    """Pictures ahead of it; 0 means that it is next."""
    eta_seconds: float | None
    text: str
    private: bool = False
    """Some of its pictures are for the person alone: nobody else is shown how far it has come."""


class Working(Value):
    """A picture of the job has come further."""

    kind: Literal["working"] = "working"
    job: str
    pictures: int
    progress: Progress
    eta_seconds: float | None
    text: str
    preview: bytes | None = None
    """A small JPEG or PNG of how far the picture has come, where there is one and the community wants it."""
    private: bool = False
    """As in Queued."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Refusal(Value):
    """A picture, or a whole command, was refused; `layer` is None for bans, limits and roles."""

    kind: Literal["refusal"] = "refusal"
    job: str | None
    index: int | None
    layer: Layer | None
    categories: tuple[str, ...] = ()
    appealable: bool = False
    """A moderator can decide otherwise: `appeal JOB NUMBER` asks one. `index` counts from 0, NUMBER from 1."""
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
    spoiler: bool = False
    """Hidden until somebody chooses to look, where the platform can do that."""


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
    private: bool = False
    """For the person who asked alone: an ephemeral answer or a direct message."""


class Sent(Value):
    """A message that pictures were delivered in."""

    part: int
    message: str
    """What the adapter's `send` returned."""
    place: Place
    reply_to: str
    private: bool
    left: tuple[int, ...]
    """Pictures of the job, from 0, that stay in the message; without any, the whole message goes."""


class Removed(Value):
    """Pictures were deleted: the adapter takes them out of its messages, and says `text` to the person."""

    kind: Literal["removed"] = "removed"
    job: str
    index: int | None
    """The picture, from 0; None is all of them."""
    text: str
    messages: tuple[Sent, ...] = ()
    """Those that held them."""


Update = Annotated[
    Reply | Notice | Queued | Working | Refusal | Failure | Stopped | Delivery | Removed,
    Field(discriminator="kind"),
]
"""What comes back up to the adapter."""
