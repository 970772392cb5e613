"""`/delete` and `/forget-me`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from bot import messages
from bot.chat import Invocation, Removed, Reply, Update
from bot.errors import NotFoundError
from bot.handlers.base import Context, arguments, required
from bot.handlers.seen import own_job, picture_number

DELETE = "/delete JOB [NUMBER]"
FORGET = "/forget-me [confirm]"
CONFIRM = "confirm"


async def delete(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Delete one picture, or all pictures of a job: one's own, or as a moderator anybody's here."""
    locale = invocation.requester.locale
    values = arguments(invocation, "job", "number")
    job = await own_job(invocation, context, required(values, "job", DELETE, locale))
    index = picture_number(values, job, DELETE, locale) if values.get("number") else None
    indices = range(len(job.asked)) if index is None else (index,)
    deleted = await context.jobs.delete(job, indices, invocation.requester)
    if not deleted.pictures:
        raise NotFoundError(messages.say("delete.nothing", locale, job=job.id))
    text = messages.say("delete.done", locale, count=len(deleted.pictures), files=deleted.files)
    if deleted.left:
        again = f"/delete {job.id}" if index is None else f"/delete {job.id} {index + 1}"
        text = f"{text} {messages.say('delete.left', locale, command=again)}"
    yield Removed(job=job.id, index=index, text=text, messages=deleted.messages)


async def forget_me(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Delete everything that the person asked for; the word `confirm` must be given."""
    locale = invocation.requester.locale
    if arguments(invocation, "confirm").get("confirm", "").casefold() not in (CONFIRM, "true"):
        extent = await context.jobs.extent(invocation.requester)
        text = messages.say("forget.ask", locale, **extent.model_dump())
        yield Reply(text=text, data=extent.model_dump(), confirm=f"forget-me {CONFIRM}")
        return
    extent, files = await context.jobs.forget(invocation.requester)
    text = messages.say("forget.done", locale, **extent.model_dump(), files=files)
    yield Reply(text=text, data=extent.model_dump() | {"files": files})
