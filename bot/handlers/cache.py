"""`/cache`: moderators look after their community's cached pictures, the operator after all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot import messages
from bot.chat import Invocation, Reply, Role, Update
from bot.errors import BadInputError, NotFoundError
from bot.handlers.base import Command, Context, arguments, choose, required
from bot.handlers.history import moment
from bot.handlers.people import person_key
from bot.store.rows import Known
from engine.types import CacheEntry

SHOWN_ENTRIES = 20
LONGEST_SHOWN = 500
"""Characters of a prompt, or of its options."""
LEAST_PREFIX = 8
"""Characters of a key that name a picture."""


async def cache(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Pick the action that the first word names."""
    locale = invocation.requester.locale
    values = arguments(invocation, "action", "target")
    name = required(values, "action", USAGE, locale)
    action = choose(name, ACTIONS, context, "/cache ", locale)
    inner = invocation.model_copy(update={"options": {**values, "action": name.casefold()}})
    async with aclosing(action.handler(inner, context)) as updates:
        async for update in updates:
            yield update


async def stats(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Figures of the cache."""
    figures = await context.client.cache_stats(context.scope(invocation))
    values = figures.model_dump() | {
        "size": messages.bytes_text(figures.bytes),
        "limit": messages.bytes_text(figures.max_bytes),
    }
    text = messages.say("cache.stats", invocation.requester.locale, **values)
    expenses = await context.jobs.budget.expenses(context.scope(invocation))
    if expenses.of_interest:
        text += "\n" + expenses.sentence(invocation.requester.locale)
    yield Reply(text=text, data=figures.model_dump() | {"dollars": expenses.model_dump()})


async def list_entries(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """The pictures used last; a word narrows them down to prompts that hold it."""
    locale = invocation.requester.locale
    search = arguments(invocation).get("target", "")
    entries = await context.client.cache_list(context.scope(invocation), limit=SHOWN_ENTRIES, search=search)
    rows = [
        (entry.key[:12], f"{entry.width}x{entry.height}", entry.uses, entry.owner, entry.prompt) for entry in entries
    ]
    columns = ("key", "size", "uses", "owner", "prompt")
    text = messages.table(columns, rows, locale) if rows else messages.say("cache.empty", locale)
    yield Reply(text=text, data={"entries": [entry.model_dump(mode="json") for entry in entries]})


async def show(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """One picture's particulars."""
    entry = await _entry(invocation, context, "/cache show KEY")
    yield Reply(text=_told(entry, invocation.requester.locale), data=entry.model_dump(mode="json"))


async def delete(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Remove one picture."""
    entry = await _entry(invocation, context, "/cache delete KEY")
    removed = await context.client.cache_delete(context.scope(invocation), entry.key)
    yield await _removed(invocation, context, entry.key, removed)


async def clear(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Remove everything."""
    removed = await context.client.cache_clear(context.scope(invocation))
    yield await _removed(invocation, context, "*", removed)


async def purge_user(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Remove what one person asked for."""
    given = required(arguments(invocation), "target", "/cache purge-user ID", invocation.requester.locale)
    person = person_key(given, invocation)
    removed = await context.client.cache_purge(context.scope(invocation), person)
    yield await _removed(invocation, context, person, removed)


async def quarantine(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Withhold a picture, so that nobody is given it until it is released; alone, list those that are withheld."""
    locale = invocation.requester.locale
    if not arguments(invocation).get("target"):
        found = await context.moderation.quarantined(context.scope(invocation), limit=SHOWN_ENTRIES)
        rows = [(held.key[:12], moment(held.created), held.actor, held.owner, held.prompt) for held in found]
        columns = ("key", "time", "by", "owner", "prompt")
        text = messages.table(columns, rows, locale) if rows else messages.say("cache.none_withheld", locale)
        yield Reply(text=text, data={"quarantined": [held.model_dump(mode="json") for held in found]})
        return
    picture = await _picture(invocation, context, ACTIONS["quarantine"].usage)
    everywhere = context.scope(invocation) is None
    await context.moderation.quarantine(invocation.requester, invocation.place, picture, everywhere=everywhere)
    yield Reply(text=messages.say("cache.withheld", locale, key=picture.key[:12]), data={"key": picture.key})


async def release(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Let a picture go again."""
    locale = invocation.requester.locale
    key = required(arguments(invocation), "target", ACTIONS["release"].usage, locale).casefold()
    if len(key) < LEAST_PREFIX:
        raise BadInputError(messages.say("input.usage", locale, usage=ACTIONS["release"].usage))
    await context.moderation.release(invocation.requester, invocation.place, key, context.scope(invocation))
    yield Reply(text=messages.say("cache.released", locale, key=messages.quote(key[:12])), data={"key": key})


async def verify(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Read every file and compare checksums."""
    check = await context.client.cache_verify()
    keys = messages.listed(check.damaged[:SHOWN_ENTRIES])
    key = "cache.damaged" if check.damaged else "cache.intact"
    text = messages.say(key, invocation.requester.locale, checked=check.checked, damaged=len(check.damaged), keys=keys)
    yield Reply(text=text, data=check.model_dump(mode="json"))


async def _entry(invocation: Invocation, context: Context, usage: str) -> CacheEntry:
    key = required(arguments(invocation), "target", usage, invocation.requester.locale)
    entry = await context.client.cache_show(context.scope(invocation), key)
    if entry is None:
        raise _unknown(key, invocation)
    return entry


async def _picture(invocation: Invocation, context: Context, usage: str) -> Known:
    """A picture of the cache, or one that was drawn here and whose file is gone or belongs to all communities."""
    key = required(arguments(invocation), "target", usage, invocation.requester.locale)
    scope = context.scope(invocation)
    entry = await context.client.cache_show(scope, key)
    if entry is not None:
        return Known(key=entry.key, owner=entry.owner, prompt=entry.prompt)
    prefix = key.casefold()
    drawn = await context.moderation.drawn(prefix, scope) if len(prefix) >= LEAST_PREFIX else None
    if drawn is None:
        raise _unknown(key, invocation)
    return drawn


def _unknown(key: str, invocation: Invocation) -> NotFoundError:
    return NotFoundError(messages.say("input.unknown_entry", invocation.requester.locale, given=messages.quote(key)))


async def _removed(invocation: Invocation, context: Context, target: str, files: int) -> Reply:
    """Write down who removed what, and say how much it was."""
    action = f"cache.{arguments(invocation)['action']}"
    await context.moderation.record(invocation.requester, action, target, invocation.place.scope, f"{files} files")
    text = messages.say("cache.deleted", invocation.requester.locale, files=files)
    return Reply(text=text, data={"removed": files})


def _told(entry: CacheEntry, locale: str) -> str:
    """An entry's particulars, a line each."""
    elsewhere = {"prompt", "width", "height"}
    options = (
        f"{name} {value}"
        for name, value in entry.parameters.items()
        if value not in ("", None) and value is not False and name not in elsewhere
    )
    return messages.say(
        "cache.shown",
        locale,
        key=entry.key,
        prompt=messages.shorten(entry.prompt, LONGEST_SHOWN),
        options=messages.shorten(" · ".join(options), LONGEST_SHOWN),
        size=f"{entry.width}x{entry.height}",
        bytes=messages.bytes_text(entry.bytes),
        tier=messages.say(f"tier.{entry.tier}", locale),
        owner=messages.shorten(entry.owner, LONGEST_SHOWN),
        scope=messages.shorten(entry.scope, LONGEST_SHOWN),
        created=moment(entry.created),
        last_used=moment(entry.last_used),
        uses=entry.uses,
        sha256=entry.sha256,
    )


ACTIONS: dict[str, Command] = {
    "stats": Command(handler=stats, role=Role.MODERATOR, usage="/cache stats"),
    "list": Command(handler=list_entries, role=Role.MODERATOR, usage="/cache list [WORD]"),
    "show": Command(handler=show, role=Role.MODERATOR, usage="/cache show KEY"),
    "delete": Command(handler=delete, role=Role.MODERATOR, usage="/cache delete KEY"),
    "clear": Command(handler=clear, role=Role.MODERATOR, usage="/cache clear"),
    "purge-user": Command(handler=purge_user, role=Role.MODERATOR, usage="/cache purge-user ID"),
    "quarantine": Command(handler=quarantine, role=Role.MODERATOR, usage="/cache quarantine [KEY]"),
    "release": Command(handler=release, role=Role.MODERATOR, usage="/cache release KEY"),
    "verify": Command(handler=verify, role=Role.OPERATOR, usage="/cache verify"),
}
USAGE = "/cache " + "|".join(row.usage.removeprefix("/cache ") for row in ACTIONS.values())
