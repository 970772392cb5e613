"""The page as a whole: its head, its tabs, and what happens when it is opened."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from bot.adapters.web.album import AlbumTab
from bot.adapters.web.checks import CheckTab
from bot.adapters.web.draw import DrawTab
from bot.adapters.web.moderation import ModerationTab
from bot.adapters.web.people import Visitor
from bot.adapters.web.site import LISTENER, Site, visitor_of
from bot.adapters.web.words import Words
from bot.chat import Role
from bot.errors import BotError
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
                draw = DrawTab(site, info, words, head)
            with gr.Tab(words("tab_history"), id="history", elem_id="panel-history") as history:
                AlbumTab(site, words, history)
            with gr.Tab(words("tab_verify"), id="verify", elem_id="panel-verify"):
                CheckTab(site, words)
            with gr.Tab(
                words("tab_moderation"), id="moderation", elem_id="panel-moderation", visible=False
            ) as moderators:
                ModerationTab(site, words, moderators)

        async def opened(request: gr.Request) -> AsyncGenerator[tuple[Any, ...], None]:
            visitor = visitor_of(request)
            tab = gr.update(visible=await _is_moderator(site, visitor))
            first = (tab, *draw.form.in_language(visitor.requester.locale))
            async for view in draw.follow(request):
                yield (*first, *view)
                first = tuple(gr.skip() for _ in first)

        blocks.load(opened, None, [moderators, *draw.form.worded, *draw.view], **LISTENER)
    _settle(blocks)
    return blocks


def forgotten(blocks: gr.Blocks, page: str) -> None:
    """Let go of the answers that wait for a page which nobody reads."""
    queue = blocks._queue  # noqa: SLF001  (Gradio does so for a stream that broke, and there alone)
    waiting = queue.pending_messages_per_session.get(page)
    while waiting is not None and not waiting.empty():
        waiting.get_nowait()
    queue.pending_event_ids_session.pop(page, None)


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


async def _is_moderator(site: Site, visitor: Visitor) -> bool:
    try:
        gallery = await site.dispatcher.gallery(visitor.requester, visitor.place)
    except BotError:
        return False
    return gallery.role.reaches(Role.MODERATOR)
