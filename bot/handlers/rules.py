"""What a community's settings mean for a request: where and by whom it may be asked for, and what it starts from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from bot import messages
from bot.chat import Invocation, Place, Role, Update, Working
from bot.community import Community, Nsfw
from bot.errors import BadInputError, NotAllowedError
from bot.grammar import OPTIONS, resolve
from bot.grammar.resolve import check_mark
from bot.handlers.base import Context
from bot.quota import Limits
from engine.types import EngineInfo, ImageRequest, ResolvedRequest

MARK = tuple(name for name in Community.model_fields if name.startswith("watermark_"))
OF_THE_PLACE = (*MARK, "strict", "private", "spoiler")
"""What holds anew wherever a picture is drawn again."""


def admit(invocation: Invocation, context: Context) -> None:
    """Let through who may ask for pictures in this channel; moderators may everywhere.

    Raises:
        NotAllowedError: not in this channel, or not without one of the community's roles.
    """
    community, place, locale = context.community, invocation.place, invocation.requester.locale
    if context.role.reaches(Role.MODERATOR):
        return
    if community.channels and not {place.channel, place.thread} & set(community.channels):
        raise NotAllowedError(messages.say("rules.channel", locale))
    if community.nsfw is Nsfw.ONLY and not place.nsfw:
        raise NotAllowedError(messages.say("rules.nsfw", locale))
    if community.roles and not set(invocation.requester.roles) & set(community.roles):
        raise NotAllowedError(messages.say("rules.role", locale))


def limits(community: Community) -> Limits:
    """The community's part of the quota."""
    return Limits(person=community.daily_pictures, community=community.community_pictures)


def offered(info: EngineInfo, community: Community) -> EngineInfo:
    """The models among which this community's people choose; those that the engine has lost don't count."""
    models = tuple(model for model in info.models if not community.models or model.name in community.models)
    if not models or models == info.models:
        return info
    names = [model.name for model in models]
    default = info.default_model if info.default_model in names else names[0]
    return info.model_copy(update={"models": models, "default_model": default})


def check_model(request: ImageRequest, info: EngineInfo, allowed: EngineInfo, locale: str) -> None:
    """Say so where a model exists, but not for this community.

    Raises:
        BadInputError: it is so.
    """
    wanted = (request.model or "").casefold()
    known = {model.name.casefold() for model in info.models}
    names = [model.name for model in allowed.models]
    if wanted in known - {name.casefold() for name in names}:
        values = {"given": messages.quote(request.model), "known": messages.listed(names)}
        raise BadInputError(messages.say("rules.model", locale, **values))


def with_defaults(request: ImageRequest, context: Context) -> ImageRequest:
    """The request with the community's values where the person left something open.

    A style that the person chose comes before them.
    """
    community = context.community
    wanted: dict[str, Any] = {**community.options, **{name: getattr(community, name) for name in MARK}}
    default_style = wanted.pop("style", None)
    # One that the operator has taken away since must not stop everybody.
    styles = {name.casefold(): style for name, style in context.settings.styles.items()}
    filled = _filled(request, {"style": default_style if str(default_style).casefold() in styles else None})
    style = styles.get((request.style or "").casefold())
    if style is not None:
        wanted = {name: value for name, value in wanted.items() if name not in style.options}
    if request.width is not None or request.height is not None:
        # Half a size of one's own goes with the model's, not with somebody else's.
        wanted = {name: value for name, value in wanted.items() if name not in ("width", "height")}
    return _filled(filled, wanted)


def _filled(request: ImageRequest, values: Mapping[str, Any]) -> ImageRequest:
    open_values = {
        name: value
        for name, value in values.items()
        if value is not None and name in OPTIONS and getattr(request, name) == OPTIONS[name].default
    }
    if not open_values:
        return request
    typed = ImageRequest.model_validate({"prompt": "-", **open_values})
    return request.model_copy(update={name: getattr(typed, name) for name in open_values})


def to_keep(request: ImageRequest, resolved: ResolvedRequest, context: Context) -> ImageRequest:
    """What is kept of a request: the same picture elsewhere, and when the community's defaults are others.

    A strength without an image to start from says nothing.
    """
    own = OF_THE_PLACE if request.image is not None else (*OF_THE_PLACE, "strength")
    filled = with_defaults(request, context).model_copy(update={name: getattr(request, name) for name in own})
    if filled.model is None and context.community.models:
        return filled.model_copy(update={"model": resolved.model})
    return filled


def still_offered(request: ImageRequest, info: EngineInfo, context: Context) -> ImageRequest:
    """What was kept, without a style that the operator has taken away since, or a model that moderators have."""
    styles = {name.casefold() for name in context.settings.styles}
    models = {model.name for model in offered(info, context.community).models}
    gone = {"style": (request.style or "").casefold() not in styles, "model": request.model not in models}
    return request.model_copy(update={name: None for name, is_gone in gone.items() if is_gone})


def without_defaults(context: Context) -> Context:
    """The same for a picture of which all is known: it is drawn as it was, whatever the defaults have become."""
    options = {name: value for name, value in context.community.options.items() if name in OF_THE_PLACE}
    return context.within(context.community.model_copy(update={"options": options}))


def covered(request: ResolvedRequest, community: Community, place: Place) -> ResolvedRequest:
    """The request under the community's rules on strictness, privacy and spoilers."""
    elsewhere = community.nsfw is Nsfw.SPOILER and not place.nsfw
    return request.model_copy(
        update={
            "strict": request.strict or community.strict,
            "private": request.private or community.private,
            "spoiler": request.spoiler or community.spoiler or elsewhere,
        }
    )


async def settle(
    request: ImageRequest, invocation: Invocation, context: Context, draw_seed: Callable[[], int]
) -> ResolvedRequest:
    """The request with nothing left open, under the rules of the community and of the operator.

    Raises:
        BadInputError, NotAllowedError: it can't be drawn, or not here.
    """
    locale = invocation.requester.locale
    info = await context.client.info()
    allowed = offered(info, context.community)
    check_model(request, info, allowed, locale)
    may_unmark = context.settings.unmarked or context.role.reaches(Role.MODERATOR)
    check_mark(request, may_unmark=may_unmark, locale=locale)
    resolved = resolve(
        with_defaults(request, context),
        allowed,
        context.settings,
        draw_seed=draw_seed,
        may_unmark=True,  # the community's own mark was judged when it was set
        locale=locale,
    )
    return covered(resolved, context.community, invocation.place)


async def shown(updates: AsyncGenerator[Update, None], community: Community) -> AsyncGenerator[Update, None]:
    """The updates, without previews where the community wants none."""
    async with aclosing(updates):
        async for update in updates:
            if isinstance(update, Working) and not community.previews:
                yield update.model_copy(update={"preview": None})
            else:
                yield update
