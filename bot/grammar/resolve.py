"""From what a person asked to what the engine draws: style, model, bounds and seed settled, nothing left open."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bot import messages
from bot.errors import BadInputError, NotAllowedError, SettingsError
from bot.grammar.options import OPTIONS, check, number
from bot.settings import PROMPT_SLOT, Settings, Style
from engine.types import EngineInfo, ImageRequest, ModelInfo, ResolvedRequest

LEAST_OPACITY = 0.1
"""A fainter mark is as good as none, so only those who may leave it out may ask for one."""
UNWRITTEN = tuple(name for name in ImageRequest.model_fields if name not in OPTIONS)
"""What buttons and attachments set; a style leaves it alone."""


def resolve(
    request: ImageRequest,
    info: EngineInfo,
    settings: Settings,
    *,
    draw_seed: Callable[[], int],
    may_unmark: bool,
    locale: str = messages.ENGLISH,
) -> ResolvedRequest:
    """Settle everything that a request leaves open.

    Args:
        request: what the person asked for.
        info: the engine's models, their defaults and bounds.
        settings: the operator's styles.
        draw_seed: gives a seed, 0 to 2**32 - 1, when the person named none.
        may_unmark: whether this person may have pictures without the visible mark.
        locale: language of the sentences.

    Raises:
        BadInputError: an unknown style or model, or a size that the model doesn't draw.
        NotAllowedError: no mark, or one too faint to be seen, where that isn't allowed.
        SettingsError: the style itself holds options out of bounds.
    """
    styled = _styled(request, settings, locale)
    model = _model(styled.model, info, locale)
    width, height = _size(styled, model, locale)
    check_mark(request, may_unmark=may_unmark, locale=locale)
    settled = {
        "model": model.name,
        "width": width,
        "height": height,
        "steps": model.steps if styled.steps is None else styled.steps,
        "guidance": model.guidance if styled.guidance is None else styled.guidance,
        "sampler": styled.sampler or model.sampler,
        "seed": draw_seed() if styled.seed is None else styled.seed,
    }
    return ResolvedRequest.model_validate(styled.model_dump() | settled)


def _styled(request: ImageRequest, settings: Settings, locale: str) -> ImageRequest:
    """The request with its style applied: the template around the prompt, and options where the person named none."""
    if request.style is None:
        return request
    name, style = _style(request.style, settings, locale)
    open_options = {key: value for key, value in style.options.items() if _is_open(request, key)}
    try:
        preset = check({"prompt": "-", **open_options}, locale).model_dump(include=set(open_options))
    except BadInputError as error:
        raise SettingsError(
            messages.say("style.broken", locale, style=name, reason=error.sentence.rstrip("."))
        ) from error
    negative = ", ".join(part for part in (request.negative_prompt, style.negative_prompt) if part)
    texts = {"prompt": style.template.replace(PROMPT_SLOT, request.prompt), "negative_prompt": negative}
    written = check(request.model_dump(include=set(OPTIONS)) | preset | texts | {"style": name}, locale)
    return written.model_copy(update={key: getattr(request, key) for key in UNWRITTEN})


def _is_open(request: ImageRequest, name: str) -> bool:
    return name in OPTIONS and getattr(request, name) == OPTIONS[name].default


def _style(given: str, settings: Settings, locale: str) -> tuple[str, Style]:
    for name, style in settings.styles.items():
        if name.casefold() == given.casefold():
            return name, style
    key = "input.unknown_style" if settings.styles else "input.no_styles"
    raise BadInputError(messages.say(key, locale, given=messages.quote(given), known=messages.listed(settings.styles)))


def _model(given: str | None, info: EngineInfo, locale: str) -> ModelInfo:
    wanted = info.default_model if given is None else given
    for model in info.models:
        if model.name.casefold() == wanted.casefold():
            return model
    known = messages.listed(_names(info.models))
    raise BadInputError(messages.say("input.unknown_model", locale, given=messages.quote(wanted), known=known))


def _names(models: Iterable[ModelInfo]) -> list[str]:
    return [model.name for model in models]


def _size(request: ImageRequest, model: ModelInfo, locale: str) -> tuple[int, int]:
    """Width and height; where one is open, it is the model's default, or the other one if it draws squares only."""
    width, height = request.width, request.height
    if model.square_only:
        width, height = width or height, height or width
    size = width or model.default_side, height or model.default_side
    square = not model.square_only or size[0] == size[1]
    if square and all(model.min_side <= side <= model.max_side for side in size):
        _check_upscaled(request.upscale, size, model, locale)
        return size
    key = "input.model_square" if model.square_only else "input.model_size"
    values = {"low": model.min_side, "high": model.max_side, "width": size[0], "height": size[1]}
    raise BadInputError(messages.say(key, locale, model=model.name, **values))


def _check_upscaled(times: int, size: tuple[int, int], model: ModelInfo, locale: str) -> None:
    """Raise BadInputError where the enlarged picture is larger than its model draws."""
    if max(size) * times > model.max_side:
        values = {"model": model.name, "times": times, "width": size[0], "height": size[1], "high": model.max_side}
        raise BadInputError(messages.say("input.upscaled_size", locale, **values))


def check_mark(request: ImageRequest, *, may_unmark: bool, locale: str) -> None:
    """Refuse a request for no mark, or for one too faint to be seen, where that isn't allowed.

    Raises:
        NotAllowedError: it is one.
    """
    if may_unmark:
        return
    if not request.watermark:
        raise NotAllowedError(messages.say("input.unmarked", locale, option="--no-watermark"))
    if request.watermark_opacity is not None and request.watermark_opacity < LEAST_OPACITY:
        given = messages.quote(request.watermark_opacity)
        raise NotAllowedError(messages.say("input.faint_mark", locale, low=number(LEAST_OPACITY), given=given))
