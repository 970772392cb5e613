"""Files that come with a command: prompts for a batch, and an image to start from."""

from __future__ import annotations

from bot import messages
from bot.chat import Attachment, Invocation
from bot.clients import images
from bot.errors import BadInputError
from bot.grammar import MAX_TEXT, OPTIONS
from bot.grammar.options import lines
from bot.handlers import rules
from bot.handlers.base import Context
from bot.handlers.seen import picture_number, seen_job
from engine.types import ImageRequest

IMAGE_OF = "image_of"
"""An option that front ends give by themselves, `JOB NUMBER`: start from the same image as that picture did."""
MAX_BYTES = 4 * MAX_TEXT
"""No longer text fits into MAX_TEXT characters of UTF-8."""


def prompts_of(invocation: Invocation) -> list[str]:
    """The lines of the text file that came with a batch; none without a file.

    Raises:
        BadInputError: there are several files, or it is no text, or too long.
    """
    locale = invocation.requester.locale
    if not invocation.attachments:
        return []
    if len(invocation.attachments) > 1:
        raise BadInputError(messages.say("attachment.one_text", locale, count=len(invocation.attachments)))
    return prompts_in(invocation.attachments[0], locale)


def prompts_in(file: Attachment, locale: str) -> list[str]:
    """The lines of a text file.

    Raises:
        BadInputError: it is no text, or too long.
    """
    name = messages.quote(file.name)
    if len(file.data) > MAX_BYTES:
        raise BadInputError(messages.say("attachment.text_size", locale, name=name, limit=MAX_TEXT))
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(messages.say("attachment.not_text", locale, name=name)) from error
    if "\0" in text:
        raise BadInputError(messages.say("attachment.not_text", locale, name=name))
    if len(text) > MAX_TEXT:
        raise BadInputError(messages.say("attachment.text_size", locale, name=name, limit=MAX_TEXT))
    return lines(text)


async def start_from(request: ImageRequest, invocation: Invocation, context: Context) -> ImageRequest:
    """The request with the attached image to start from; without a size of its own it gets the image's shape.

    Raises:
        BadInputError: images are switched off here, or there are several.
        InputError: the file is no image, damaged, or out of bounds.
    """
    locale, count = invocation.requester.locale, len(invocation.attachments)
    _check_allowed(context, locale)
    if count != 1:
        raise BadInputError(messages.say("attachment.one_image", locale, count=count))
    data = invocation.attachments[0].data
    settled = await rules.settle(request, invocation, context, lambda: 0)
    width, height = settled.width, settled.height
    if request.width is None and request.height is None:
        info = await context.client.info()
        model = next(model for model in info.models if model.name == settled.model)
        width, height = await images.size_for(data, model)
    image = await images.source_image(data, width, height)
    return request.model_copy(update={"width": width, "height": height, "image": image})


async def start_from_picture(
    given: str, request: ImageRequest, invocation: Invocation, context: Context
) -> ImageRequest:
    """The request with the image that an earlier picture, `JOB NUMBER`, started from, if it did from one.

    Raises:
        BadInputError, NotFoundError: images are switched off here, or there is no such picture.
    """
    name, _, number = given.partition(" ")
    job = await seen_job(invocation, context, name)
    index = picture_number({"number": number or "1"}, job, "/imagine PROMPT [OPTIONS]", invocation.requester.locale)
    image = job.asked[index].image
    if image is None:
        return request
    _check_allowed(context, invocation.requester.locale)
    return request.model_copy(update={"image": image})


def check_strength(request: ImageRequest, invocation: Invocation) -> None:
    """Say so where a strength was given without an image that it could be about.

    Raises:
        BadInputError: it was.
    """
    if request.strength is not None and request.image is None and not invocation.attachments:
        flag = OPTIONS["strength"].flag
        raise BadInputError(messages.say("attachment.strength", invocation.requester.locale, option=flag))


def _check_allowed(context: Context, locale: str) -> None:
    if not context.settings.image_input:
        raise BadInputError(messages.say("attachment.no_images", locale))
