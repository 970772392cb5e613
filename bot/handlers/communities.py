"""`/settings`: what a community's moderators set for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from bot import messages
from bot.chat import Invocation, Reply, Role, Update
from bot.community import Community
from bot.errors import BadInputError, NotAllowedError
from bot.grammar import render, resolve
from bot.grammar.community import setting_name, setting_value
from bot.grammar.options import number
from bot.grammar.resolve import LEAST_OPACITY
from bot.handlers.base import Command, Context, arguments, choose, required
from bot.handlers.rules import offered, with_defaults
from engine.types import ImageRequest


async def settings(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Pick the action that the first word names; alone, it shows."""
    values = arguments(invocation, "action", "name", "value")
    action = choose(values.get("action") or "show", ACTIONS, context, "/settings ", invocation.requester.locale)
    inner = invocation.model_copy(update={"options": values})
    async with aclosing(action.handler(inner, context)) as updates:
        async for update in updates:
            yield update


async def show(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """List every setting with its value."""
    locale = invocation.requester.locale
    data = context.community.model_dump(mode="json")
    rows = [(name, readable(data[name], locale), messages.setting_help(name, locale)) for name in data]
    text = messages.table(("setting", "value", "meaning"), rows, locale, width=80)
    yield Reply(text=text, data={"settings": data})


async def set_value(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Set one value."""
    locale = invocation.requester.locale
    values = arguments(invocation)
    name = setting_name(required(values, "name", ACTIONS["set"].usage, locale), locale)
    value = setting_value(name, values.get("value", ""), locale)
    await _check(name, value, context, locale)
    await context.communities.put(invocation.requester, invocation.place, name, value)
    text = messages.say("setting.set", locale, name=name, value=readable(value, locale))
    yield Reply(text=text, data={"name": name, "value": value})


async def unset(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
    """Take one value back."""
    locale = invocation.requester.locale
    name = setting_name(required(arguments(invocation), "name", ACTIONS["unset"].usage, locale), locale)
    await context.communities.drop(invocation.requester, invocation.place, name)
    default = Community().model_dump(mode="json")[name]
    text = messages.say("setting.set", locale, name=name, value=readable(default, locale))
    yield Reply(text=text, data={"name": name, "value": default})


async def _check(name: str, value: Any, context: Context, locale: str) -> None:  # noqa: ANN401
    """Refuse what could never be drawn here, or what only the operator may allow.

    Raises:
        BadInputError: an unknown model or style, or a size that the model doesn't draw.
        NotAllowedError: a mark too faint to be seen.
    """
    info = await context.client.info()
    if name == "models":
        known = [model.name for model in info.models]
        for model in value:
            if model not in known:
                values = {"given": messages.quote(model), "known": messages.listed(known)}
                raise BadInputError(messages.say("setting.model", locale, **values))
    if name == "watermark_opacity" and value < LEAST_OPACITY and not _may_unmark(context):
        values = {"low": number(LEAST_OPACITY), "given": messages.quote(value)}
        raise NotAllowedError(messages.say("input.faint_mark", locale, **values))
    if name in ("options", "models"):
        changed = Community.model_validate({**context.community.model_dump(), name: value})
        trial = with_defaults(ImageRequest(prompt="-"), context.within(changed))
        trial = trial.model_copy(update={"style": changed.options.get("style")})
        allowed = offered(info, changed)
        resolve(trial, allowed, context.settings, draw_seed=int, may_unmark=True, locale=locale)


def _may_unmark(context: Context) -> bool:
    return context.settings.unmarked or context.role.reaches(Role.OPERATOR)


def readable(value: Any, locale: str) -> str:  # noqa: ANN401
    """A value as people write it."""
    if value is None or value in ([], {}):
        return messages.say("setting.unset", locale)
    match value:
        case bool():
            return messages.say("setting.on" if value else "setting.off", locale)
        case list():
            return ", ".join(map(str, value))
        case dict():
            return render(ImageRequest.model_validate({"prompt": "x", **value})).removeprefix("x ")
    return str(value)


ACTIONS: dict[str, Command] = {
    "show": Command(handler=show, role=Role.MODERATOR, usage="/settings show"),
    "set": Command(handler=set_value, role=Role.MODERATOR, usage="/settings set NAME VALUE"),
    "unset": Command(handler=unset, role=Role.MODERATOR, usage="/settings unset NAME"),
}
USAGE = "/settings [show|set NAME VALUE|unset NAME]"
