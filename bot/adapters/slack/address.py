"""Where an answer goes, as it is kept with the job."""

from __future__ import annotations

from pydantic import Field, ValidationError

from bot.chat import Place
from engine.types import Value

PLATFORM = "slack"


def person_id(team: str, user: str) -> str:
    """A person's id below the adapter: Slack's ids of people are good within their team alone."""
    return f"{team}/{user}"


class Upload(Value):
    """A message of pictures that was begun: whatever comes between, it is brought to its end, not sent again."""

    files: dict[int, str]
    """The pictures' files by their places in the job, from 0."""
    lines: dict[int, str]
    """What is to stand under each."""
    locale: str
    """The language of its buttons."""


class Address(Value):
    """A person in a channel, or in a thread of it; written down as JSON in `Invocation.reply_to`."""

    team: str
    channel: str
    """Empty where nothing was said in any channel, as on the App Home: the answer is a direct message."""
    user: str
    thread: str | None = None
    fresh: bool = False
    """Nobody has answered in the thread yet."""
    status: str | None = None
    """Timestamp of the message that tells how far the job has come, once there is one."""
    preview: str | None = None
    """The file in it."""
    cover: str | None = None
    """Timestamp of the message in whose thread pictures are hidden, once there is one."""
    uploads: dict[int, Upload] = Field(default_factory=dict)
    """By the part of the delivery, from 1."""

    @property
    def place(self) -> Place:
        """The same for everything below the adapter."""
        return Place(platform=PLATFORM, workspace=self.team, channel=self.channel, thread=self.thread)

    @property
    def direct(self) -> bool:
        """Whether nobody else reads there: a direct message with the bot, as the desk has seen to."""
        return self.channel.startswith("D")

    @classmethod
    def read(cls, written: str, place: Place, person: str) -> Address:
        """The address of a stored job; what can't be read is made up from its place."""
        try:
            return cls.model_validate_json(written)
        except ValidationError:
            user = person.rpartition("/")[2]
            return cls(team=place.workspace, channel=place.channel, user=user, thread=place.thread)


class Posted(Value):
    """What a delivery became in Slack, so that it can be taken back; written down as the id of its message."""

    channel: str
    files: dict[int, str]
    """The pictures' files by their places in the job, from 0."""
    shared: str | None = None
    """Timestamp of the message that shows the files."""
    buttons: str | None = None
    """Timestamp of the message under it."""
    cover: str | None = None
    """Timestamp of the message whose thread hides them."""
