"""`/imagine` and `/batch`: requests read, settled, stored as a job, and followed to its pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot import grammar
from bot.chat import Invocation, Update
from bot.grammar.changes import take_changes
from bot.grammar.options import Given
from bot.handlers import rules
from bot.handlers.appeals import with_news
from bot.handlers.base import Context
from bot.handlers.files import IMAGE_OF, check_strength, prompts_of, start_from, start_from_picture
from engine.types import ImageRequest, ResolvedRequest


async def imagine(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw one picture."""
    locale = invocation.requester.locale
    given: dict[str, Given] = dict(invocation.options or {})
    parent = given.pop(IMAGE_OF, None)
    changes = take_changes(given, locale)
    if invocation.options is None or invocation.text:
        # Flags within the prompt and options that were picked beside it go together; the latter win.
        written = grammar.parse(invocation.text, locale)
        given = {**written.model_dump(mode="json", exclude_unset=True), **given}
    request = grammar.from_options(given, locale).model_copy(update=changes)
    if parent is not None and not invocation.attachments:
        request = await start_from_picture(str(parent), request, invocation, context)
    check_strength(request, invocation)
    async with aclosing(draw((request,), invocation, context)) as updates:
        async for update in updates:
            yield update


async def batch(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Draw a picture for each line of the text, of the option `prompts`, and of a text file that came along."""
    limit, locale = context.settings.batch_limit, invocation.requester.locale
    lines = prompts_of(invocation)
    if invocation.options is None:
        requests = grammar.parse_batch("\n".join((invocation.text, *lines)), limit, locale)
    else:
        prompts = "\n".join((str(invocation.options.get("prompts") or ""), *lines))
        requests = grammar.batch_from_options({**invocation.options, "prompts": prompts}, limit, locale)
    plain = invocation.model_copy(update={"attachments": ()})
    async with aclosing(draw(requests, plain, context)) as updates:
        async for update in updates:
            yield update


async def draw(
    asked: tuple[ImageRequest, ...], invocation: Invocation, context: Context
) -> AsyncGenerator[Update, None]:
    """Settle requests under the rules of the community, and have them drawn."""
    rules.admit(invocation, context)
    if invocation.attachments:
        asked = (await start_from(asked[0], invocation, context),)
    resolved, seeds_free = await _resolved(asked, invocation, context)
    asked = tuple(rules.to_keep(*pair, context) for pair in zip(asked, resolved, strict=True))
    resolved = await context.appeals.waived(invocation.requester, invocation.place.scope, resolved)
    async with aclosing(follow(asked, resolved, invocation, context, seeds_free=seeds_free)) as updates:
        async for update in updates:
            yield update


async def follow(
    asked: tuple[ImageRequest, ...],
    resolved: tuple[ResolvedRequest, ...],
    invocation: Invocation,
    context: Context,
    *,
    seeds_free: bool = False,
    charged: bool = True,
) -> AsyncGenerator[Update, None]:
    """Submit a job and follow it to its end; one that isn't `charged` doesn't count against the person."""
    submitted = await context.jobs.submit(
        invocation, asked, resolved, seeds_free, charged=charged, limits=rules.limits(context.community)
    )
    if submitted.duplicate:
        # The platform sent this event before; whoever took it then gives the answer.
        return
    updates = with_news(rules.shown(context.jobs.watch(submitted.job), context.community), invocation, context)
    async with aclosing(updates):
        async for update in updates:
            yield update


async def _resolved(
    asked: tuple[ImageRequest, ...], invocation: Invocation, context: Context
) -> tuple[tuple[ResolvedRequest, ...], bool]:
    """The requests with nothing left open, and whether all their seeds were drawn here."""
    drawn: list[int] = []

    def draw_seed() -> int:
        drawn.append(context.draw_seed())
        return drawn[-1]

    resolved = [await rules.settle(request, invocation, context, draw_seed) for request in asked]
    return tuple(resolved), len(drawn) == len(asked)
