"""A command of Discord's, written down so that another process can answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import discord
import structlog
from pydantic import Field, ValidationError

from bot.adapters.discord import address
from bot.adapters.discord.acks import BROKEN
from bot.adapters.discord.address import Address
from bot.adapters.discord.incoming import Asked
from bot.adapters.discord.wire import Wire
from bot.chat import Invocation
from engine.types import Value

log = structlog.get_logger("bot.adapters.discord")


class Arrival(Value):
    """What was asked, where its answer goes, and the files that came along, which are still at Discord."""

    invocation: Invocation
    """Its `reply_to` is the address, its attachments are yet to be fetched."""
    files: tuple[dict[str, Any], ...] = Field(default=())
    """As Discord describes them."""

    @classmethod
    def of(cls, interaction: discord.Interaction, asked: Asked, where: Address) -> Self:
        """What an interaction asks for, to be answered there."""
        data: Mapping[str, Any] = interaction.data or {}
        files = tuple(data.get("resolved", {}).get("attachments", {}).values())
        return cls(invocation=asked.invocation(interaction, where.model_dump_json()), files=files)

    @classmethod
    def read(cls, text: str) -> Self | None:
        """What was written down; None if an earlier version wrote it otherwise."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            log.warning("what an earlier version kept can't be read")
            return None

    @property
    def where(self) -> Address:
        """The address, as it was before Discord named the first answer."""
        return address.read(self.invocation.reply_to)


async def was_acknowledged(client: discord.Client, where: Address) -> bool:
    """Whether Discord knows of an answer to come. If not, it has told the person long ago that none did."""
    wire = Wire(client, where)
    try:
        return not wire.alive or await wire.is_known()
    except (discord.HTTPException, *BROKEN):
        return True
