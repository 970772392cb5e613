"""Where an answer goes on Discord, as it is stored with the job and read again after a restart."""

from __future__ import annotations

import discord
from pydantic import ValidationError

from bot.adapters.discord.acks import Ack
from engine.types import Value

DEFAULT_LIMIT = 10 * 2**20
"""Bytes of one file where nothing larger is allowed (discord.com/developers/docs/reference, Uploading Files)."""
MARGIN = 20.0
"""Seconds before its end that a token is no longer relied on."""


class Address(Value):
    """The interaction that asked, and where it was."""

    application: int = 0
    token: str = ""
    expires: float = 0.0
    """Seconds since the epoch; a token lives for 15 minutes."""
    interaction: int = 0
    message: int | None = None
    """The first answer, if Discord named it."""
    channel: int | None = None
    server: int | None = None
    """None in direct messages."""
    person: int | None = None
    limit: int = DEFAULT_LIMIT
    """Bytes of one file."""
    private: bool = False
    """The first answer is seen by the person alone."""
    direct: bool = False
    """Pictures go to the person's own messages."""
    kept: bool = False
    """There is no first answer of this interaction's own: it stands for the message that was pressed."""
    moved: bool = False
    """The first answer was taken away, and `message`, which the person alone sees, is in its place."""

    @property
    def alive(self) -> bool:
        """Whether the interaction's token can still be used."""
        return bool(self.token) and discord.utils.utcnow().timestamp() < self.expires - MARGIN


def of(interaction: discord.Interaction, ack: Ack, *, direct: bool = False) -> Address:
    """The address of an interaction that is acknowledged in this way; the first answer is yet to be named."""
    pressed = interaction.message if ack is Ack.SILENT else None
    return Address(
        application=interaction.application_id,
        token=interaction.token,
        expires=interaction.expires_at.timestamp(),
        interaction=interaction.id,
        message=pressed.id if pressed else None,
        channel=interaction.channel_id,
        server=interaction.guild_id,
        person=interaction.user.id,
        limit=interaction.filesize_limit,
        private=ack is Ack.PRIVATE,
        direct=direct,
        kept=ack is Ack.SILENT,
    )


def read(stored: str) -> Address:
    """The address that was stored; an empty one if it can't be read."""
    try:
        return Address.model_validate_json(stored)
    except ValidationError:
        return Address()
