"""Who somebody is in the workspace, asked of Slack at the time of asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.adapters.slack.address import PLATFORM, person_id
from bot.adapters.slack.trouble import SlackError
from bot.adapters.slack.web import Web
from bot.chat import Requester, Role
from bot.clock import Clock
from bot.messages import ENGLISH

REMEMBERED_SECONDS = 60.0
"""How long an answer of users.info is used; so long, too, a former admin stays a moderator."""
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What Slack said of somebody, and until when it counts."""

    until: float
    requester: Requester | None = None
    teams: frozenset[str] = frozenset()
    locale: str = ENGLISH


class People:
    """Members of one workspace; admins and owners are its moderators, and those that the operator lists."""

    def __init__(self, web: Web, team: str, clock: Clock, moderators: frozenset[str] = frozenset()) -> None:
        self._web = web
        self._team = team
        self._clock = clock
        self._moderators = moderators
        self._known: dict[str, _Known] = {}

    async def requester(self, user: str, home: str | None = None) -> Requester | None:
        """The person; None for whoever is no member: people of Slack Connect, other teams, bots.

        `home` is the team that an event says they belong to: another one than Slack's record says is nobody's.

        Raises:
            SlackError: Slack doesn't say.
        """
        known = self._known.get(user)
        if known is None or self._clock.monotonic() >= known.until:
            known = await self._asked(user)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[user] = known
        # In an organisation, an event may name that instead of the team.
        foreign = home is not None and home.startswith("T") and home not in known.teams
        return None if foreign else known.requester

    def locale(self, user: str) -> str:
        """The language of somebody who was asked for, member or not."""
        known = self._known.get(user)
        return known.locale if known else ENGLISH

    async def _asked(self, user: str) -> _Known:
        until = self._clock.monotonic() + REMEMBERED_SECONDS
        try:
            return self._read(await self._web.person(user), until)
        except SlackError as error:
            if error.code not in UNSEEN:
                raise
            return _Known(until=until)

    def _read(self, user: dict[str, Any], until: float) -> _Known:
        teams = frozenset((str(user.get("team_id")), *((user.get("enterprise_user") or {}).get("teams") or ())))
        member = self._team in teams and not any(user.get(name) is True for name in OUTSIDE)
        locale = str(user.get("locale") or ENGLISH)
        return _Known(
            until=until, requester=self._requester(user, locale) if member else None, teams=teams, locale=locale
        )

    def _requester(self, user: dict[str, Any], locale: str) -> Requester:
        identity = person_id(self._team, str(user["id"]))
        leads = identity in self._moderators or any(user.get(name) is True for name in LEADING)
        return Requester(
            platform=PLATFORM,
            id=identity,
            name=str(user.get("real_name") or user.get("name") or ""),
            role=Role.MODERATOR if leads else Role.MEMBER,
            locale=locale,
        )


OUTSIDE = ("is_stranger", "is_bot", "deleted")
UNSEEN = ("user_not_found", "user_not_visible")
"""What Slack answers about people whom the bot doesn't see: they are no members."""
LEADING = ("is_admin", "is_owner", "is_primary_owner")
