"""`/history`, `/show`, `/cancel` and `/quota`: what a person asked for, and what is left."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from bot import messages
from bot.chat import Invocation, Reply, Role, Update
from bot.errors import NotAllowedError, NotFoundError
from bot.grammar import render
from bot.handlers.base import Context, arguments, required
from bot.store.rows import JobRow

SHOWN_JOBS = 10


async def history(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """List the person's latest jobs in this community."""
    locale = invocation.requester.locale
    jobs = await context.jobs.history(invocation.requester, invocation.place.scope, limit=SHOWN_JOBS)
    rows = [
        (job.id, moment(job.created), messages.say(f"state.{job.state}", locale), len(job.asked), job.asked[0].prompt)
        for job in jobs
    ]
    columns = ("job", "asked", "state", "pictures", "prompt")
    text = messages.table(columns, rows, locale) if rows else messages.say("history.empty", locale)
    yield Reply(text=text, data={"jobs": [summary(job) for job in jobs]})


async def show(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Show one job: its state, and the commands that give its pictures again."""
    locale = invocation.requester.locale
    job = await _visible_job(invocation, context)
    head = messages.say(
        "shown.state",
        locale,
        job=job.id,
        state=messages.say(f"state.{job.state}", locale),
        pictures=len(job.asked),
        asked=moment(job.created),
    )
    lines = [head, *(messages.say("shown.reason", locale, reason=reason) for reason in reasons(job, locale))]
    lines += [messages.say("shown.command", locale, command=command) for command in repeats(job)]
    yield Reply(text="\n".join(lines), data=summary(job) | {"commands": repeats(job)})


async def cancel(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Cancel a job that has not ended; whoever follows it sees it stop."""
    locale = invocation.requester.locale
    given = required(arguments(invocation, "job"), "job", "/cancel JOB", locale)
    stopped = await context.jobs.cancel(given, invocation.requester, invocation.place)
    text = messages.say("stopped.job" if stopped else "stopped.too_late", locale, job=messages.quote(given))
    yield Reply(text=text, data={"job": given, "cancelled": stopped})


async def quota(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Say how many pictures the person has asked for today."""
    locale = invocation.requester.locale
    usage = await context.quota.usage(invocation.requester)
    if usage.limit is None:
        text = messages.say("quota.unlimited", locale, used=usage.used)
    else:
        again = messages.duration(usage.resets_in, locale)
        text = messages.say("quota.today", locale, used=usage.used, limit=usage.limit, duration=again)
    yield Reply(text=text, data=usage.model_dump())


async def _visible_job(invocation: Invocation, context: Context) -> JobRow:
    """The job that the command names, if this person may see it.

    Raises:
        NotFoundError: no such job in this community.
        NotAllowedError: it is somebody else's, and the person is no moderator.
    """
    locale = invocation.requester.locale
    given = required(arguments(invocation, "job"), "job", "/show JOB", locale)
    job = await context.jobs.get(given)
    own = job is not None and job.requester.key == invocation.requester.key
    anywhere = own or context.role.reaches(Role.OPERATOR)
    if job is None or not (anywhere or job.place.scope == invocation.place.scope):
        raise NotFoundError(messages.say("input.unknown_job", locale, given=messages.quote(given)))
    if not (own or context.role.reaches(Role.MODERATOR)):
        raise NotAllowedError(messages.say("role.not_yours", locale, job=job.id))
    return job


def reasons(job: JobRow, locale: str) -> list[str]:
    """Why the job, or pictures of it, didn't come to anything."""
    pictures = len(job.asked)
    refusals = [
        messages.refusal(picture.layer, picture.categories, picture.index, pictures, locale)
        for picture in job.pictures
        if picture.layer is not None
    ]
    errors = [job.error, *(picture.error for picture in job.pictures)]
    return list(dict.fromkeys([*(error for error in errors if error), *refusals]))


def repeats(job: JobRow) -> list[str]:
    """A command for each picture that draws it again, with the seed that it was drawn with."""
    seeds = {picture.index: picture.seed for picture in job.pictures}
    pairs = zip(job.asked, job.requests, strict=True)
    requests = [
        asked.model_copy(update={"seed": resolved.seed if seeds.get(index) is None else seeds[index]})
        for index, (asked, resolved) in enumerate(pairs)
    ]
    return [f"/imagine {render(request)}" for request in requests]


def summary(job: JobRow) -> dict[str, Any]:
    """A job for machines."""
    return {
        "job": job.id,
        "state": job.state,
        "created": job.created,
        "prompts": [request.prompt for request in job.asked],
        "pictures": [picture.model_dump(mode="json") for picture in job.pictures],
    }


def moment(seconds: float) -> str:
    """A point in time, to the minute, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
