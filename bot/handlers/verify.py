"""`/verify`: what a picture file tells of its making."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from bot import messages
from bot.chat import Invocation, Reply, Update
from bot.errors import BadInputError
from bot.handlers.base import Context
from engine.types import Verification


async def verify(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Read the file that came with the command."""
    locale = invocation.requester.locale
    if len(invocation.attachments) != 1:
        raise BadInputError(messages.say("attachment.one_picture", locale))
    found = await context.client.verify(invocation.attachments[0].data)
    yield Reply(text="\n".join(told(found, locale)), data=found.model_dump(mode="json"))


def told(found: Verification, locale: str = messages.ENGLISH) -> Iterator[str]:
    """What was found, a sentence a line."""
    if not found.intact:
        yield messages.say("verify.damaged", locale)
        return
    yield messages.say("verify.intact", locale)
    if found.made_here is not None:
        yield messages.say("verify.made_here" if found.made_here else "verify.not_made_here", locale)
    yield visible(found, locale)
    yield from credentials(found, locale)
    yield invisible(found, locale)
    for name, value in (found.parameters or {}).items():
        yield f"  {name}: {messages.shorten(str(value), 200)}"


def visible(found: Verification, locale: str) -> str:
    """What is said of the visible mark."""
    if not found.visible_mark:
        return messages.say("verify.no_mark", locale)
    return messages.say("verify.mark", locale, mark=messages.quote(found.visible_mark))


def invisible(found: Verification, locale: str) -> str:
    """What is said of the mark in the picture itself, which machines can read."""
    if not (mark := found.invisible_mark):
        return messages.say("verify.no_invisible_mark", locale)
    name = "verify.invisible_mark_cropped" if mark.cropped else "verify.invisible_mark"
    return messages.say(name, locale, number=mark.number)


def credentials(found: Verification, locale: str) -> Iterator[str]:
    """What is said of the content credentials."""
    if not (said := found.credentials):
        return
    state = f"credentials.{said.state.value.replace('-', '_')}"
    yield messages.say(state, locale, signer=messages.quote(said.signer or "?"))
    if said.source_type:
        yield messages.say(
            "verify.source_type",
            locale,
            generator=messages.quote(said.generator or "?"),
            source_type=messages.quote(said.source_type),
        )
