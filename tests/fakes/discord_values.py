"""What the fake Discord keeps, and how its API shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

APPLICATION = 1000
"""The bot's id, as a user and as an application."""
LOADING = 128
"""The flag of a message that says that somebody is thinking."""


def user(number: int, name: str, *, bot: bool = False) -> dict[str, Any]:
    """A user as the API shows them."""
    return {"id": str(number), "username": name, "discriminator": "0", "avatar": None, "bot": bot, "global_name": None}


@dataclass
class File:
    """One attachment."""

    id: int
    name: str
    text: str
    """Alternative text."""
    data: bytes


@dataclass
class Message:
    """One message, as the fake keeps it."""

    id: int
    channel: int
    content: str = ""
    files: list[File] = field(default_factory=list)
    flags: int = 0
    components: list[Any] = field(default_factory=list)
    nonce: str | None = None
    loading: bool = False
    """It says that somebody is thinking."""
    gone: bool = False

    def shown(self) -> dict[str, Any]:
        """The message as the API shows it."""
        attachments = [
            {
                "id": str(file.id),
                "filename": file.name,
                "size": len(file.data),
                "url": "",
                "proxy_url": "",
                "description": file.text,
            }
            for file in self.files
        ]
        return {
            "id": str(self.id),
            "channel_id": str(self.channel),
            "author": user(APPLICATION, "easel", bot=True),
            "content": self.content,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": attachments,
            "embeds": [],
            "pinned": False,
            "type": 0,
            "flags": self.flags | (LOADING if self.loading else 0),
            "components": self.components,
        }


@dataclass
class Asked:
    """An interaction, and how far its answer is."""

    id: int
    channel: int
    token: str
    acknowledged: bool = False
    first: Message | None = None
    expired: bool = False
    form: dict[str, Any] | None = None
    choices: list[dict[str, Any]] | None = None
    pressed: Message | None = None
    further: int | None = None
    """Further messages that are left; None for any number."""
    sent: float = 0.0
    """When the bot was told, by the performance counter."""
    answered: float | None = None
    """When it acknowledged that."""

    def count_further(self) -> None:
        """Take note of a further message."""
        if self.further == 0:
            raise Refused(400, 40094, "This interaction has reached the maximum number of follow up messages")
        if self.further is not None:
            self.further -= 1


class Refused(Exception):  # noqa: N818  (Discord's refusal, not a fault)
    """What the API answers instead."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text
