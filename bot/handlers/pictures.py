"""`/reroll`, `/vary`, `/upscale`, `/send`: what the buttons under a picture do, and what a form to remix it holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from bot import messages
from bot.chat import Invocation, Place, Requester, Update
from bot.errors import BadInputError, NotAllowedError, NotFoundError
from bot.handlers.base import Context, arguments
from bot.handlers.imagine import draw, follow
from bot.handlers.rules import still_offered, without_defaults
from bot.handlers.seen import seen_picture, sees_pictures, withheld
from bot.store.rows import JobRow
from engine.types import MAX_VARIATIONS, ImageRequest, Layer, ResolvedRequest, Variation

STRENGTHS = {"subtle": 0.2, "strong": 0.5}
"""How far a variation leaves its parent."""
PINNED = frozenset({"model", "width", "height", "steps", "guidance", "sampler", "style", "quality"})
"""What the person may have left open, and what the picture was drawn with; a change keeps to it."""
USAGE = {
    "reroll": "/reroll JOB [NUMBER]",
    "vary": "/vary JOB [NUMBER] [subtle|strong]",
    "upscale": "/upscale JOB [NUMBER]",
    "send": "/send JOB [NUMBER]",
}


async def reroll(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw a picture of an earlier job once more, with another seed."""
    job, index = await seen_picture(invocation, context, arguments(invocation, "job", "number"), USAGE["reroll"])
    if job.pictures[index].deleted is not None:
        raise _deleted(job, index, invocation.requester.locale)
    asked = still_offered(job.asked[index], await context.client.info(), context)
    fresh = asked.model_copy(update={"seed": context.draw_seed(), "variations": (), "upscale": 1})
    async with aclosing(draw((fresh,), invocation, context)) as updates:
        async for update in updates:
            yield update


async def vary(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw a picture that is a little different from one of an earlier job."""
    locale = invocation.requester.locale
    values = _strength_last(arguments(invocation, "job", "number", "strength"))
    job, index = await seen_picture(invocation, context, values, USAGE["vary"])
    strength = STRENGTHS.get(values.get("strength", "subtle").casefold())
    if strength is None:
        raise BadInputError(messages.say("input.usage", locale, usage=USAGE["vary"]))
    parent = await _drawn(job, index, invocation, context)
    if len(parent.variations) >= MAX_VARIATIONS:
        raise BadInputError(messages.say("input.too_many_variations", locale, limit=MAX_VARIATIONS))
    step = Variation(seed=context.draw_seed(), strength=strength)
    changed = parent.model_copy(update={"variations": (*parent.variations, step), "upscale": 1})
    async with aclosing(draw((changed,), invocation, without_defaults(context))) as updates:
        async for update in updates:
            yield update


def _strength_last(values: Mapping[str, str]) -> dict[str, str]:
    """`vary JOB strong` leaves the number out."""
    if values.get("number", "").casefold() in STRENGTHS and "strength" not in values:
        return {"job": values["job"], "strength": values["number"]}
    return dict(values)


async def upscale(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw a picture of an earlier job over at twice its size."""
    locale = invocation.requester.locale
    job, index = await seen_picture(invocation, context, arguments(invocation, "job", "number"), USAGE["upscale"])
    parent = await _drawn(job, index, invocation, context)
    if parent.upscale > 1:
        raise BadInputError(messages.say("input.upscaled_twice", locale))
    larger = parent.model_copy(update={"upscale": 2})
    async with aclosing(draw((larger,), invocation, without_defaults(context))) as updates:
        async for update in updates:
            yield update


async def send(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Deliver a picture once more, to the person who gives the command alone; it costs them nothing."""
    job, index = await seen_picture(invocation, context, arguments(invocation, "job", "number"), USAGE["send"])
    asked = (await _drawn(job, index, invocation, context)).model_copy(update={"private": True})
    settled = {"seed": asked.seed, "force": False, "private": True}
    resolved = job.requests[index].model_copy(update=settled)
    async with aclosing(follow((asked,), (resolved,), invocation, context, charged=False)) as updates:
        async for update in updates:
            yield update


async def form(requester: Requester, place: Place, given: str, number: int, context: Context) -> ImageRequest | None:
    """The request of a picture, number from 1, as it was drawn; None where the person doesn't see it.

    Nobody sees one that was deleted, or that moderators withhold.
    """
    job = await context.jobs.get(given)
    if job is None or not 1 <= number <= len(job.asked) or not sees_pictures(job, requester, place, context):
        return None
    index = number - 1
    if job.pictures[index].deleted is not None or await withheld(job, index, place, context):
        return None
    return as_drawn(job, index)


async def _drawn(job: JobRow, index: int, invocation: Invocation, context: Context) -> ImageRequest:
    """The request of a picture that was drawn.

    Raises:
        NotFoundError: it was never drawn, or was deleted.
        NotAllowedError: moderators withhold it.
    """
    locale, picture = invocation.requester.locale, job.pictures[index]
    if picture.deleted is not None:
        raise _deleted(job, index, locale)
    if not picture.stands:
        raise NotFoundError(messages.say("input.no_picture", locale, job=job.id, number=index + 1))
    if await withheld(job, index, invocation.place, context):
        raise NotAllowedError(messages.refusal(Layer.IMAGE, (messages.QUARANTINED,), locale=locale))
    return as_drawn(job, index)


def _deleted(job: JobRow, index: int, locale: str) -> NotFoundError:
    return NotFoundError(messages.say("input.deleted_picture", locale, job=job.id, number=index + 1))


def as_drawn(job: JobRow, index: int) -> ImageRequest:
    """What the person asked for with a picture, from 0, and all that they had left open."""
    resolved: ResolvedRequest = job.requests[index]
    seed = job.pictures[index].seed
    pinned: dict[str, Any] = {name: getattr(resolved, name) for name in PINNED}
    pinned |= {"seed": resolved.seed if seed is None else seed, "force": False}
    return job.asked[index].model_copy(update=pinned)
