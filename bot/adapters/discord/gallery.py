"""Messages with pictures in them: what they say, how they are known again, and how pictures are taken out."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

import discord

from bot.adapters.discord import address, buttons
from bot.adapters.discord.text import MAX_CONTENT, quiet
from bot.adapters.discord.wire import SILENT, UNKNOWN_MESSAGE, Wire
from bot.chat import Delivery, Sent

PREVIEW = "preview.jpg"
COVER = "SPOILER_"
"""What Discord has before the name of a file that is covered."""
FILE = re.compile(r"(?P<job>[0-9a-z]{1,32})-(?P<number>[0-9]{1,2})")
"""The name of a picture's file, without its suffix."""


def caption(delivery: Delivery) -> str:
    """A quiet line for each picture, with its number if the job has several, and what else there is to say of them."""
    lines = [picture.caption for picture in delivery.pictures]
    if len(lines) > 1 or delivery.parts > 1:
        lines = [f"{picture.image.index + 1}. {picture.caption}" for picture in delivery.pictures]
    notes = dict.fromkeys(note for picture in delivery.pictures for note in picture.notes)
    text = ""
    for line in (*lines, *notes):
        longer = f"{text}\n{quiet(line)}".lstrip("\n")
        text = longer if len(longer) <= MAX_CONTENT else text
    return text


def stem(file_name: str) -> str:
    """The part of a file's name that stays the same, however the picture is encoded or covered."""
    return PurePath(file_name).stem.removeprefix(COVER)


def holds(message: discord.Message, delivery: Delivery) -> bool:
    """Whether a message carries these pictures."""
    there = {stem(file.filename) for file in message.attachments}
    return there >= {stem(picture.file_name) for picture in delivery.pictures}


def has_pictures(message: discord.Message) -> bool:
    """Whether a message carries more than a preview."""
    return any(file.filename != PREVIEW for file in message.attachments)


def name_of(message: discord.Message) -> str:
    """`channel/message`, by which it is found again."""
    return f"{message.channel.id}/{message.id}"


async def take_out(wire: Wire, sent: Sent, job: str, locale: str) -> None:
    """Delete a message, or the pictures of it that don't stay and what tells of them; one that is gone is as good.

    By the token of the press if it is the message that was pressed, by the token that it was sent with while that
    lives, and as the bot itself otherwise.

    Raises:
        discord.HTTPException, TokenLostError: Discord doesn't let the bot.
    """
    channel, _, number = sent.message.rpartition("/")
    if wire.alive and wire.address.kept and wire.address.message == int(number):
        await _by_token(wire, wire.first, sent, job, locale)
        return
    own = wire.of(address.read(sent.reply_to))
    if own.alive and await _by_token(own, int(number), sent, job, locale):
        return
    try:
        await _as_bot(await wire.channel(int(channel or 0)).fetch_message(int(number)), sent, job, locale)
    except discord.NotFound as error:
        if error.code != UNKNOWN_MESSAGE:
            raise


async def _by_token(wire: Wire, number: int, sent: Sent, job: str, locale: str) -> bool:
    """Whether the message was one of this token's."""
    if not sent.left:
        return await wire.remove(number)
    message = await wire.fetch(number)
    if message is None:
        return False
    content, files = _without(message.content, sent), _kept(message, sent, job)
    view = buttons.remaining(message, job, sent.left, locale)
    return await wire.edit(content, files=files, view=view, message=number) is not None


async def _as_bot(message: discord.Message, sent: Sent, job: str, locale: str) -> None:
    if sent.left:
        content, kept = _without(message.content, sent), _kept(message, sent, job)
        view = buttons.remaining(message, job, sent.left, locale)
        await message.edit(content=content, attachments=kept, view=view, allowed_mentions=SILENT)
    else:
        await message.delete()


def _kept(message: discord.Message, sent: Sent, job: str) -> list[discord.Attachment | discord.File]:
    stems = {f"{job}-{index + 1}" for index in sent.left}
    return [file for file in message.attachments if stem(file.filename) in stems]


def _without(content: str, sent: Sent) -> str:
    """The lines of a caption but those of pictures that go."""
    numbered = re.compile(r"-# (\d+)\. ")
    stay = {str(index + 1) for index in sent.left}
    lines = content.split("\n")
    return "\n".join(line for line in lines if not (match := numbered.match(line)) or match[1] in stay)


def target(data: Any, bot: int) -> tuple[str, tuple[int, ...]] | None:  # noqa: ANN401  (JSON)
    """The job and the numbers, from 1, of the pictures in the message whose own menu was used, if it is one of ours."""
    message = data.get("resolved", {}).get("messages", {}).get(str(data.get("target_id")), {})
    if str(message.get("author", {}).get("id")) != str(bot):
        return None
    names = (str(file.get("filename")) for file in message.get("attachments", ()))
    found = [match for name in names if (match := FILE.fullmatch(stem(name)))]
    return (found[0]["job"], tuple(int(match["number"]) for match in found)) if found else None
