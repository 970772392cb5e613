"""`/history`, `/show`, `/cancel` and `/quota`: what a person asked for, and what is left."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from bot import messages
from bot.chat import Invocation, Reply, Update
from bot.grammar import render
from bot.handlers.base import Context, arguments, required
from bot.handlers.rules import limits
from bot.handlers.seen import own_job, posted_job
from bot.store.rows import JobRow
from engine.types import ImageRequest

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
    """Show one job: its state, and the commands that give its pictures again; to others, of pictures that they see."""
    locale = invocation.requester.locale
    given = required(arguments(invocation, "job"), "job", "/show JOB", locale)
    if (posted := await posted_job(invocation, context, given)) is not None:
        standing = [picture.index for picture in posted.pictures if picture.stands]
        commands = [command for index, command in repeats(posted).items() if index in standing]
        yield _shown(posted, len(standing), [], commands, {"job": posted.id, "commands": commands}, locale)
        return
    job = await own_job(invocation, context, given)
    commands = list(repeats(job).values())
    data = summary(job) | {"commands": commands}
    yield _shown(job, len(job.asked), reasons(job, locale), commands, data, locale)


def _shown(job: JobRow, pictures: int, why: list[str], commands: list[str], data: dict[str, Any], locale: str) -> Reply:
    head = messages.say(
        "shown.state",
        locale,
        job=job.id,
        state=messages.say(f"state.{job.state}", locale),
        pictures=pictures,
        asked=moment(job.created),
    )
    lines = [head, *(messages.say("shown.reason", locale, reason=reason) for reason in why)]
    lines += [messages.say("shown.command", locale, command=command) for command in commands]
    return Reply(text="\n".join(lines), data=data)


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
    usage = await context.quota.usage(invocation.requester, invocation.place.scope, limits(context.community))
    if usage.limit is None:
        text = messages.say("quota.unlimited", locale, used=usage.used)
    else:
        again = messages.duration(usage.resets_in, locale)
        text = messages.say("quota.today", locale, used=usage.used, limit=usage.limit, duration=again)
    expenses = await context.jobs.budget.expenses(context.scope(invocation))
    if expenses.of_interest:
        text += "\n" + expenses.sentence(locale)
    yield Reply(text=text, data=usage.model_dump() | {"dollars": expenses.model_dump()})


def reasons(job: JobRow, locale: str) -> list[str]:
    """Why the job, or pictures of it, didn't come to anything."""
    pictures = len(job.asked)
    refusals = [
        messages.refusal(picture.layer, picture.categories, picture.index, pictures, locale)
        for picture in job.pictures
        if picture.layer is not None
    ]
    deletions = [
        messages.say("input.deleted_picture", locale, job=job.id, number=picture.index + 1)
        for picture in job.pictures
        if picture.deleted is not None
    ]
    errors = [job.error, *(picture.error for picture in job.pictures)]
    return list(dict.fromkeys([*(error for error in errors if error), *refusals, *deletions]))


def repeats(job: JobRow) -> dict[int, str]:
    """By the picture, from 0, a command that brings it again.

    One that was varied, enlarged or started from an image can't be written as text and is sent once more instead.
    """
    seeds = {picture.index: picture.seed for picture in job.pictures}
    pairs = zip(job.asked, job.requests, strict=True)
    requests = [
        asked.model_copy(update={"seed": resolved.seed if seeds.get(index) is None else seeds[index]})
        for index, (asked, resolved) in enumerate(pairs)
    ]
    return {
        index: f"/send {job.id} {index + 1}" if changed(request) else f"/imagine {render(request)}"
        for index, request in enumerate(requests)
        if job.pictures[index].deleted is None
    }


def changed(request: ImageRequest) -> bool:
    """Whether more makes the picture than its prompt and options."""
    return bool(request.variations or request.upscale > 1 or request.image)


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
