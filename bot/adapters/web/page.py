"""The page as a whole: its head, its tabs, and what happens when it is opened."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from bot.adapters.web import html
from bot.adapters.web.album import AlbumTab
from bot.adapters.web.checks import CheckTab
from bot.adapters.web.draw import DrawTab
from bot.adapters.web.moderation import ModerationTab
from bot.adapters.web.people import Visitor
from bot.adapters.web.site import LISTENER, Site, visitor_of
from bot.adapters.web.words import Words
from bot.chat import Role
from bot.errors import BotError
from bot.messages import say
from engine.errors import EngineError
from engine.types import EngineInfo

QUEUE: dict[str, float | None] = {
    "max_size": 200,
    "max_thread_count": 400,
    "default_concurrency_limit": None,
    "ANAYLTICS_CACHE_FREQUENCY": 1_000_000_000,
    "sleep_when_free": 0.005,
    "progress_update_sleep_when_free": 0.2,
}
"""Events that wait (more are told to try again) and are answered at once (an open page of somebody who draws holds
one), events between two reports, seconds between two looks for work."""
SESSIONS = 300
"""Pages whose fields Gradio remembers, some 150 kB each; one that is forgotten begins again with the form's own."""


def build(site: Site, info: EngineInfo, words: Words) -> gr.Blocks:
    """Make the page. Slow (about a second): not for the event loop."""
    with gr.Blocks(title="Easel", analytics_enabled=False, fill_width=True) as blocks:
        head = gr.HTML(elem_id="head", js_on_load="", apply_default_css=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab(words("tab_draw"), id="draw", elem_id="panel-draw"):
                draw = DrawTab(site, info, words)
            with gr.Tab(words("tab_history"), id="history", elem_id="panel-history") as history:
                AlbumTab(site, words, history)
            with gr.Tab(words("tab_verify"), id="verify", elem_id="panel-verify"):
                CheckTab(site, words)
            with gr.Tab(
                words("tab_moderation"), id="moderation", elem_id="panel-moderation", visible=False
            ) as moderators:
                ModerationTab(site, words, moderators).listen()

        async def opened(request: gr.Request) -> AsyncGenerator[tuple[Any, ...], None]:
            visitor = visitor_of(request)
            top, role = await _head(site, visitor)
            first: tuple[Any, ...] = (top, gr.update(visible=role.reaches(Role.MODERATOR)))
            async for view in draw.follow(request):
                yield (*first, *view)
                first = (gr.skip(), gr.skip())

        blocks.load(opened, None, [head, moderators, *draw.view], **LISTENER)
    _settle(blocks)
    return blocks


def _settle(blocks: gr.Blocks) -> None:
    """Set the queue's bounds; keep it from reading all past events with pandas after each one, and from not resting.

    `Blocks.queue` would set the bounds, too, but builds the whole application once more.

    Raises:
        AttributeError: this version of Gradio has no such knob any more.
    """
    blocks.api_open = False
    blocks.state_session_capacity = SESSIONS
    queue = blocks._queue  # noqa: SLF001  (the knobs are environment variables otherwise, or none)
    for name, value in QUEUE.items():
        getattr(queue, name)
        setattr(queue, name, value)


async def _head(site: Site, visitor: Visitor) -> tuple[str, Role]:
    """The line above the tabs, and the person's role."""
    locale = visitor.requester.locale
    try:
        home = await site.dispatcher.home(visitor.requester, visitor.place)
        usage, role = home.usage, home.role
        left = say("web.used", locale, used=usage.used, limit=usage.limit) if usage.limit else ""
    except (BotError, EngineError):
        role, left = visitor.requester.role, ""
    name = say("web.guest", locale) if visitor.is_guest else visitor.requester.name
    leave = say("web.sign_in" if visitor.is_guest else "web.sign_out", locale)
    if visitor.is_guest:
        way = f'<a class="ez-button ez-plain" href="/sign-in">{html.esc(leave)}</a>'
    else:
        pressed = f'<button class="ez-button ez-plain">{html.esc(leave)}</button>'
        way = f'<form method="post" action="/sign-out">{pressed}</form>'
    top = (
        f'<header class="ez-head"><h1>Easel</h1><p class="ez-left">{html.esc(left)}</p>'
        f'<div class="ez-person-name"><span>{html.esc(name)}</span>{way}</div></header>'
    )
    return top, role
