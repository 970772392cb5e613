"""`/imagine`, `/batch` and `/reroll`: requests read, settled, stored as a job, and followed to its pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot import grammar, messages
from bot.chat import Invocation, Role, Update
from bot.errors import BadInputError, NotFoundError
from bot.handlers.base import Context, arguments, required
from bot.store.rows import JobRow
from engine.types import ImageRequest, ResolvedRequest


async def imagine(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw one picture."""
    locale = invocation.requester.locale
    given = invocation.options or {}
    if invocation.options is None or invocation.text:
        # Flags within the prompt and options that were picked beside it go together; the latter win.
        written = grammar.parse(invocation.text, locale)
        given = {**written.model_dump(mode="json", exclude_unset=True), **given}
    request = grammar.from_options(given, locale)
    async with aclosing(_draw((request,), invocation, context)) as updates:
        async for update in updates:
            yield update


async def reroll(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw a picture of an earlier job once more, with another seed."""
    locale = invocation.requester.locale
    values = arguments(invocation, "job", "number")
    given = required(values, "job", "/reroll JOB [NUMBER]", locale)
    job = await context.jobs.get(given)
    if job is None or not _sees(job, invocation, context):
        raise NotFoundError(messages.say("input.unknown_job", locale, given=messages.quote(given)))
    number = values.get("number", "1")
    if number not in map(str, range(1, len(job.asked) + 1)):
        raise BadInputError(messages.say("input.usage", locale, usage="/reroll JOB [NUMBER]"))
    request = job.asked[int(number) - 1].model_copy(update={"seed": context.draw_seed()})
    async with aclosing(_draw((request,), invocation, context)) as updates:
        async for update in updates:
            yield update


def _sees(job: JobRow, invocation: Invocation, context: Context) -> bool:
    """Whether the person sees the job's pictures: their own, those in the channel, a moderator's whole community."""
    here = job.place.scope == invocation.place.scope
    return (
        job.requester.key == invocation.requester.key
        or (here and job.place.channel == invocation.place.channel)
        or (here and context.role.reaches(Role.MODERATOR))
    )


async def batch(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw a picture for each line of the text, or of the option `prompts`."""
    limit, locale = context.settings.batch_limit, invocation.requester.locale
    if invocation.options is None:
        requests = grammar.parse_batch(invocation.text, limit, locale)
    else:
        requests = grammar.batch_from_options(invocation.options, limit, locale)
    async with aclosing(_draw(requests, invocation, context)) as updates:
        async for update in updates:
            yield update


async def _draw(
    asked: tuple[ImageRequest, ...], invocation: Invocation, context: Context
) -> AsyncGenerator[Update, None]:
    resolved, seeds_free = await _resolved(asked, invocation, context)
    submitted = await context.jobs.submit(invocation, asked, resolved, seeds_free=seeds_free)
    if submitted.duplicate:
        # The platform sent this event before; whoever took it then gives the answer.
        return
    async with aclosing(context.jobs.watch(submitted.job)) as updates:
        async for update in updates:
            yield update


async def _resolved(
    asked: tuple[ImageRequest, ...], invocation: Invocation, context: Context
) -> tuple[tuple[ResolvedRequest, ...], bool]:
    """The requests with nothing left open, and whether all their seeds were drawn here."""
    info = await context.client.info()
    drawn: list[int] = []

    def draw_seed() -> int:
        drawn.append(context.draw_seed())
        return drawn[-1]

    may_unmark = context.settings.unmarked or context.role.reaches(Role.MODERATOR)
    resolved = tuple(
        grammar.resolve(
            request,
            info,
            context.settings,
            draw_seed=draw_seed,
            may_unmark=may_unmark,
            locale=invocation.requester.locale,
        )
        for request in asked
    )
    return resolved, len(drawn) == len(asked)
