"""What Slack sends, as what somebody asks for; pure functions.

`team` is the workspace whose installation an event concerns, as slack_bolt reads it from the payload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from bot.adapters.slack import buttons
from bot.adapters.slack.address import Address
from bot.adapters.slack.text import addressed, plain
from bot.chat import Attachment, Invocation, Requester
from bot.errors import BadInputError
from bot.messages import say

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
_ARGUMENT = r"(?:<[^<>]*>|\S)+"
NAMING: dict[str, re.Pattern[str]] = {
    "cache": re.compile(rf"\s*purge-user\s+({_ARGUMENT})", re.IGNORECASE),
    "moderation": re.compile(rf"\s*(?:(?:un)?ban(?:-everywhere)?|grant|revoke)\s+({_ARGUMENT})", re.IGNORECASE),
    "settings": re.compile(r"\s*set\s+(?:channels|log[_-]channel)\s+(.*)", re.IGNORECASE | re.DOTALL),
}
"""Commands that take people or channels, and where in the text after them: what is named there reaches them as ids, and
any other text as what it looks like."""
PICTURE_SHORTCUT, REMIX_SHORTCUT = "easel_picture", "easel_remix"
"""Shortcuts on a message: its text is drawn; its picture is changed."""
ROLES = "roles"
"""The setting that needs them."""
GLOBAL_SHORTCUT = "easel_make"
"""The shortcut that belongs to no message."""
WRITTEN = frozenset({None, "thread_broadcast", "file_share"})
"""Subtypes of messages that a person wrote; the others tell of joins, edits, deletions."""
NOBODY = (None, "", "USLACKBOT")
"""Who writes without being a person; Slackbot, which reminds people of things, is no bot to users.info."""
MAX_FILES = 4
"""Files of one message that are looked at."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that somebody sent, still at Slack."""

    name: str
    media_type: str
    bytes: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """A modal that somebody wants opened; `job` and `number` (from 1) are the picture that is remixed."""

    kind: Literal["imagine", "batch", "remix", "settings"]
    job: str = ""
    number: int = 1


FORMS = {"imagine": Form(kind="imagine"), "batch": Form(kind="batch"), "settings": Form(kind="settings")}
"""Forms that open where a command is given without a word; the last is the App Home's alone."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command before it is known who gives it."""

    event: str
    """Slack's id: a trigger's, an event's or a view's."""
    team: str
    home: str | None = None
    """The team that the payload says the person belongs to."""
    address: Address
    command: str
    text: str = ""
    options: dict[str, str | int | float | bool] | None = None
    files: tuple[File, ...] = ()
    response_url: str | None = None
    trigger: str | None = None
    """Opens a modal, for 3 seconds."""
    form: Form | None = None
    at_home: bool = False
    """It was pressed on the App Home, which changes with it."""

    @property
    def key(self) -> str:
        """The event's name among those of all workspaces."""
        return f"{self.team}:{self.event}"

    def invocation(self, requester: Requester, address: Address, attachments: tuple[Attachment, ...]) -> Invocation:
        """The same for everything below the adapter."""
        return Invocation(
            event=self.key,
            command=self.command,
            requester=requester,
            place=address.place,
            text=self.text,
            options=self.options,
            attachments=attachments,
            reply_to=address.model_dump_json(),
        )


def slash_command(body: Payload, team: str) -> Asked:
    """A slash command; Slack gives them outside of threads only. Without any words, some open a form."""
    command = SLASH_COMMANDS[body["command"]]
    text = _read(command, body.get("text") or "")
    opens = not text.strip() and command in ("imagine", "batch")
    return Asked(
        event=body["trigger_id"],
        team=team,
        home=body.get("team_id"),
        address=Address(team=team, channel=body["channel_id"], user=body["user_id"]),
        command=command,
        text=text,
        response_url=body.get("response_url"),
        trigger=body["trigger_id"],
        form=FORMS[command] if opens else None,
    )


def message(body: Payload, team: str, bot: str) -> Asked | None:
    """A mention or a direct message, to be answered in its thread; None for what no person wrote to the bot.

    `/history` and the like are commands, anything else is a prompt. Slack tells of a mention once more when its message
    is edited, so it is the message that comes once, not the event.
    """
    event = body["event"]
    if event["type"] == "message" and event.get("channel_type") != "im":
        return None
    if event.get("subtype") not in WRITTEN or "bot_id" in event or event.get("user") in NOBODY:
        return None
    command, text = _said(event.get("text") or "", bot)
    return Asked(
        event=f"{event['channel']}/{event['ts']}",
        team=team,
        home=event.get("user_team") or event.get("team"),
        address=Address(
            team=team,
            channel=event["channel"],
            user=event["user"],
            thread=event.get("thread_ts") or event["ts"],
            fresh=not event.get("thread_ts"),
        ),
        command=command,
        text=text,
        files=files(event.get("files") or ()),
    )


def files(given: Any) -> tuple[File, ...]:  # noqa: ANN401  (a list of whatever Slack says)
    """The files of a message or an input that can be fetched."""
    return tuple(
        File(
            name=str(file.get("name") or ""),
            media_type=str(file.get("mimetype") or ""),
            bytes=int(file.get("size") or 0),
            url=str(file["url_private_download"]),
        )
        for file in given[:MAX_FILES]
        if file.get("url_private_download")
    )


def _said(text: str, bot: str) -> tuple[str, str]:
    """The command of a message, and what comes after it."""
    seen = plain(text, bot).strip()
    if not seen.startswith("/"):
        return "imagine", seen
    command, rest = _named(seen)
    if command.casefold() not in NAMING:
        return command, rest
    return command, _read(command.casefold(), _named(addressed(text, bot))[1])


def _read(command: str, text: str) -> str:
    """What comes after a command as the person sees it, with ids where the command takes people or channels."""
    pattern = NAMING.get(command)
    match = pattern.match(text) if pattern else None
    if match is None:
        return plain(text)
    start, end = match.span(1)
    return plain(text[:start]) + plain(text[start:end], ids=True) + plain(text[end:])


def _named(text: str) -> tuple[str, str]:
    head, *rest = text.split(maxsplit=1)
    return SLASH_COMMANDS.get(head, head[1:]), rest[0].strip() if rest else ""


def check_setting(asked: Asked, locale: str) -> None:
    """Refuse what means nothing on Slack, so that nobody could draw any more.

    Raises:
        BadInputError: the setting of roles, of which Slack's people have none, or of age-restricted channels alone.
    """
    words = asked.text.casefold().split()
    if asked.command.casefold() == "settings" and words[:2] == ["set", ROLES]:
        raise BadInputError(say("slack.no_roles", locale))
    if asked.command.casefold() == "settings" and words[:3] == ["set", "nsfw", "only"]:
        raise BadInputError(say("slack.no_nsfw", locale))


def message_shortcut(body: Payload, team: str, bot: str) -> Asked:
    """A shortcut on a message, whose thread gets the answer: its text is the prompt, or its picture is remixed."""
    origin = body["message"]
    remix = body["callback_id"] == REMIX_SHORTCUT
    job, number = buttons.picture_in(origin) if remix else ("", 1)
    return Asked(
        event=body["trigger_id"],
        team=team,
        home=body["user"].get("team_id"),
        address=Address(
            team=team,
            channel=body["channel"]["id"],
            user=body["user"]["id"],
            thread=origin.get("thread_ts") or origin["ts"],
            fresh=not origin.get("thread_ts"),
        ),
        command="imagine",
        text="" if remix else plain(origin.get("text") or "", bot).strip(),
        response_url=body.get("response_url"),
        trigger=body["trigger_id"],
        form=Form(kind="remix", job=job, number=number) if remix else None,
    )


def global_shortcut(body: Payload, team: str) -> Asked:
    """The shortcut that belongs to no message and no channel."""
    return Asked(
        event=body["trigger_id"],
        team=team,
        home=body["user"].get("team_id"),
        address=Address(team=team, channel="", user=body["user"]["id"]),
        command="imagine",
        trigger=body["trigger_id"],
        form=Form(kind="imagine"),
    )


def button(body: Payload, team: str) -> Asked | None:
    """A button under a picture, or of the App Home; None if it is none of ours."""
    pressed = buttons.read(str(body["actions"][0].get("value")))
    if pressed is None:
        return None
    origin = body["container"]
    form: Form | None = None
    if pressed.command == "remix":
        form = Form(kind="remix", job=pressed.job, number=pressed.number)
    elif not pressed.text and pressed.command in FORMS:
        form = FORMS[pressed.command]
    return Asked(
        event=body["trigger_id"],
        team=team,
        home=body["user"].get("team_id"),
        address=Address(
            team=team,
            channel=origin.get("channel_id") or "",
            user=body["user"]["id"],
            thread=(body.get("message") or {}).get("thread_ts"),
        ),
        command=pressed.command,
        text=pressed.text,
        response_url=body.get("response_url"),
        trigger=body["trigger_id"],
        form=form,
        at_home=origin.get("type") == "view",
    )
