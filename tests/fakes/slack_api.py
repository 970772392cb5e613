"""Slack's Web API as a bot meets it: its methods, what they refuse, and the state behind them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import slack_blocks

TEAM, BOT, CHANNEL, DIRECT = "T1", "UBOT", "C1", "D1"
BOT_TOKEN, APP_TOKEN = "xoxb-test", "xapp-test"
Payload = dict[str, Any]


def member(user: str, **record: Any) -> Payload:
    """A record of users.info."""
    return {"id": user, "team_id": TEAM, "name": user.lower(), "locale": "en-US"} | record


@dataclass(kw_only=True)
class File:
    """An uploaded file."""

    id: str
    name: str
    alt: str
    data: bytes = b""
    title: str = ""
    channel: str | None = None
    thread: str | None = None
    share: str = ""
    """Timestamp of the message that shows it."""
    owner: str = ""
    """The bot that uploaded it."""
    looks: int = 0
    """Times that files.info was asked before it stood in its channel."""
    complete: bool = False
    """Its upload has come to an end; before that, there is no such file."""
    shared: bool = False
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one call: an error code, or a rate limit; `after` lets the call take effect first.

    With `until`, nothing goes wrong, but the call takes effect only when that is set, whether or not its caller waits.
    """

    error: str = "ratelimited"
    retry_after: int | None = None
    after: bool = False
    drop: bool = False
    """Files that were not brought to an end are dropped."""
    until: asyncio.Event | None = None


@dataclass
class WebApi:
    """The state, and the methods by their names with `_` for the dots; each answers what Slack would."""

    users: dict[str, Payload] = field(default_factory=lambda: {"UADA": member("UADA")})
    tokens: dict[str, str] = field(default_factory=lambda: {BOT_TOKEN: TEAM})
    """Teams by the bot token that is good there."""
    bots: dict[str, str] = field(default_factory=lambda: {TEAM: BOT})
    """The bot of each team that has installed it."""
    listed: bool = True
    """Whether files.list knows of new files at once."""
    threads: set[str] = field(default_factory=set)
    """Threads that somebody has answered in."""
    codes: dict[str, str] = field(default_factory=dict)
    """What a browser brings back from Slack's question whether to install: a code, for a team."""
    messages: dict[str, Payload] = field(default_factory=dict)
    """Messages that stand in a channel, by timestamp; `user` is the person of one that is ephemeral."""
    shown: list[str] = field(default_factory=list)
    """Every text that somebody has been shown, in order."""
    sent: list[Payload] = field(default_factory=list)
    """Every message as it was sent."""
    files: dict[str, File] = field(default_factory=dict)
    arrived: list[File] = field(default_factory=list)
    views: list[Payload] = field(default_factory=list)
    homes: dict[str, Payload] = field(default_factory=dict)
    """The App Home of each person."""
    calls: list[tuple[str, Payload]] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    """The team of each call, by its token."""
    waiting: Counter[str] = field(default_factory=Counter)
    """Calls of each method that are held by a fault."""
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    invited: set[str] = field(default_factory=lambda: {CHANNEL, DIRECT})
    """Channels that the bot may post in."""
    joined: set[str] = field(default_factory=lambda: {CHANNEL, DIRECT})
    """Those that it is a member of, and so may bring files into."""
    trespasses: list[str] = field(default_factory=list)
    """What no bot may do: live markup, blocks that Slack refuses, buttons before their picture."""
    looks: int = 1
    """Times that files.info is asked before a file stands in its channel."""
    now: float = 0.0
    """Seconds on the simulated clock, for triggers and response_urls."""
    base: str = ""
    triggers: dict[str, float] = field(default_factory=dict)
    tickets: set[str] = field(default_factory=set)
    """Addresses for Socket Mode that were not tried yet."""
    _clock: int = 0

    def called(self, method: str, given: Payload, team: str) -> Payload:
        """The answer to one call."""
        self.calls.append((method, given))
        self.callers.append(team)
        answer: Callable[[Payload], Payload] = getattr(self, f"_{method.replace('.', '_')}")
        return answer(given)

    def fault(self, method: str) -> Fault | None:
        """What goes wrong with the next call of a method."""
        return self.faults[method].popleft() if self.faults[method] else None

    def installed(self, client: str, code: str) -> Payload:
        """The answer of oauth.v2.access, which takes no token."""
        team = self.codes.pop(code, None)
        if team is None or client != "client:secret":
            return {"error": "invalid_code"}
        self.tokens[f"xoxb-{team}"] = team
        self.bots[team] = f"{BOT}{team}"
        return {
            "access_token": f"xoxb-{team}",
            "token_type": "bot",
            "scope": "commands",
            "bot_user_id": self.bots[team],
            "app_id": "A1",
            "team": {"id": team, "name": f"Team {team} <b>"},
            "authed_user": {"id": "UADA"},
        }

    def _auth_test(self, given: Payload) -> Payload:
        team = self.callers[-1]
        return {"team_id": team, "user_id": self.bots[team], "bot_id": "B1", "team": "Test", "user": "easel"}

    def _apps_connections_open(self, given: Payload) -> Payload:
        ticket = f"ticket{self._stamp()}"
        self.tickets.add(ticket)
        return {"url": f"{self.base.replace('http', 'ws')}/socket?ticket={ticket}"}

    def _users_info(self, given: Payload) -> Payload:
        user = self.users.get(given["user"])
        return {"user": user} if user else {"error": "user_not_found"}

    def _conversations_open(self, given: Payload) -> Payload:
        return {"channel": {"id": DIRECT}}

    def _chat_postMessage(self, given: Payload) -> Payload:  # noqa: N802
        self.threads.add(str(given.get("thread_ts")))
        return self._refusal(given) or {"ts": self.stand(given)}

    def _chat_postEphemeral(self, given: Payload) -> Payload:  # noqa: N802
        thread = given.get("thread_ts")
        if thread and thread not in self.threads:
            self.trespasses.append("whispered where nobody sees it")
        return self._refusal(given) or {"message_ts": self.stand(given)}

    def _chat_update(self, given: Payload) -> Payload:
        if given["ts"] not in self.messages:
            return {"error": "message_not_found"}
        return self._refusal(given) or {"ts": self.stand(given, given["ts"])}

    def _chat_delete(self, given: Payload) -> Payload:
        shares = [file for file in self.arrived if file.share == given["ts"] and not file.deleted]
        for file in shares:
            file.deleted = True
        return {} if self.messages.pop(given["ts"], None) or shares else {"error": "message_not_found"}

    def _views_open(self, given: Payload) -> Payload:
        if self.triggers.pop(given["trigger_id"], -1.0) < self.now:
            return {"error": "invalid_trigger_id"}
        self.trespasses += slack_blocks.view_problems(given["view"])
        self.views.append(given["view"])
        self.shown += slack_blocks.words(given["view"]["blocks"])
        return {"view": {"id": f"V{len(self.views)}"}}

    def _views_publish(self, given: Payload) -> Payload:
        self.trespasses += slack_blocks.view_problems(given["view"])
        used = [item["slack_file"]["id"] for item in slack_blocks.walk(given["view"]) if "slack_file" in item]
        if any(self.files[file].deleted for file in used):
            return {"error": "invalid_blocks"}
        self.homes[given["user_id"]] = given["view"]
        return {"view": {"id": "VHOME"}}

    def _files_getUploadURLExternal(self, given: Payload) -> Payload:  # noqa: N802
        alt = given.get("alt_txt") or ""
        if len(alt) > 1000:
            return {"error": "alt_txt_too_large"}
        owner = self.bots[self.callers[-1]]
        file = File(id=f"F{len(self.files) + 1}", name=given["filename"], alt=alt, owner=owner, looks=self.looks)
        self.files[file.id] = file
        return {"file_id": file.id, "upload_url": f"{self.base}/upload/{file.id}"}

    def _files_completeUploadExternal(self, given: Payload) -> Payload:  # noqa: N802
        done = [file for item in given["files"] if (file := self.files.get(item["id"])) and not file.complete]
        if len(done) < len(given["files"]):
            # Dropped, or: "This method can only be called once."
            return {"error": "file_not_found"}
        channel = given.get("channel_id")
        if channel is not None and channel not in self.invited:
            return {"error": "channel_not_found"}
        if channel is not None and channel not in self.joined:
            return {"error": "not_in_channel"}
        share = self._stamp()
        for file, item in zip(done, given["files"], strict=True):
            file.title, file.channel, file.thread, file.share = item["title"], channel, given.get("thread_ts"), share
            file.complete = True
        if channel is not None:
            self.arrived += done
        return {"files": [{"id": file.id, "title": file.title} for file in done]}

    def _files_info(self, given: Payload) -> Payload:
        file = self.files.get(given["file"])
        if file is None or not file.complete or file.deleted:
            return {"error": "file_not_found"}
        for other in self.arrived:
            # Files that were uploaded together stand in one message.
            if other.share == file.share:
                other.shared = other.shared or other.looks <= 0
                other.looks -= 1
        shares = {"public": {file.channel: [{"ts": file.share}]}} if file.shared else {}
        return {"file": {"id": file.id, "shares": shares}}

    def _files_list(self, given: Payload) -> Payload:
        mine = [file for file in self.arrived if file.owner == given["user"]] if self.listed else []
        return {"files": [{"id": file.id, "name": file.name} for file in reversed(mine) if not file.deleted]}

    def _files_delete(self, given: Payload) -> Payload:
        file = self.files[given["file"]]
        if file.deleted:
            return {"error": "file_deleted"}
        file.deleted = True
        return {}

    def _refusal(self, given: Payload) -> Payload | None:
        self.check(given)
        if given["channel"] not in self.invited:
            return {"error": "channel_not_found"}
        return None

    def check(self, given: Payload) -> None:
        """Note what Slack would refuse of a message, or show as something that it isn't."""
        if sum(map(len, slack_blocks.words(given["blocks"]))) > 11_000:
            self.trespasses.append("msg_blocks_too_long")
        found = slack_blocks.problems(given["blocks"]) + slack_blocks.live(given)
        pressable = [item for item in slack_blocks.walk(given["blocks"]) if item.get("type") == "button"]
        under = [button["value"].split(":") for button in pressable if button["value"].startswith("v1:reroll:")]
        names = tuple(f"{job}-{int(index) + 1}." for _, _, job, index in under)
        waiting = [file.name for file in self.arrived if not file.shared and file.name.startswith(names)]
        self.trespasses += found + ([f"buttons before {waiting}"] if waiting else [])

    def stand(self, given: Payload, ts: str | None = None) -> str:
        """Put a message up, or change it; returns its timestamp."""
        ts = ts or self._stamp()
        self.messages[ts] = self.messages.get(ts, {}) | given
        self.sent.append(given)
        self.shown += slack_blocks.words(given["blocks"])
        return ts

    def _stamp(self) -> str:
        self._clock += 1
        return f"{self._clock}.000100"
