"""The page's last tab, for moderators: figures, the cache's pictures, people, appeals and what was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from bot import messages
from bot.adapters.web import charts, html
from bot.adapters.web.people import Visitor
from bot.adapters.web.site import LISTENER, PRESS, Site, pressed, visitor_of
from bot.adapters.web.words import Words
from bot.chat import Reply, Role
from bot.clock import utc_day
from bot.errors import BotError
from bot.handlers.history import moment
from bot.messages import bytes_text, say, shorten
from engine.errors import EngineError

DAYS = 30
CACHE_ACTIONS = frozenset({"delete", "quarantine", "release"})
MODERATION_ACTIONS = frozenset({"unban", "allow", "deny", "dismiss"})
LISTS: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "bans": ("moderation", "bans", ("person", "until", "actor", "reason"), ("unban",)),
    "appeals": (
        "moderation",
        "appeals",
        ("created", "person", "layer", "categories", "prompt", "reason"),
        ("allow", "deny"),
    ),
    "reports": ("moderation", "reports", ("created", "person", "job", "reason"), ("dismiss",)),
    "withheld": ("cache", "quarantine", ("created", "actor", "owner", "prompt"), ("release",)),
    "audit": ("moderation", "audit", ("created", "actor", "action", "target", "detail"), ()),
}
"""Tables: the command and action that give them, their columns, and what can be done with a row."""
HEADINGS = {"actor": "by", "created": "time"}


class ModerationTab:
    """Made within a `gr.Blocks`. Every command is judged below by the person's role; hiding the tab is a courtesy."""

    def __init__(self, site: Site, words: Words, tab: gr.Tab, clock: Callable[[], float] = time.time) -> None:
        self._site = site
        self._clock = clock
        self.said = self._html("moderation-said")
        with gr.Tabs(elem_classes="ez-inner"):
            with gr.Tab(words("tab_figures")):
                self.figures = self._html("figures")
            with gr.Tab(words("tab_pictures")):
                self._search = gr.Textbox(label=words("entries_search"), elem_id="entries-search", max_length=200)
                self.entries = self._html("entries")
            with gr.Tab(words("tab_people")):
                self._person_form(words)
                self.doing = self._html("doing")
                self.bans = self._html("bans")
            with gr.Tab(words("tab_appeals")):
                self.appeals = self._html("appeals")
            with gr.Tab(words("tab_audit")):
                self.audit = self._html("audit")
        self._view = [self.said, self.figures, self.entries, self.doing, self.bans, self.appeals, self.audit]
        tab.select(self.show, self._search, self._view, **LISTENER)
        latest: dict[str, Any] = {**LISTENER, "trigger_mode": "always_last"}
        self._search.change(self.list_entries, self._search, self.entries, **latest)
        for part in (self.entries, self.bans, self.appeals):
            part.press(self.press, self._search, self._view, **LISTENER)
        self.doing.press(self.act, [*self._person, self._search], self._view, **LISTENER)

    def _html(self, name: str) -> gr.HTML:
        return gr.HTML(elem_id=name, js_on_load=PRESS, apply_default_css=False)

    def _person_form(self, words: Words) -> None:
        with gr.Row(elem_classes="ez-person", equal_height=False):
            self._person = [
                gr.Textbox(label=words(name), info=words(info), max_length=longest, elem_id=name)
                for name, info, longest in (
                    ("person", "person_info", 100),
                    ("duration", "duration_info", 5),
                    ("reason", "reason_info", 300),
                )
            ]

    async def show(self, search: str, request: gr.Request) -> list[str]:
        """Everything, as it is now."""
        return await self._shown(visitor_of(request), search, "")

    async def list_entries(self, search: str, request: gr.Request) -> str:
        """The pictures whose prompt holds a word."""
        return await self._entries(visitor_of(request), search)

    async def press(self, search: str, event: gr.EventData, request: gr.Request) -> list[str]:
        """A button in a list: delete, quarantine, lift a ban, decide on an appeal."""
        visitor, said = visitor_of(request), pressed(event)
        do, target = said.get("do", ""), said.get("target", "")
        if do in CACHE_ACTIONS:
            options = {"action": do, "target": target}
            return await self._shown(visitor, search, await self._done(visitor, "cache", options))
        if do in MODERATION_ACTIONS:
            options = {"action": do, "person": target}
            return await self._shown(visitor, search, await self._done(visitor, "moderation", options))
        return await self._shown(visitor, search, "")

    async def act(
        self, person: str, duration: str, reason: str, search: str, event: gr.EventData, request: gr.Request
    ) -> list[str]:
        """A button below the fields for a person: ban them, or remove all their pictures."""
        visitor, do = visitor_of(request), pressed(event).get("do")
        command, options = "cache", {"action": "purge-user", "target": person}
        if do == "ban":
            command, options = "moderation", {"action": "ban", "person": person, "reason": reason}
            options |= {"duration": duration} if duration else {}
        elif do != "purge":
            return await self._shown(visitor, search, "")
        return await self._shown(visitor, search, await self._done(visitor, command, options))

    async def _done(self, visitor: Visitor, command: str, options: dict[str, str]) -> str:
        """Give a command, and its answer as HTML."""
        said = await self._site.ask(visitor, command, options=options)
        kind, role = ("good", "status") if isinstance(said, Reply) else ("wrong", "alert")
        return f'<div class="ez-notice ez-{kind}" role="{role}"><p>{html.esc(said.text)}</p></div>'

    async def _shown(self, visitor: Visitor, search: str, said: str) -> list[str]:
        gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
        if not gallery.role.reaches(Role.MODERATOR):
            refused = say("role.moderator", visitor.requester.locale, command="/moderation")
            return [
                f'<div class="ez-notice ez-wrong" role="alert"><p>{html.esc(refused)}</p></div>',
                *[""] * (len(self._view) - 1),
            ]
        try:
            return [
                said,
                await self._figures(visitor),
                await self._entries(visitor, search),
                _doing(visitor.requester.locale),
                await self._listed(visitor, "bans"),
                await self._listed(visitor, "appeals", "reports"),
                await self._listed(visitor, "audit"),
            ]
        except (BotError, EngineError) as error:
            return [
                f'<div class="ez-notice ez-wrong" role="alert"><p>{html.esc(error.sentence)}</p></div>',
                *[""] * (len(self._view) - 1),
            ]

    def _alone(self, sentence: str) -> list[str]:
        """What went wrong, and nothing beside it."""
        said = f'<div class="ez-notice ez-wrong" role="alert"><p>{html.esc(sentence)}</p></div>'
        return [said, *("" for _ in self._view[1:])]

    async def _figures(self, visitor: Visitor) -> str:
        locale = visitor.requester.locale
        gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
        stats = await self._site.ask(visitor, "cache", options={"action": "stats"})
        data = stats.data if isinstance(stats, Reply) else {}
        overview = await gallery.overview(self._clock() - (DAYS - 1) * 86_400)
        none = say("web.no_figures", locale)

        def panel(title: str, values: dict[str, float], unit: str = "", digits: int = 0) -> str:
            named = say(f"web.{title}", locale)
            return charts.bars(named, values, unit, digits=digits) if values else charts.nothing(named, none)

        known = {day.day: (day.misses, day.hits) for day in overview.days}
        today = self._clock()
        days = [
            (day, known.get(day, (0, 0))) for day in (utc_day(today - ago * 86_400) for ago in reversed(range(DAYS)))
        ]
        names = (say("web.misses", locale), say("web.hits", locale))
        title = say("web.chart_days", locale, days=DAYS)
        size, limit = data.get("bytes", 0), data.get("max_bytes", 0)
        text = say("web.of", locale, part=bytes_text(size), whole=bytes_text(limit))
        return (
            '<div class="ez-panels">'
            + "".join(
                (
                    charts.columns(title, days, names) if known else charts.nothing(title, none),
                    charts.meter(say("web.chart_bytes", locale), size, limit, text),
                    panel("chart_reused", {shorten(row.prompt, 60): row.uses for row in overview.reused}),
                    panel("chart_seconds", _named(lambda stage: f"seconds_{stage}", overview.seconds, locale), " s", 2),
                    panel("chart_refusals", _named(lambda layer: f"refused_{layer}", overview.refusals, locale)),
                )
            )
            + "</div>"
        )

    async def _entries(self, visitor: Visitor, search: str) -> str:
        locale = visitor.requester.locale
        said = await self._site.ask(visitor, "cache", options={"action": "list", "target": search or ""})
        found = said.data.get("entries") if isinstance(said, Reply) else None
        withheld = await self._list(visitor, "withheld")
        if not found:
            return f'<p class="ez-none">{html.esc(said.text)}</p>{withheld}'
        return f'<div class="ez-entries">{"".join(_entry(entry, locale) for entry in found)}</div>{withheld}'

    async def _listed(self, visitor: Visitor, *names: str) -> str:
        """Some of the lists as tables; what a list says of itself where it is empty."""
        return "".join([await self._list(visitor, name) for name in names])

    async def _list(self, visitor: Visitor, name: str) -> str:
        locale = visitor.requester.locale
        command, action, columns, buttons = LISTS[name]
        said = await self._site.ask(visitor, command, options={"action": action})
        rows: list[dict[str, Any]] = next(iter(said.data.values()), []) if isinstance(said, Reply) else []
        if not rows:
            return f'<p class="ez-none">{html.esc(said.text)}</p>'
        cells = (
            [*(_cell(column, row.get(column)) for column in columns), _buttons(buttons, row, locale)] for row in rows
        )
        heads = [say(f"column.{HEADINGS.get(column, column)}", locale) for column in columns]
        return html.table(say(f"web.list_{name}", locale), [*heads, ""], cells)


def _named(key: Callable[[str], str], values: Mapping[str, float], locale: str) -> dict[str, float]:
    """Figures by the names that people read, where there are such."""
    known = messages.catalogue(messages.ENGLISH)
    keys = {name: f"web.{key(name)}" for name in values}
    return {
        say(keys[name], locale) if keys[name] in known else name.replace("_", " "): float(value)
        for name, value in values.items()
    }


def _doing(locale: str) -> str:
    """What can be done with the person whose name stands in the field."""
    sure = {"sure": say("web.sure", locale)}
    buttons = (
        html.button(say("web.ban", locale), "ban"),
        html.button(say("web.purge", locale), "purge", sure, kind="danger"),
    )
    return f'<div class="ez-actions">{"".join(buttons)}</div>'


def _entry(entry: dict[str, Any], locale: str) -> str:
    key = str(entry["key"])
    size = f"{entry['width']}\N{MULTIPLICATION SIGN}{entry['height']}"
    facts = " · ".join((size, bytes_text(entry["bytes"]), say("web.uses", locale, uses=entry["uses"])))
    if entry.get("tier") == "unmarked":
        facts += f" · {say('web.unmarked', locale)}"
    sure = {"target": key, "sure": say("web.sure", locale)}
    buttons = (html.button(say(f"web.{do}", locale), do, sure) for do in ("delete", "quarantine"))
    image = (
        f'<img src="/entries/{key}" alt="{html.esc(entry["prompt"])}" loading="lazy" '
        f'width="{entry["width"]}" height="{entry["height"]}">'
    )
    return (
        f'<figure class="ez-card ez-small">{image}<figcaption>'
        f'<p class="ez-prompt">{html.esc(shorten(entry["prompt"], 120))}</p><p class="ez-left">{html.esc(facts)}</p>'
        f'<p class="ez-left">{html.esc(entry["owner"])} · {key[:12]}</p>'
        f'<div class="ez-actions">{"".join(buttons)}</div></figcaption></figure>'
    )


def _cell(name: str, value: object) -> str:
    if name in ("created", "until"):
        return html.esc(moment(value) if isinstance(value, int | float) else "")
    if isinstance(value, list | tuple):
        return html.esc(messages.listed(map(str, value)))
    return html.esc(shorten("" if value is None else str(value), 200))


def _buttons(names: tuple[str, ...], row: dict[str, Any], locale: str) -> str:
    target = {"target": row.get("id") or row.get("key") or row.get("person", "")}
    return "".join(html.button(say(f"web.{name}", locale), name, target) for name in names)
