"""What Slack sends, as what somebody asks for; pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bot.adapters.slack.address import Address
from bot.adapters.slack.blocks import ACTIONS, BATCH_VIEW, PROMPTS, VERSION
from bot.adapters.slack.text import plain
from bot.chat import Invocation, Requester

Payload = dict[str, Any]
SLASH_COMMANDS: dict[str, str] = {
    "/imagine": "imagine",
    "/imagine-batch": "batch",
    "/imagine-reroll": "reroll",
    "/imagine-history": "history",
    "/imagine-show": "show",
    "/imagine-cancel": "cancel",
    "/imagine-quota": "quota",
    "/imagine-cache": "cache",
    "/imagine-moderation": "moderation",
    "/imagine-help": "help",
}
"""Slash commands, and the command that each gives."""
SHORTCUT = "easel_picture"
"""The message shortcut that draws a message's text."""
VALUE = re.compile(rf"{VERSION}:({'|'.join(ACTIONS)}):([0-9a-z]{{1,16}}):([0-9]{{1,2}})")
WRITTEN = frozenset({None, "thread_broadcast"})
"""Subtypes of messages that a person wrote; the others tell of joins, edits, deletions."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command before it is known who gives it."""

    event: str
    """Slack's id: a trigger's, an event's or a view's."""
    team: str
    address: Address
    command: str
    text: str = ""
    response_url: str | None = None
    trigger: str | None = None
    """Opens a modal, for 3 seconds."""

    def invocation(self, requester: Requester) -> Invocation:
        """The same for everything below the adapter."""
        return Invocation(
            event=f"{self.team}:{self.event}",
            command=self.command,
            requester=requester,
            place=self.address.place,
            text=self.text,
            reply_to=self.address.model_dump_json(),
        )


def slash_command(body: Payload) -> Asked:
    """A slash command; Slack gives them outside of threads only."""
    return Asked(
        event=body["trigger_id"],
        team=body["team_id"],
        address=Address(team=body["team_id"], channel=body["channel_id"], user=body["user_id"]),
        command=SLASH_COMMANDS[body["command"]],
        text=plain(body.get("text") or ""),
        response_url=body.get("response_url"),
        trigger=body["trigger_id"],
    )


def message(body: Payload, bot: str) -> Asked | None:
    """A mention or a direct message, to be answered in its thread; None for what no person wrote to the bot.

    `/history` and the like are commands, anything else is a prompt.
    """
    event = body["event"]
    if event["type"] == "message" and event.get("channel_type") != "im":
        return None
    if event.get("subtype") not in WRITTEN or "bot_id" in event or not event.get("user"):
        return None
    team = event.get("user_team") or event.get("team") or body["team_id"]
    text = plain(event.get("text") or "", bot).strip()
    command, text = _named(text) if text.startswith("/") else ("imagine", text)
    return Asked(
        event=body["event_id"],
        team=team,
        address=Address(
            team=team, channel=event["channel"], user=event["user"], thread=event.get("thread_ts") or event["ts"]
        ),
        command=command,
        text=text,
    )


def _named(text: str) -> tuple[str, str]:
    head, *rest = text.split(maxsplit=1)
    return SLASH_COMMANDS.get(head, head[1:]), rest[0] if rest else ""


def message_shortcut(body: Payload, bot: str) -> Asked:
    """The shortcut on a message: its text is the prompt, and its thread gets the answer."""
    origin = body["message"]
    return Asked(
        event=body["trigger_id"],
        team=body["user"].get("team_id") or body["team"]["id"],
        address=Address(
            team=body["team"]["id"],
            channel=body["channel"]["id"],
            user=body["user"]["id"],
            thread=origin.get("thread_ts") or origin["ts"],
        ),
        command="imagine",
        text=plain(origin.get("text") or "", bot).strip(),
        response_url=body.get("response_url"),
    )


def batch_submission(body: Payload) -> Asked:
    """The modal of a batch, sent."""
    view = body["view"]
    given = view["state"]["values"][PROMPTS][PROMPTS].get("value") or ""
    return Asked(
        event=f"{BATCH_VIEW}:{view['id']}",
        team=body["user"].get("team_id") or body["team"]["id"],
        address=Address.model_validate_json(view["private_metadata"]).model_copy(update={"user": body["user"]["id"]}),
        command="batch",
        text=given,
    )


def button(body: Payload) -> Asked | None:
    """A button under a picture; None if it is none of ours."""
    pressed = VALUE.fullmatch(str(body["actions"][0].get("value")))
    if pressed is None:
        return None
    origin = body["container"]
    return Asked(
        event=body["trigger_id"],
        team=body["user"].get("team_id") or body["team"]["id"],
        address=Address(
            team=body["team"]["id"],
            channel=origin["channel_id"],
            user=body["user"]["id"],
            thread=body.get("message", {}).get("thread_ts"),
        ),
        command=pressed[1],
        text=f"{pressed[2]} {int(pressed[3]) + 1}" if pressed[1] == "reroll" else pressed[2],
        response_url=body.get("response_url"),
    )
