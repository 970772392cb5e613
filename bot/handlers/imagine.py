"""`/imagine` and `/batch`: requests read, settled, stored as a job, and followed until its pictures are there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot import grammar
from bot.chat import Invocation, Role, Update
from bot.handlers.base import Context
from engine.types import ImageRequest, ResolvedRequest


async def imagine(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw one picture."""
    locale = invocation.requester.locale
    if invocation.options is None:
        request = grammar.parse(invocation.text, locale)
    else:
        request = grammar.from_options(invocation.options, locale)
    async with aclosing(_draw((request,), invocation, context)) as updates:
        async for update in updates:
            yield update


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
