"""Who somebody is in the workspace, asked of Slack at the time of asking."""

from __future__ import annotations

from typing import Any

from bot.adapters.slack.address import PLATFORM
from bot.adapters.slack.web import Web
from bot.chat import Requester, Role
from bot.clock import Clock

REMEMBERED_SECONDS = 60.0
"""How long an answer of users.info is used; so long, too, a former admin stays a moderator."""
MAX_REMEMBERED = 10_000


class People:
    """Members of one workspace; admins and owners are its moderators."""

    def __init__(self, web: Web, team: str, clock: Clock) -> None:
        self._web = web
        self._team = team
        self._clock = clock
        self._known: dict[str, tuple[float, Requester | None]] = {}

    async def requester(self, user: str) -> Requester | None:
        """The person; None for whoever is no member: people of Slack Connect, other teams, bots.

        Raises:
            DeliveryError: Slack doesn't say.
        """
        now = self._clock.monotonic()
        until, known = self._known.get(user, (0.0, None))
        if now < until:
            return known
        found = self._read(await self._web.person(user))
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[user] = (now + REMEMBERED_SECONDS, found)
        return found

    def _read(self, user: dict[str, Any]) -> Requester | None:
        if not is_member(user, self._team):
            return None
        leads = any(user.get(name) is True for name in ("is_admin", "is_owner", "is_primary_owner"))
        return Requester(
            platform=PLATFORM,
            id=str(user["id"]),
            name=str(user.get("real_name") or user.get("name") or ""),
            role=Role.MODERATOR if leads else Role.MEMBER,
            locale=str(user.get("locale") or "en"),
        )


def is_member(user: dict[str, Any], team: str) -> bool:
    """Whether Slack's record of a person is one of a living member of this team."""
    grid = (user.get("enterprise_user") or {}).get("teams") or ()
    ours = user.get("team_id") == team or team in grid
    return ours and not any(user.get(name) is True for name in ("is_stranger", "is_bot", "deleted"))
