"""Acknowledging: what an interaction is answered with at once, and insisting on it while the connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar

import aiohttp
import discord
import structlog

ALREADY_ACKNOWLEDGED = 40060
BROKEN = (aiohttp.ClientError, OSError)
"""What is raised where no answer came: TimeoutError is an OSError."""
AT_ONCE = (0.0, 0.0)
"""Seconds before a second and a third try, where Discord waits three seconds in all."""

T = TypeVar("T")
log = structlog.get_logger("bot.adapters.discord")


class Ack(Enum):
    """How an interaction is acknowledged."""

    PUBLIC = "public"
    PRIVATE = "private"
    """The answer is seen by the person alone."""
    SILENT = "silent"
    """A press whose answer changes the message that was pressed."""


async def insisting(attempt: Callable[[], Awaitable[T]], pauses: tuple[float, ...] = AT_ONCE) -> T:
    """Try again where the connection broke before an answer came.

    A connection that was kept open is often found closed by the first who uses it again, and whether that one got
    through can't be told; so trying twice must do no harm.
    """
    for pause in pauses:
        try:
            return await attempt()
        except BROKEN as error:
            log.info("asked again", reason=repr(error))
        await asyncio.sleep(pause)
    return await attempt()


async def acknowledge(interaction: discord.Interaction, ack: Ack) -> int | None:
    """Tell Discord that an answer follows; returns the id of the message that will hold it.

    An interaction that is acknowledged already is no error: either an earlier try got through though its answer was
    lost, or the event came twice, and dispatch knows it.
    """
    pressed = interaction.message.id if ack is Ack.SILENT and interaction.message is not None else None
    private, thinking = ack is Ack.PRIVATE, pressed is None
    try:
        done = await insisting(lambda: interaction.response.defer(ephemeral=private, thinking=thinking))
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:
            raise
        return pressed
    return pressed or (done.message_id if done else None)


@contextmanager
def too_late(interaction: discord.Interaction) -> Iterator[None]:
    """Go on where Discord doesn't take an answer any more, which the person sees themselves."""
    try:
        yield
    except (discord.HTTPException, *BROKEN) as error:
        got_through = isinstance(error, discord.HTTPException) and error.code == ALREADY_ACKNOWLEDGED
        if not got_through:
            log.warning("not answered", interaction=interaction.id, reason=str(error))
