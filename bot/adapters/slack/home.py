"""The App Home (docs.slack.dev/surfaces/app-home): a person's own page; pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from bot import messages
from bot.adapters.slack import blocks, buttons
from bot.adapters.slack.address import Posted
from bot.adapters.slack.text import plain_text, shown
from bot.chat import Button
from bot.handlers.communities import readable
from bot.handlers.home import Desk, Home
from bot.messages import say
from bot.store.rows import AuditEntry, Ban, JobRow, PictureRow, PictureState

Block = dict[str, Any]
MAX_BLOCKS = 100
RECENT_PICTURES = 10
LISTED, LINES = 8, 15
"""Appeals, reports and bans of each kind; lines of the audit log."""
PROMPT = 200
"""Characters of a prompt that are shown."""
DATE = "{date_short_pretty}, {time}"
"""As Slack writes it for whoever reads it, in their own time zone."""


def view(page: Home, locale: str, *, thumbnails: bool = True) -> Block:
    """The page; `thumbnails` False leaves the pictures out, for when Slack has lost one."""
    made = [*_mine(page, locale, thumbnails=thumbnails), *(_desk(page.desk, locale) if page.desk else ())]
    return {"type": "home", "blocks": made[:MAX_BLOCKS]}


def message(text: str) -> Block:
    """A page that says why there is none."""
    return {"type": "home", "blocks": blocks.answer(text)}


def _mine(page: Home, locale: str, *, thumbnails: bool) -> Iterator[Block]:
    yield _title("home.pictures", locale)
    yield blocks.context(_quota(page, locale))
    yield buttons.row([_giving(name, locale, number) for number, name in enumerate(("make", "batch", "help"))])
    for job in page.running:
        yield from _running(job, locale)
    pictures = [(job, picture.index) for job in page.recent for picture in job.pictures if _stands(picture)]
    if not pictures:
        yield blocks.section(say("home.none", locale))
    for job, index in pictures[:RECENT_PICTURES]:
        yield from _picture(job, index, locale, thumbnail=thumbnails)


def _stands(picture: PictureRow) -> bool:
    return picture.state is PictureState.RENDERED and picture.deleted is None


def _quota(page: Home, locale: str) -> str:
    usage = page.usage
    if usage.limit is None:
        return say("quota.unlimited", locale, used=usage.used)
    again = messages.duration(usage.resets_in, locale)
    return say("quota.today", locale, used=usage.used, limit=usage.limit, duration=again)


COMMANDS = {"make": "imagine", "batch": "batch", "help": "help", "settings": "settings"}


def _giving(name: str, locale: str, number: int) -> Block:
    label = say(f"slack_button.{name}", locale)
    return buttons.giving(Button(label=label, command=COMMANDS[name], text=""), number)


def _running(job: JobRow, locale: str) -> Iterator[Block]:
    yield blocks.section(_prompt(job, 0))
    yield _dated(job, locale)
    yield buttons.row([buttons.about("cancel", job.id, 0, locale)])


def _picture(job: JobRow, index: int, locale: str, *, thumbnail: bool) -> Iterator[Block]:
    text = blocks.section(_prompt(job, index))
    file = _file(job, index) if thumbnail else None
    if file is not None:
        image = {"type": "image", "slack_file": {"id": file}, "alt_text": messages.alt_text(job.asked[index], locale)}
        text |= {"accessory": image}
    yield text
    yield _dated(job, locale)
    yield buttons.row([buttons.about(name, job.id, index, locale) for name in AT_HOME])


AT_HOME = ("reroll", "remix", "show", "delete")


def _file(job: JobRow, index: int) -> str | None:
    """The file that shows a picture."""
    for delivery in job.deliveries:
        try:
            posted = Posted.model_validate_json(delivery.message_id or "")
        except ValidationError:
            continue
        if index in posted.files:
            return posted.files[index]
    return None


def _prompt(job: JobRow, index: int) -> str:
    return messages.shorten(job.asked[index].prompt, PROMPT) or "…"


def _dated(job: JobRow, locale: str) -> Block:
    """The job's state, and when it was asked for."""
    state = say(f"state.{job.state}", locale)
    return _line([{"type": "text", "text": f"{job.id} · {state} · "}, _moment(job.created)])


def _moment(seconds: float) -> Block:
    fallback = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"type": "date", "timestamp": int(seconds), "format": DATE, "fallback": fallback}


def _line(parts: list[Block]) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": parts}]}


def _title(key: str, locale: str) -> Block:
    return {"type": "header", "text": plain_text(say(key, locale))}


def _desk(desk: Desk, locale: str) -> Iterator[Block]:
    """What moderators look after."""
    yield {"type": "divider"}
    yield _title("home.desk", locale)
    stats = desk.cache
    values = {"entries": stats.entries, "size": messages.bytes_text(stats.bytes), "hits": stats.hits}
    yield blocks.context(say("home.cache", locale, **values, misses=stats.misses, quarantined=stats.quarantined))
    yield blocks.context(_set(desk, locale))
    shown = Button(label=say("slack_button.all_settings", locale), command="settings", text="show")
    yield buttons.row([_giving("settings", locale, 0), buttons.giving(shown, 1)], "settings")
    if desk.appeals:
        yield _title("home.appeals", locale)
    for appeal in desk.appeals[:LISTED]:
        line = f"{appeal.person}: {messages.shorten(appeal.prompt, PROMPT)} ({messages.listed(appeal.categories)})"
        yield from _pending(appeal.id, line, ("allow", "deny"), locale)
    if desk.reports:
        yield _title("home.reports", locale)
    for report in desk.reports[:LISTED]:
        line = f"{report.job} {report.index + 1}: {messages.shorten(report.reason, PROMPT)}"
        yield from _pending(report.id, line, ("dismiss",), locale)
    yield from _bans(desk.bans, locale)
    if desk.audit:
        yield _title("home.audit", locale)
    yield from map(_entry, desk.audit[:LINES])


def _set(desk: Desk, locale: str) -> str:
    """Settings that the community has changed."""
    changed = desk.settings.model_dump(mode="json", exclude_defaults=True)
    shown = {name: messages.shorten(readable(value, locale), PROMPT) for name, value in changed.items()}
    listed = " · ".join(f"{name}: {value}" for name, value in shown.items())
    return say("home.settings", locale, settings=listed) if listed else say("home.no_settings", locale)


def _pending(given: str, line: str, actions: tuple[str, ...], locale: str) -> Iterator[Block]:
    """Something that waits for a moderator's word."""
    yield blocks.section(shown(line))
    pressed = (
        Button(label=say(f"slack_button.{a}", locale), command="moderation", text=f"{a} {given}") for a in actions
    )
    yield buttons.row(
        [buttons.giving(button, number) for number, button in enumerate(pressed)], f"{actions[0]}_{given}"
    )


def _bans(bans: Sequence[Ban], locale: str) -> Iterator[Block]:
    if bans:
        yield _title("home.bans", locale)
    for number, ban in enumerate(bans[:LISTED]):
        text = " · ".join(part for part in (ban.person, messages.shorten(ban.reason, PROMPT)) if part)
        lift = Button(label=say("slack_button.unban", locale), command="moderation", text=f"unban {ban.person}")
        yield blocks.section(shown(text) or "…") | {"accessory": buttons.giving(lift, number)}


def _entry(entry: AuditEntry) -> Block:
    words = messages.shorten(f"{entry.actor} {entry.action} {entry.target} {entry.detail}", PROMPT)
    return _line([_moment(entry.created), {"type": "text", "text": f" · {words}"}])
