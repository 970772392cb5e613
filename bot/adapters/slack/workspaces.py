"""The workspaces that the bot is in: one by its token, or all that installed the app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.adapters.slack.limits import PREVIEW_SECONDS, UPDATE_SECONDS, Updates
from bot.adapters.slack.people import People
from bot.adapters.slack.trouble import explained
from bot.adapters.slack.uploads import Client
from bot.adapters.slack.web import Web
from bot.clock import Clock
from bot.store.slack import SlackTable


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """One team, and what talks to it."""

    team: str
    bot: str
    """The bot's id as a user there."""
    bot_id: str | None
    web: Web
    people: People
    updates: Updates
    previews: Updates


class Workspaces(Protocol):
    """Finds the workspace that something concerns."""

    async def find(self, team: str) -> Workspace | None:
        """The workspace; None where the app is not installed.

        Raises:
            DatabaseError: it can't be looked up.
        """


class Maker:
    """Makes workspaces from tokens."""

    def __init__(
        self,
        client: Callable[[str], Client],
        clock: Clock,
        *,
        moderators: frozenset[str] = frozenset(),
        pace: float = UPDATE_SECONDS,
    ) -> None:
        """`client` makes a client with a token; `pace` is the least time between two changes of a message."""
        self._client = client
        self.clock = clock
        self._moderators = moderators
        self._pace = min(pace, UPDATE_SECONDS)

    async def by_token(self, token: str) -> Workspace:
        """The workspace that a token belongs to.

        Raises:
            DeliveryError: Slack can't be reached, or takes the token no more.
        """
        with explained():
            said = await self._client(token).auth_test()
        return self.made(token, str(said["team_id"]), str(said["user_id"]), said.get("bot_id"))

    def made(self, token: str, team: str, bot: str, bot_id: str | None) -> Workspace:
        """A workspace of which all is known."""
        web = Web(self._client(token), self.clock, bot)
        return Workspace(
            team=team,
            bot=bot,
            bot_id=bot_id,
            web=web,
            people=People(web, team, self.clock, self._moderators),
            updates=Updates(self.clock, self._pace),
            previews=Updates(self.clock, PREVIEW_SECONDS),
        )


class OneWorkspace:
    """The workspace of the bot token."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def find(self, team: str) -> Workspace | None:
        """It, if it is meant."""
        return self._workspace if team == self._workspace.team else None


class InstalledWorkspaces:
    """Every workspace with an installation in the database; each is read once."""

    def __init__(self, table: SlackTable, maker: Maker) -> None:
        self._table = table
        self._maker = maker
        self._known: dict[str, Workspace] = {}
        self._changes = 0

    async def find(self, team: str) -> Workspace | None:
        """The workspace, if it installed the app and has not removed it."""
        if team in self._known:
            return self._known[team]
        changes = self._changes
        row = await self._table.installation(team)
        if row is None:
            return None
        found = self._maker.made(row.bot_token, row.team, row.bot_user, row.bot_id)
        # What came or went while it was read is read again the next time.
        return self._known.setdefault(team, found) if changes == self._changes else found

    def forget(self, team: str) -> None:
        """Look an installation up again: it came or went."""
        self._changes += 1
        self._known.pop(team, None)
