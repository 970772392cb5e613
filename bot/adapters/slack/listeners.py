"""The events that Easel listens to, by slack_bolt.

Each is written down, then acknowledged; its answer is a task of its own.
"""

from __future__ import annotations

import logging
import re

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.web.async_client import AsyncWebClient

from bot.adapters.slack import buttons, forms, incoming
from bot.adapters.slack.desk import Desk
from bot.adapters.slack.incoming import Asked, Payload
from bot.adapters.slack.oauth import Installations
from bot.adapters.slack.workspaces import Workspace, Workspaces

bolt_log = logging.getLogger("bot.adapters.slack.bolt")
"""Bolt's own. It repeats parts of what people sent in its warnings, so errors alone are kept."""


def bolt(
    client: AsyncWebClient,
    workspaces: Workspaces,
    desk: Desk,
    installations: Installations | None = None,
    *,
    batch_limit: int,
) -> AsyncApp:
    """The app. `client` has no token: each workspace has one of its own. A batch may have so many prompts."""
    bolt_log.setLevel(logging.ERROR)
    app = AsyncApp(
        name="easel",
        logger=bolt_log,
        client=client,
        authorize=_authorizer(workspaces),
        # Listeners hand on and return at once; otherwise Bolt looks for the acknowledgement every 10 ms.
        process_before_response=True,
        # Signatures are checked before Bolt sees a request; see gate.py.
        request_verification_enabled=False,
    )
    Listeners(desk, batch_limit).on(app)
    if installations is not None:
        Revocations(installations).on(app)
    return app


WORKSPACE = "easel_workspace"
"""Under this name Bolt's context carries the workspace to the listeners."""


def _authorizer(workspaces: Workspaces):  # type: ignore[no-untyped-def]  # noqa: ANN202
    async def authorize(context: AsyncBoltContext, team_id: str | None, enterprise_id: str | None) -> AuthorizeResult:
        """Find the workspace. People of others are let through as well: the desk refuses them in their language."""
        workspace = await workspaces.find(team_id or "")
        context[WORKSPACE] = workspace
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=workspace.bot if workspace else None,
            bot_id=workspace.bot_id if workspace else None,
        )

    return authorize


def _workspace(context: AsyncBoltContext) -> Workspace | None:
    found = context[WORKSPACE]
    return found if isinstance(found, Workspace) else None


def _team(context: AsyncBoltContext) -> str:
    return context.team_id or ""


class Revocations:
    """What Slack takes back. Bolt's own listeners don't ask when that was, and so would end a later installation."""

    def __init__(self, installations: Installations) -> None:
        self._installations = installations

    def on(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        app.event("app_uninstalled")(self._uninstalled)
        app.event("tokens_revoked")(self._revoked)

    async def _uninstalled(self, body: Payload, context: AsyncBoltContext) -> None:
        await self._installations.ended(_team(context), body["event_time"])

    async def _revoked(self, body: Payload, context: AsyncBoltContext) -> None:
        """Nothing is kept of people's own tokens, so the bot stays when one of those goes."""
        if body["event"].get("tokens", {}).get("bot"):
            await self._installations.ended(_team(context), body["event_time"])


class Listeners:
    """What happens on each kind of event."""

    def __init__(self, desk: Desk, batch_limit: int) -> None:
        self._desk = desk
        self._batch_limit = batch_limit

    def on(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        for command in incoming.SLASH_COMMANDS:
            app.command(command)(self._command)
        app.event("app_mention")(self._message)
        app.event("message")(self._message)
        app.event("app_home_opened")(self._home)
        on_message = re.compile(f"^({incoming.PICTURE_SHORTCUT}|{incoming.REMIX_SHORTCUT})$")
        app.message_shortcut(on_message)(self._message_shortcut)
        app.global_shortcut(incoming.GLOBAL_SHORTCUT)(self._global_shortcut)
        app.view(forms.IMAGINE_VIEW)(self._form)
        app.view(forms.BATCH_VIEW)(self._batch)
        app.view(forms.SETTING_VIEW)(self._setting)
        app.action(re.compile(f"^{buttons.ACTION_ID}_"))(self._button)

    async def _command(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        await self._arrived(incoming.slash_command(body, _team(context)), context, ack)

    async def _message(self, body: Payload, context: AsyncBoltContext) -> None:
        workspace = _workspace(context)
        asked = incoming.message(body, _team(context), workspace.bot if workspace else "")
        if asked is not None:
            await self._arrived(asked, context)  # Bolt acknowledges what its listeners return from

    async def _message_shortcut(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        workspace = _workspace(context)
        asked = incoming.message_shortcut(body, _team(context), workspace.bot if workspace else "")
        await self._arrived(asked, context, ack)

    async def _global_shortcut(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        await self._arrived(incoming.global_shortcut(body, _team(context)), context, ack)

    async def _form(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        asked = forms.imagine_submission(body, _team(context))
        await self._sent(ack, asked, forms.mistakes(asked, forms.language(body)), context)

    async def _batch(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        asked = forms.batch_submission(body, _team(context))
        await self._sent(ack, asked, forms.batch_mistakes(asked, self._batch_limit, forms.language(body)), context)

    async def _sent(self, ack: AsyncAck, asked: Asked, wrong: dict[str, str], context: AsyncBoltContext) -> None:
        """Take a form, or leave it open, with what is wrong under the field that it is about."""
        if wrong:
            await ack(response_action="errors", errors=wrong)
        else:
            await self._arrived(asked, context, ack)

    async def _setting(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        await self._arrived(forms.setting_submission(body, _team(context)), context, ack)

    async def _button(self, ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
        asked = incoming.button(body, _team(context))
        if asked is None:
            await ack()
        else:
            await self._arrived(asked, context, ack)

    async def _arrived(self, asked: Asked, context: AsyncBoltContext, ack: AsyncAck | None = None) -> None:
        """Keep a command safe, acknowledge it, and have it answered."""
        new = await self._desk.keep(asked)
        if ack is not None:
            await ack()
        if new:
            self._desk.take(asked, _workspace(context))

    async def _home(self, body: Payload, context: AsyncBoltContext) -> None:
        workspace, event = _workspace(context), body["event"]
        if workspace is not None and event.get("tab") == "home":
            self._desk.open_home(workspace, event["user"])
