"""The page's first tab: the form, what is being drawn, and the pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from importlib.resources import files
from typing import Any

import gradio as gr

from bot import messages
from bot.adapters.web import html
from bot.adapters.web.album import figures
from bot.adapters.web.form import Form
from bot.adapters.web.look import data_uri
from bot.adapters.web.people import Visitor
from bot.adapters.web.site import LISTENER, PRESS, Site, once, pressed, visitor_of
from bot.adapters.web.words import Words
from bot.chat import Attachment, Failure
from bot.errors import BotError, LimitError
from bot.messages import say
from engine.errors import EngineError
from engine.types import EngineInfo

EARLIER_JOBS = 8
"""Shown below what this page has brought."""
ON_PICTURE = frozenset({"reroll", "vary", "upscale", "send", "delete", "report", "appeal"})
MAKES_PICTURES = frozenset({"imagine", "batch", "reroll", "vary", "upscale"})
DRAW = (files("bot") / "adapters" / "web" / "static" / "draw.js").read_text("utf-8")


class DrawTab:
    """Made within a `gr.Blocks`."""

    def __init__(self, site: Site, info: EngineInfo, words: Words) -> None:
        self._site = site
        with gr.Row(elem_classes="ez-columns", equal_height=False):
            with gr.Column(scale=0, min_width=400, elem_classes="ez-form"):
                self._event = gr.Textbox(visible="hidden")
                self.form = Form(info, site.settings, words)
            with gr.Column(scale=1, min_width=320, elem_classes="ez-results"):
                self.notices, self.progress, self.pictures = (
                    gr.HTML(elem_id=name, js_on_load=PRESS, apply_default_css=False)
                    for name in ("notices", "progress", "pictures")
                )
        self._view = [self.notices, self.progress, self.pictures]
        self._listen()

    def _listen(self) -> None:
        form, fields = self.form, list(self.form.fields.values())
        inputs = [self._event, form.prompt, form.lines, form.file, form.image, *fields]
        gr.on([form.draw.click, form.prompt.submit], self.draw, inputs, self._view, js=DRAW, **LISTENER)
        for part in self._view:
            part.press(self.press, None, self._view, **LISTENER)
            part.fill(self.fill, None, [form.prompt, *fields], **LISTENER)
        mark = list(form.mark.values())
        once_more: dict[str, Any] = {**LISTENER, "trigger_mode": "always_last"}
        gr.on([field.change for field in mark], self.look, mark, form.look, **once_more)
        form.fields["model"].change(form.for_model, form.fields["model"], form.adapted, **LISTENER)

    async def follow(self, visitor: Visitor) -> AsyncGenerator[tuple[Any, ...], None]:
        """What stands on the person's page, until nothing is going on any more."""
        async for values in once(self._follow(visitor)):
            yield values

    async def _follow(self, visitor: Visitor) -> AsyncGenerator[tuple[str, str, str], None]:
        desk, locale = self._site.desk(visitor), visitor.requester.locale
        earlier = await self._earlier(visitor)
        seen = 0
        while True:
            seen, busy = desk.version, desk.busy
            fresh = [figure for job, figure in earlier if job not in desk.cards]
            yield html.notices(desk, locale), html.progress(desk, locale), html.pictures(desk, fresh, locale)
            if not busy:
                return
            await desk.changed(seen)

    async def draw(
        self,
        request: gr.Request,
        event: str,
        prompt: str,
        lines: str,
        file: bytes | None,
        image: bytes | None,
        *values: Any,  # noqa: ANN401
    ) -> AsyncGenerator[tuple[Any, ...], None]:
        """The button was pressed."""
        visitor = visitor_of(request)
        desk = self._site.desk(visitor)
        desk.clear_notices()
        try:
            await self._order(visitor, event, prompt or "", _batch_text(lines, file), image, values)
        except (BotError, EngineError) as error:
            desk.put(Failure(job=None, index=None, input=True, text=error.sentence))
        async for view in self.follow(visitor):
            yield view

    async def _order(
        self, visitor: Visitor, event: str, prompt: str, lines: str, image: bytes | None, values: Sequence[Any]
    ) -> None:
        """Read the form as a command."""
        words = prompt.strip()
        if words.startswith("/") and len(words) > 1:
            command, _, text = words[1:].partition(" ")
            await self._charge(visitor, command, text)
            self._site.give(visitor, command, text.strip(), event=event)
            return
        options = self.form.options(values)
        if not words and lines.strip():
            text = self.form.batch(options, lines)
            await self._charge(visitor, "batch", text)
            self._site.give(visitor, "batch", text, event=event)
            return
        await self._charge(visitor, "imagine", "")
        attached = (Attachment(name="image", media_type="image/png", data=image),) if image else ()
        self._site.give(visitor, "imagine", prompt, options=options, attachments=attached, event=event)

    async def _charge(self, visitor: Visitor, command: str, text: str) -> None:
        """Count a guest's pictures to their address.

        Raises:
            LimitError: these would be too many.
        """
        if not visitor.is_guest or command not in MAKES_PICTURES:
            return
        pictures = max(1, len([line for line in text.splitlines() if line.strip()])) if command == "batch" else 1
        limit, locale = self._site.settings.web_guest_pictures, visitor.requester.locale
        await self._site.people.charge_guest(visitor.address, pictures, limit, locale)

    async def press(self, event: gr.EventData, request: gr.Request) -> AsyncGenerator[tuple[Any, ...], None]:
        """A button under a picture, or of an answer."""
        visitor, said = visitor_of(request), pressed(event)
        desk = self._site.desk(visitor)
        desk.clear_notices()
        command, text = _command(said)
        try:
            await self._charge(visitor, command, text)
            self._site.give(visitor, command, text, event=said.get("event", ""))
        except LimitError as error:
            desk.put(Failure(job=None, index=None, input=True, text=error.sentence))
        async for view in self.follow(visitor):
            yield view

    async def fill(self, event: gr.EventData, request: gr.Request) -> list[Any]:
        """Take a picture's seed, or everything of it, into the form."""
        visitor, said = visitor_of(request), pressed(event)
        names = list(self.form.fields)
        if said.get("do") == "seed":
            return [gr.skip(), *(said.get("seed", "") if name == "seed" else gr.skip() for name in names)]
        number = said.get("number", "")
        try:
            found = await self._site.dispatcher.form(
                visitor.requester, visitor.place, said.get("job", ""), int(number) if number.isdecimal() else 1
            )
        except BotError:
            found = None
        return [gr.skip() for _ in (None, *names)] if found is None else self.form.filled(found)

    async def look(self, request: gr.Request, *values: Any) -> str:  # noqa: ANN401  (whatever the fields hold)
        """The last picture with the mark that the form describes, from the cache."""
        visitor = visitor_of(request)
        locale = visitor.requester.locale
        try:
            marked = await self._marked(visitor, values)
        except (BotError, EngineError) as error:
            return f'<p class="ez-hint ez-wrong" role="alert">{html.esc(error.sentence)}</p>'
        if marked is None:
            return f'<p class="ez-hint">{html.esc(say("web.no_look", locale))}</p>'
        alt = html.esc(say("web.look_alt", locale))
        return f'<figure class="ez-look"><img src="{marked}" alt="{alt}"></figure>'

    async def _marked(self, visitor: Visitor, values: Sequence[Any]) -> str | None:
        last = await self._last(visitor)
        if last is None:
            return None
        gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
        image = await gallery.marked(*last, self.form.mark_options(values))
        small = image and await self._site.looks.small(image.key, image.data)
        return data_uri(small) if small else None

    async def _last(self, visitor: Visitor) -> tuple[str, int] | None:
        """Job and number of the person's latest picture."""
        for card in reversed(self._site.desk(visitor).cards.values()):
            if card.shown:
                return card.job, min(card.shown) + 1
        gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
        for job in await gallery.jobs(limit=EARLIER_JOBS):
            for picture in job.pictures:
                if picture.key is not None and picture.deleted is None:
                    return job.id, picture.index + 1
        return None

    async def _earlier(self, visitor: Visitor) -> list[tuple[str, str]]:
        """Jobs of earlier visits, and the figures of their pictures."""
        try:
            gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
            jobs = await gallery.jobs(limit=EARLIER_JOBS)
        except BotError:
            return []
        return [
            (job.id, figure) for job in jobs if job.state.ended for figure in figures(job, visitor.requester.locale)
        ]


def _batch_text(lines: str, file: bytes | None) -> str:
    """The prompts that were typed, then those of the file."""
    read = (file or b"")[:60_000].decode("utf-8", "replace").removeprefix("\ufeff")
    return "\n".join(part for part in (lines or "", read) if part.strip())


def _command(said: dict[str, str]) -> tuple[str, str]:
    """A button's command and its text."""
    do = said.get("do", "")
    if do == "command":
        return said.get("command", ""), said.get("text", "")
    if do == "cancel":
        return "cancel", said.get("job", "")
    parts = [said.get("job", ""), said.get("number", ""), said.get("reason", "") if do == "appeal" else ""]
    return (do if do in ON_PICTURE else messages.shorten(do, 20)), " ".join(filter(None, parts))
