"""Many workspaces: slack_bolt's OAuth flow, with installations and states in the bot's own database.

docs.slack.dev/authentication/installing-with-oauth
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from logging import Logger

from slack_bolt.error import BoltError
from slack_bolt.oauth.async_callback_options import AsyncCallbackOptions, AsyncFailureArgs, AsyncSuccessArgs
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient

from bot.adapters.slack.manifest import REDIRECT_PATH, SCOPES
from bot.adapters.slack.pages import page
from bot.adapters.slack.server import INSTALL_PATH
from bot.clock import Clock
from bot.messages import say
from bot.store.slack import SlackInstallation, SlackTable

STATE_SECONDS = 600
"""How long a person may take over Slack's question."""
library_log = logging.getLogger("bot.adapters.slack.library")


class Installations(AsyncInstallationStore):
    """What slack_bolt asks of a store of installations; one for each workspace, its bot's token alone."""

    def __init__(self, table: SlackTable, changed: Callable[[str], None]) -> None:
        """`changed` is called with the team whose installation came or went."""
        self._table = table
        self._changed = changed

    @property
    def logger(self) -> Logger:
        """Where slack_sdk's own remarks go."""
        return library_log

    async def async_save(self, installation: Installation) -> None:
        """Keep an installation.

        Raises:
            BoltError: it is one for a whole organisation, or without a bot.
        """
        team, token, user = installation.team_id, installation.bot_token, installation.bot_user_id
        if installation.is_enterprise_install or not (team and token and user):
            raise BoltError("not a workspace's installation")
        row = SlackInstallation(
            team=team,
            name=installation.team_name or "",
            enterprise=installation.enterprise_id,
            bot_token=token,
            bot_user=user,
            bot_id=installation.bot_id,
            installer=installation.user_id or "",
            installed=installation.installed_at,
        )
        await self._table.install(row)
        self._changed(team)

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,  # noqa: ARG002  (slack_bolt's signature, here and below)
        team_id: str | None,
        is_enterprise_install: bool | None = False,  # noqa: ARG002
    ) -> Bot | None:
        """The bot of a workspace."""
        row = await self._table.installation(team_id or "")
        if row is None:
            return None
        return Bot(
            team_id=row.team,
            team_name=row.name,
            enterprise_id=row.enterprise,
            bot_token=row.bot_token,
            bot_id=row.bot_id or "",
            bot_user_id=row.bot_user,
            installed_at=row.installed,
        )

    async def ended(self, team: str, at: float) -> None:
        """Forget a workspace and its token, taken back at that moment, in seconds since 1970.

        Slack may tell of it late, and meanwhile the app may have been installed again.
        """
        await self._table.uninstall(team, at=at)
        self._changed(team)


class States(AsyncOAuthStateStore):
    """Installations under way: a random name each, good for ten minutes, and once."""

    def __init__(self, table: SlackTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    @property
    def logger(self) -> Logger:
        """Where slack_sdk's own remarks go."""
        return library_log

    async def async_issue(self, *_: object, **__: object) -> str:
        """Begin one."""
        state, now = secrets.token_urlsafe(32), self._clock.now()
        await self._table.begin(state, now=now, expires=now + STATE_SECONDS)
        return state

    async def async_consume(self, state: str) -> bool:
        """End one; False if there is none."""
        return await self._table.finish(state, now=self._clock.now())


def flow(
    client: AsyncWebClient,
    installations: Installations,
    states: States,
    *,
    client_id: str,
    client_secret: str,
    redirect_uri: str | None,
) -> AsyncOAuthFlow:
    """The flow behind `/slack/install` and `/slack/oauth_redirect`."""
    settings = AsyncOAuthSettings(
        client_id=client_id,
        client_secret=client_secret,
        scopes=SCOPES,
        user_scopes=(),
        redirect_uri=redirect_uri,
        install_path=INSTALL_PATH,
        install_page_rendering_enabled=False,
        redirect_uri_path=REDIRECT_PATH,
        callback_options=AsyncCallbackOptions(success=_installed, failure=_failed),
        installation_store=installations,
        installation_store_bot_only=True,
        state_store=states,
        state_expiration_seconds=STATE_SECONDS,
        logger=library_log,
    )
    return AsyncOAuthFlow(client=client, logger=library_log, settings=settings)


async def _installed(given: AsyncSuccessArgs) -> BoltResponse:
    team = given.installation.team_name or given.installation.team_id
    return page(200, say("slack.installed", team=team), given.settings.state_utils.build_set_cookie_for_deletion())


async def _failed(given: AsyncFailureArgs) -> BoltResponse:
    """Slack's own word on it is left out: it stands in the address, where anybody may have put it."""
    cookie = given.settings.state_utils.build_set_cookie_for_deletion()
    key = "slack.install_declined" if given.reason == "access_denied" else "slack.install_failed"
    status = 400 if given.suggested_status_code == 500 else given.suggested_status_code
    return page(status, say(key), cookie)
