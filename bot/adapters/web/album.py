"""The page's second tab: everything that the person asked for, to look through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from bot import messages
from bot.adapters.web import html
from bot.adapters.web.site import LISTENER, PRESS, Site, pressed, visitor_of
from bot.adapters.web.words import Words
from bot.handlers.history import moment, reasons
from bot.messages import say
from bot.store.rows import JobRow

PAGE = 20
MOST = 200
"""Jobs that are looked through."""


class AlbumTab:
    """Made within a `gr.Blocks`."""

    def __init__(self, site: Site, words: Words, tab: gr.Tab) -> None:
        self._site = site
        self._search = gr.Textbox(
            label=words("history_search"),
            placeholder=words("history_placeholder"),
            elem_id="history-search",
            max_length=200,
        )
        self.jobs = gr.HTML(elem_id="history", js_on_load=PRESS, apply_default_css=False)
        tab.select(self.show, self._search, self.jobs, **LISTENER)
        latest: dict[str, Any] = {**LISTENER, "trigger_mode": "always_last"}
        self._search.change(self.show, self._search, self.jobs, **latest)
        self.jobs.press(self.more, self._search, self.jobs, **LISTENER)

    async def show(self, search: str, request: gr.Request) -> str:
        """The latest jobs."""
        return await self._shown(search, PAGE, request)

    async def more(self, search: str, event: gr.EventData, request: gr.Request) -> str:
        """More of them."""
        count = pressed(event).get("count", "")
        return await self._shown(search, int(count) if count.isdecimal() else PAGE, request)

    async def _shown(self, search: str, count: int, request: gr.Request) -> str:
        visitor = visitor_of(request)
        locale = visitor.requester.locale
        gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
        wanted = (search or "").strip().casefold()
        limit = MOST if wanted else min(count, MOST) + 1
        jobs = [job for job in await gallery.jobs(limit=limit) if _holds(job, wanted)]
        rows = "".join(_row(job, locale) for job in jobs[:count])
        if not rows:
            return f'<p class="ez-none">{html.esc(say("web.history_none" if wanted else "history.empty", locale))}</p>'
        more = html.button(say("web.more", locale), "more", {"count": count + PAGE}) if len(jobs) > count else ""
        return f'<div class="ez-jobs">{rows}</div>{more}'


def _holds(job: JobRow, wanted: str) -> bool:
    return not wanted or wanted == job.id or any(wanted in request.prompt.casefold() for request in job.asked)


def _row(job: JobRow, locale: str) -> str:
    state = say(f"state.{job.state}", locale)
    head = (
        f'<header><h2 class="ez-prompt">{html.esc(messages.shorten(job.asked[0].prompt, 160))}{_others(job)}</h2>'
        f'<p class="ez-left"><span class="ez-state ez-state-{job.state}">{html.esc(state)}</span> '
        f"{html.esc(moment(job.created))} · {html.esc(job.id)}</p></header>"
    )
    why = "".join(f'<p class="ez-hint">{html.esc(reason)}</p>' for reason in reasons(job, locale))
    thumbs = "".join(_thumbs(job, locale))
    return f'<article class="ez-card ez-entry">{head}{why}<div class="ez-strip">{thumbs}</div></article>'


def _others(job: JobRow) -> str:
    """How many more pictures there are than the one whose prompt is shown."""
    return f' <span class="ez-left">+{len(job.asked) - 1}</span>' if len(job.asked) > 1 else ""


def _thumbs(job: JobRow, locale: str) -> Iterator[str]:
    for picture in job.pictures:
        if picture.key is None or picture.deleted is not None:
            continue
        number, request = picture.index + 1, job.requests[picture.index]
        alt = html.esc(messages.alt_text(request, locale))
        width, height = request.output_size
        covered = ' class="ez-spoiler"' if request.spoiler else ""
        yield (
            f'<a{covered} href="{html.address(job.id, number, "file")}" target="_blank" rel="noopener">'
            f'<img loading="lazy" '
            f'src="{html.address(job.id, number, "small")}" alt="{alt}" width="{width}" height="{height}"></a>'
        )


def figures(job: JobRow, locale: str) -> Iterator[str]:
    """The pictures of an ended job as they stand in the gallery."""
    for picture in job.pictures:
        if picture.key is None or picture.deleted is not None:
            continue
        request = job.requests[picture.index]
        if picture.seed is not None:
            request = request.model_copy(update={"seed": picture.seed})
        facts = html.badges(picture.cached, picture.seconds, locale)
        alt = messages.alt_text(request, locale)
        yield html.drawn(
            job.id, picture.index + 1, request, alt=alt, facts=facts, spoiler=request.spoiler, locale=locale
        )
