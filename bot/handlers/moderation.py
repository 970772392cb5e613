"""`/moderation`: bans, moderators appointed here, and the log of what moderators did."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot import messages
from bot.chat import Invocation, Reply, Role, Update
from bot.handlers import appeals
from bot.handlers.base import Command, Context, arguments, choose, required
from bot.handlers.history import moment
from bot.handlers.people import person_key
from bot.store.rows import Ban

LENGTH = re.compile(r"([0-9]{1,4})([mhdw])", re.IGNORECASE)
UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SHOWN_ENTRIES = 20


async def moderation(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Pick the action that the first word names."""
    locale = invocation.requester.locale
    values = arguments(invocation, "action", "person", "reason")
    name = required(values, "action", USAGE, locale)
    action = choose(name, ACTIONS, context, "/moderation ", locale)
    inner = invocation.model_copy(update={"options": values})
    async with aclosing(action.handler(inner, context)) as updates:
        async for update in updates:
            yield update


async def ban(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Ban somebody from this community, for good or for a time."""
    person, reason, seconds = _sentence(invocation)
    done = await context.moderation.ban(invocation.requester, invocation.place, person, reason=reason, seconds=seconds)
    yield _banned(done, seconds, invocation)


async def ban_everywhere(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Ban somebody from every community."""
    person, reason, seconds = _sentence(invocation)
    done = await context.moderation.ban_everywhere(
        invocation.requester, invocation.place, person, reason=reason, seconds=seconds
    )
    yield _banned(done, seconds, invocation)


async def unban(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Lift a ban from this community."""
    person = _person(invocation)
    await context.moderation.unban(invocation.requester, invocation.place, person)
    yield _done("ban.lifted", person, invocation)


async def unban_everywhere(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Lift a ban from every community."""
    person = _person(invocation)
    await context.moderation.unban_everywhere(invocation.requester, invocation.place, person)
    yield _done("ban.lifted", person, invocation)


async def grant(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Make somebody a moderator here."""
    person = _person(invocation)
    await context.moderation.grant(invocation.requester, invocation.place, person)
    yield _done("role.granted", person, invocation)


async def revoke(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Take that back."""
    person = _person(invocation)
    await context.moderation.revoke(invocation.requester, invocation.place, person)
    yield _done("role.revoked", person, invocation)


async def bans(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """List the bans that hold here."""
    locale = invocation.requester.locale
    found = await context.moderation.bans(invocation.requester, invocation.place)
    rows = [(ban.person, "" if ban.until is None else moment(ban.until), ban.actor, ban.reason) for ban in found]
    text = (
        messages.table(("person", "until", "by", "reason"), rows, locale) if rows else messages.say("ban.none", locale)
    )
    yield Reply(text=text, data={"bans": [ban.model_dump(mode="json") for ban in found]})


async def audit(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """List what moderators did here, the latest first."""
    locale = invocation.requester.locale
    entries = await context.moderation.audit(invocation.requester, invocation.place, limit=SHOWN_ENTRIES)
    rows = [(moment(entry.created), entry.actor, entry.action, entry.target, entry.detail) for entry in entries]
    columns = ("time", "by", "action", "target", "detail")
    text = messages.table(columns, rows, locale) if rows else messages.say("history.no_audit", locale)
    yield Reply(text=text, data={"entries": [entry.model_dump(mode="json") for entry in entries]})


def _person(invocation: Invocation) -> str:
    values = arguments(invocation)
    usage = ACTIONS[values["action"].casefold()].usage
    return person_key(required(values, "person", usage, invocation.requester.locale), invocation)


def _sentence(invocation: Invocation) -> tuple[str, str, float | None]:
    """Whom, why, and for how many seconds; the length is an option of its own, or the first word of the reason."""
    values = arguments(invocation)
    reason = values.get("reason", "")
    length, _, rest = reason.partition(" ")
    if "duration" in values:
        length, rest = values["duration"], reason
    match = LENGTH.fullmatch(length)
    if match is None and "duration" in values:
        required({}, "duration", ACTIONS[values["action"].casefold()].usage, invocation.requester.locale)
    seconds = int(match[1]) * UNITS[match[2].casefold()] if match else None
    return _person(invocation), rest.strip() if match else reason, seconds


def _banned(done: Ban, seconds: float | None, invocation: Invocation) -> Reply:
    locale = invocation.requester.locale
    if seconds is None:
        text = messages.say("ban.done", locale, person=done.person)
    else:
        text = messages.say("ban.done_until", locale, person=done.person, duration=messages.duration(seconds, locale))
    return Reply(text=text, data=done.model_dump(mode="json"))


def _done(key: str, person: str, invocation: Invocation) -> Reply:
    return Reply(text=messages.say(key, invocation.requester.locale, person=person), data={"person": person})


ACTIONS: dict[str, Command] = {
    "ban": Command(handler=ban, role=Role.MODERATOR, usage="/moderation ban ID [30m|12h|7d] [REASON]"),
    "unban": Command(handler=unban, role=Role.MODERATOR, usage="/moderation unban ID"),
    "bans": Command(handler=bans, role=Role.MODERATOR, usage="/moderation bans"),
    "appeals": Command(handler=appeals.appeals, role=Role.MODERATOR, usage="/moderation appeals"),
    "allow": Command(handler=appeals.allow, role=Role.MODERATOR, usage="/moderation allow ID"),
    "deny": Command(handler=appeals.deny, role=Role.MODERATOR, usage="/moderation deny ID"),
    "reports": Command(handler=appeals.reports, role=Role.MODERATOR, usage="/moderation reports"),
    "dismiss": Command(handler=appeals.dismiss, role=Role.MODERATOR, usage="/moderation dismiss ID"),
    "audit": Command(handler=audit, role=Role.MODERATOR, usage="/moderation audit"),
    "grant": Command(handler=grant, role=Role.MODERATOR, usage="/moderation grant ID"),
    "revoke": Command(handler=revoke, role=Role.MODERATOR, usage="/moderation revoke ID"),
    "ban-everywhere": Command(
        handler=ban_everywhere, role=Role.OPERATOR, usage="/moderation ban-everywhere ID [30m|12h|7d] [REASON]"
    ),
    "unban-everywhere": Command(handler=unban_everywhere, role=Role.OPERATOR, usage="/moderation unban-everywhere ID"),
}
USAGE = f"/moderation {'|'.join(ACTIONS)}"
