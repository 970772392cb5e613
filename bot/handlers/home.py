"""What a person finds on Easel's own page: their pictures and quota, and for moderators the community's desk."""

from __future__ import annotations

from bot.chat import Place, Requester, Role
from bot.community import Community
from bot.handlers.base import Context
from bot.handlers.rules import limits
from bot.quota import Usage
from bot.store.rows import Appeal, AuditEntry, Ban, JobRow, Report
from engine.types import CacheStats, Value

RECENT_JOBS = 10
SHOWN = 20


class Desk(Value):
    """What moderators see of their community, operators of all."""

    settings: Community
    cache: CacheStats
    appeals: tuple[Appeal, ...]
    """Those that wait for a decision, the oldest first."""
    reports: tuple[Report, ...]
    """Those that nobody has dealt with, the oldest first."""
    bans: tuple[Ban, ...]
    audit: tuple[AuditEntry, ...]
    """The latest first."""


class Home(Value):
    """One person's page in one community."""

    role: Role
    usage: Usage
    running: tuple[JobRow, ...]
    """Not ended, the latest first."""
    recent: tuple[JobRow, ...]
    """Ended, the latest first."""
    desk: Desk | None = None


async def home(requester: Requester, place: Place, context: Context) -> Home:
    """Collect it."""
    jobs = await context.jobs.history(requester, place.scope, limit=RECENT_JOBS)
    return Home(
        role=context.role,
        usage=await context.quota.usage(requester, place.scope, limits(context.community)),
        running=tuple(job for job in jobs if not job.state.ended),
        recent=tuple(job for job in jobs if job.state.ended),
        desk=await _desk(requester, place, context) if context.role.reaches(Role.MODERATOR) else None,
    )


async def _desk(requester: Requester, place: Place, context: Context) -> Desk:
    scope = None if context.role.reaches(Role.OPERATOR) else place.scope
    return Desk(
        settings=context.community,
        cache=await context.client.cache_stats(scope),
        appeals=await context.appeals.open(scope),
        reports=await context.appeals.reports(scope),
        bans=await context.moderation.bans(requester, place),
        audit=await context.moderation.audit(requester, place, limit=SHOWN),
    )
