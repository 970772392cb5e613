"""`/appeal` and `/report`, and what moderators do about them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot import messages
from bot.chat import Button, Invocation, Notice, Reply, Update
from bot.handlers.base import Context, arguments, required
from bot.handlers.history import moment
from bot.handlers.seen import own_job, picture_number, seen_picture
from bot.store.rows import Appeal, AppealState, JobRow

APPEAL = "/appeal JOB [NUMBER] [REASON]"
REPORT = "/report JOB [NUMBER] [REASON]"
KEY_SHOWN = 32
"""Characters of a key that no two pictures share, short enough for a button."""


async def appeal(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Ask the moderators to allow a prompt of one's own that was refused."""
    locale = invocation.requester.locale
    values = _arguments(invocation)
    job = await own_job(invocation, context, required(values, "job", APPEAL, locale))
    index = picture_number(values, job, APPEAL, locale)
    asked, fresh = await context.appeals.ask(job, index, values.get("reason", ""), locale)
    if asked.state is AppealState.OPEN:
        key = "appeal.sent" if _here(job, invocation) else "appeal.sent_elsewhere"
        text = messages.say(key, locale, number=index + 1, job=job.id, id=asked.id)
    else:
        text = _decision(asked, locale)
    yield Reply(text=text, data=asked.model_dump(mode="json", exclude={"digest"}))
    if context.community.log_channel and fresh and _here(job, invocation):
        yield _notice(asked, context.community.log_channel)


async def report(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Tell the moderators of a picture."""
    locale = invocation.requester.locale
    values = _arguments(invocation)
    job, index = await seen_picture(invocation, context, values, REPORT)
    reason = values.get("reason", "")
    fresh = await context.appeals.report(invocation.requester, job, index, reason)
    sent = "report.sent" if _here(job, invocation) else "report.sent_elsewhere"
    text = messages.say(sent if fresh else "report.again", locale, number=index + 1, job=job.id)
    yield Reply(text=text, data={"job": job.id, "number": index + 1, "reported": fresh})
    if context.community.log_channel and fresh and _here(job, invocation):
        yield _told(invocation, job, index, reason, context.community.log_channel)


def _here(job: JobRow, invocation: Invocation) -> bool:
    """Whether a job is of the community where they ask: nobody else's log channel is told of it."""
    return job.place.scope == invocation.place.scope


def _arguments(invocation: Invocation) -> dict[str, str]:
    """Job, number and reason; `report JOB because …` leaves the number out, where a form has a field for each."""
    values = arguments(invocation, "job", "number", "reason")
    number = values.get("number")
    if invocation.options is not None or number is None or number.isdecimal():
        return values
    reason = " ".join(part for part in (number, values.get("reason", "")) if part)
    return {"job": values["job"], "reason": reason}


def _notice(asked: Appeal, channel: str) -> Notice:
    text = messages.say(
        "appeal.asked",
        person=asked.person,
        layer=asked.layer,
        categories=messages.listed(asked.categories),
        prompt=messages.shorten(asked.prompt, 1_000),
    )
    buttons = (
        Button(label=messages.say("appeal.allow"), command="moderation", text=f"allow {asked.id}"),
        Button(label=messages.say("appeal.deny"), command="moderation", text=f"deny {asked.id}"),
    )
    return Notice(
        text=_with_reason(text, asked.reason), channel=channel, job=asked.job, index=asked.index, buttons=buttons
    )


def _told(invocation: Invocation, job: JobRow, index: int, reason: str, channel: str) -> Notice:
    text = messages.say(
        "report.told",
        person=invocation.requester.key,
        number=index + 1,
        job=job.id,
        owner=job.requester.key,
        prompt=messages.shorten(job.asked[index].prompt, 1_000),
    )
    buttons: tuple[Button, ...] = (
        Button(label=messages.say("report.delete"), command="delete", text=f"{job.id} {index + 1}"),
        Button(label=messages.say("report.show"), command="show", text=job.id),
    )
    key = job.pictures[index].generation_key
    if key is not None:
        quarantine = f"quarantine {key[:KEY_SHOWN]}"
        buttons += (Button(label=messages.say("report.quarantine"), command="cache", text=quarantine),)
    return Notice(text=_with_reason(text, reason), channel=channel, job=job.id, index=index, buttons=buttons)


def _with_reason(text: str, reason: str) -> str:
    told = messages.say("appeal.reason", reason=messages.shorten(reason, 500))
    return f"{text}\n{told}" if reason else text


async def with_news(
    updates: AsyncGenerator[Update, None], invocation: Invocation, context: Context
) -> AsyncGenerator[Update, None]:
    """The updates of a job, and after the first of them what moderators decided on the person's appeals meanwhile."""
    told = False
    async with aclosing(updates):
        async for update in updates:
            yield update
            if not told:
                told = True
                for decided in await context.appeals.news(invocation.requester, invocation.place.scope):
                    yield Notice(
                        text=_decision(decided, invocation.requester.locale), job=decided.job, index=decided.index
                    )


def _decision(decided: Appeal, locale: str) -> str:
    return messages.say(f"appeal.{decided.state}", locale, prompt=messages.quote(decided.prompt))


async def appeals(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """List the appeals that wait for a decision."""
    locale = invocation.requester.locale
    found = await context.appeals.open(context.scope(invocation))
    rows = [
        (
            asked.id,
            moment(asked.created),
            asked.person,
            asked.layer,
            ", ".join(asked.categories),
            asked.prompt,
            asked.reason,
        )
        for asked in found
    ]
    columns = ("appeal", "asked", "person", "layer", "categories", "prompt", "reason")
    text = messages.table(columns, rows, locale) if rows else messages.say("appeal.none", locale)
    yield Reply(text=text, data={"appeals": [asked.model_dump(mode="json", exclude={"digest"}) for asked in found]})


async def allow(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Let the person have the refused prompt drawn here."""
    async for update in _decide(invocation, context, AppealState.ALLOWED):
        yield update


async def deny(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Let the refusal stand."""
    async for update in _decide(invocation, context, AppealState.DENIED):
        yield update


async def _decide(invocation: Invocation, context: Context, state: AppealState) -> AsyncGenerator[Update, None]:
    locale = invocation.requester.locale
    given = required(arguments(invocation), "person", "/moderation allow|deny ID", locale)
    decided = await context.appeals.decide(invocation.requester, context.scope(invocation), given, state)
    text = messages.say(f"appeal.done_{state}", locale, person=decided.person, prompt=messages.quote(decided.prompt))
    yield Reply(text=text, data=decided.model_dump(mode="json", exclude={"digest"}))


async def reports(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """List the reports that nobody has dealt with."""
    locale = invocation.requester.locale
    found = await context.appeals.reports(context.scope(invocation))
    rows = [(told.id, moment(told.created), told.person, told.job, told.index + 1, told.reason) for told in found]
    columns = ("report", "time", "person", "job", "picture", "reason")
    text = messages.table(columns, rows, locale) if rows else messages.say("report.none", locale)
    yield Reply(text=text, data={"reports": [told.model_dump(mode="json") for told in found]})


async def dismiss(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Put a report aside; deleting the picture does so too."""
    locale = invocation.requester.locale
    given = required(arguments(invocation), "person", "/moderation dismiss ID", locale)
    await context.appeals.dismiss(invocation.requester, context.scope(invocation), given)
    yield Reply(text=messages.say("report.done", locale, id=messages.quote(given)), data={"report": given})
