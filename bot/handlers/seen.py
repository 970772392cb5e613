"""Which jobs a person may see and act on, looked up at the time of asking."""

from __future__ import annotations

from collections.abc import Mapping

from bot import messages
from bot.chat import Invocation, Place, Requester, Role
from bot.errors import BadInputError, NotAllowedError, NotFoundError
from bot.handlers.base import Context, required
from bot.store.rows import JobRow, JobState


def sees_pictures(job: JobRow, requester: Requester, place: Place, context: Context) -> bool:
    """Whether somebody sees a job's pictures.

    Their own, those in the channel unless they are private, a moderator those of the community, the operator all.
    """
    here = job.place.scope == place.scope
    return (
        job.requester.key == requester.key
        or context.role.reaches(Role.OPERATOR)
        or (here and context.role.reaches(Role.MODERATOR))
        or (here and not job.private and job.place.channel == place.channel)
    )


def owns(job: JobRow, requester: Requester, place: Place, context: Context) -> bool:
    """Whether somebody may act on a job: who asked for it, a moderator of its community, the operator."""
    here = job.place.scope == place.scope
    return (
        job.requester.key == requester.key
        or context.role.reaches(Role.OPERATOR)
        or (here and context.role.reaches(Role.MODERATOR))
    )


async def withheld(job: JobRow, index: int, place: Place, context: Context) -> bool:
    """Whether moderators withhold a picture, from 0, where it was drawn or where it is asked for."""
    picture = job.pictures[index]
    if picture.key is None:
        return False
    keys = (picture.key, picture.generation_key or picture.key)
    holds = context.moderation.withholds
    return await holds(job.place, *keys) or (place.scope != job.place.scope and await holds(place, *keys))


async def seen_job(invocation: Invocation, context: Context, given: str) -> JobRow:
    """The job of that name, if the person sees its pictures.

    Raises:
        NotFoundError: there is none that they see.
    """
    job = await context.jobs.get(given)
    if job is None or not sees_pictures(job, invocation.requester, invocation.place, context):
        raise NotFoundError(messages.say("input.unknown_job", invocation.requester.locale, given=messages.quote(given)))
    return job


async def posted_job(invocation: Invocation, context: Context, given: str) -> JobRow | None:
    """A job of somebody else's with pictures that are posted, or about to be, where the person sees them."""
    job, who, where = await context.jobs.get(given), invocation.requester, invocation.place
    if job is None or owns(job, who, where, context) or not sees_pictures(job, who, where, context):
        return None
    posted = job.state is JobState.DELIVERED or not job.state.ended
    return job if posted and any(picture.stands for picture in job.pictures) else None


async def own_job(invocation: Invocation, context: Context, given: str) -> JobRow:
    """The job of that name, if the person may act on it.

    Raises:
        NotFoundError: there is none in this community.
        NotAllowedError: it is somebody else's.
    """
    job = await context.jobs.get(given)
    locale = invocation.requester.locale
    if job is not None and owns(job, invocation.requester, invocation.place, context):
        return job
    if job is None or job.place.scope != invocation.place.scope:
        raise NotFoundError(messages.say("input.unknown_job", locale, given=messages.quote(given)))
    raise NotAllowedError(messages.say("role.not_yours", locale, job=job.id))


def picture_number(values: Mapping[str, str], job: JobRow, usage: str, locale: str) -> int:
    """Which picture of a job is meant, from 0; the first one when none is named.

    Raises:
        BadInputError: it has no such picture.
    """
    number = values.get("number", "1")
    if number not in map(str, range(1, len(job.asked) + 1)):
        raise BadInputError(messages.say("input.usage", locale, usage=usage))
    return int(number) - 1


async def seen_picture(
    invocation: Invocation, context: Context, values: Mapping[str, str], usage: str
) -> tuple[JobRow, int]:
    """The job and the picture, from 0, that a command names.

    Raises:
        BadInputError, NotFoundError: there is none, or the person doesn't see it.
    """
    locale = invocation.requester.locale
    job = await seen_job(invocation, context, required(values, "job", usage, locale))
    return job, picture_number(values, job, usage, locale)
