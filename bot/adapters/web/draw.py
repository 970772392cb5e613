"""The page's first tab: the form, what is being drawn, and the pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from importlib.resources import files
from typing import Any

import gradio as gr

from bot import grammar, messages
from bot.adapters.web import html
from bot.adapters.web.album import figures
from bot.adapters.web.form import Form
from bot.adapters.web.look import data_uri
from bot.adapters.web.people import Visitor
from bot.adapters.web.site import LISTENER, PRESS, Site, once, pressed, visitor_of
from bot.adapters.web.words import Words
from bot.chat import Attachment, Failure
from bot.errors import BadInputError, BotError
from bot.handlers.files import prompts_in
from bot.messages import say
from engine.errors import EngineError
from engine.types import EngineInfo

EARLIER_JOBS = 8
"""Shown below what this page has brought."""
ON_PICTURE = frozenset({"reroll", "vary", "upscale", "send", "delete", "report", "appeal"})
MAKES_PICTURES = frozenset({"imagine", "reroll", "vary", "upscale", "send"})
"""One, which is counted to a guest's address; a picture that is sent again may have to be drawn again."""
DRAW = (files("bot") / "adapters" / "web" / "static" / "draw.js").read_text("utf-8")
WATCH = (files("bot") / "adapters" / "web" / "static" / "watch.js").read_text("utf-8")


class DrawTab:
    """Made within a `gr.Blocks`."""

    def __init__(self, site: Site, info: EngineInfo, words: Words, head: gr.HTML) -> None:
        """Where `head` is the line above all tabs, which says how many pictures are left."""
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
        self._seen = gr.HTML(elem_id="seen", js_on_load=WATCH, apply_default_css=False)
        self.view = [head, self.notices, self.progress, self.pictures, self._seen]
        self._listen()

    def _listen(self) -> None:
        form, fields = self.form, list(self.form.fields.values())
        inputs = [self._event, form.prompt, form.lines, form.file, form.image, *fields]
        gr.on([form.draw.click, form.prompt.submit], self.draw, inputs, self.view, js=DRAW, **LISTENER)
        self._seen.again(self.again, None, self.view, **LISTENER)
        for part in (self.notices, self.progress, self.pictures):
            part.press(self.press, None, self.view, **LISTENER)
            part.fill(self.fill, None, [form.prompt, *fields], **LISTENER)
        mark = list(form.mark.values())
        once_more: dict[str, Any] = {**LISTENER, "trigger_mode": "always_last"}
        gr.on([field.change for field in mark], self.look, mark, form.look, **once_more)
        # Chosen by the person alone: a picture's settings, which `fill` brings, have values of their own.
        form.fields["model"].input(form.for_model, form.fields["model"], form.adapted, **LISTENER)

    async def follow(self, request: gr.Request) -> AsyncGenerator[tuple[Any, ...], None]:
        """What stands on the person's page, until nothing is going on or the page is followed anew."""
        async for values in once(self._follow(visitor_of(request), request.session_hash or "")):
            yield values
        # Gradio repeats an event's last values when it ends; another event may have shown later ones by then.
        yield tuple(gr.skip() for _ in self.view)

    async def _follow(self, visitor: Visitor, page: str) -> AsyncGenerator[tuple[Any, ...], None]:
        desk, locale = self._site.desk(visitor), visitor.requester.locale
        follower = desk.follow(page)
        try:
            head, was_busy = await self._head(visitor), False
            earlier: list[tuple[str, str]] = []
            gallery, version, gone = "", -1, -1
            while True:
                seen, busy = desk.version, desk.busy
                if was_busy and not busy:
                    head = await self._head(visitor)
                was_busy = busy
                while gone != desk.gone:
                    gone, version = desk.gone, -1
                    earlier = await self._earlier(visitor)
                if version != desk.gallery:
                    version = desk.gallery
                    fresh = [figure for job, figure in earlier if job not in desk.cards]
                    gallery = html.pictures(desk, fresh, locale)
                yield (
                    head,
                    html.notices(desk, locale),
                    html.progress(desk, locale),
                    gallery,
                    html.stamped(desk, locale),
                )
                if not busy or not await follower.changed(seen):
                    return
        finally:
            desk.leave(page, follower)

    async def again(self, request: gr.Request) -> AsyncGenerator[tuple[Any, ...], None]:
        """The page was cut off while something changed."""
        async for view in self.follow(request):
            yield view

    async def draw(
        self,
        request: gr.Request,
        event: str,
        prompt: str,
        lines: str,
        file: str | None,
        image: str | None,
        *values: Any,  # noqa: ANN401
    ) -> AsyncGenerator[tuple[Any, ...], None]:
        """The button was pressed."""
        visitor = visitor_of(request)
        desk = self._site.desk(visitor)
        desk.clear_notices()
        try:
            texts = (lines or "", _text_of(self._site.chosen(visitor, file), visitor.requester.locale))
            batch = "\n".join(text for text in texts if text.strip())
            await self._order(visitor, event, prompt or "", batch, self._site.chosen(visitor, image), values)
        except (BotError, EngineError) as error:
            desk.put(Failure(job=None, index=None, input=True, text=error.sentence))
        async for view in self.follow(request):
            yield view

    async def _order(
        self, visitor: Visitor, event: str, prompt: str, lines: str, image: Attachment | None, values: Sequence[Any]
    ) -> None:
        """Read the form as a command."""
        words = prompt.strip()
        if words.startswith("/") and len(words) > 1:
            command, _, text = words[1:].partition(" ")
            await self._give(visitor, command, text.strip(), event=event)
            return
        options = self.form.options(values)
        if not words and lines.strip():
            await self._give(visitor, "batch", self.form.batch(options, lines), event=event)
            return
        attached = (image,) if image else ()
        await self._give(visitor, "imagine", prompt, options=options, attachments=attached, event=event)

    async def _give(self, visitor: Visitor, command: str, text: str, *, event: str, **more: Any) -> None:  # noqa: ANN401
        """Give a command; a guest's pictures are counted to their address before.

        Raises:
            LimitError: these would be too many.
        """
        reserved = self._pictures(command.casefold(), text) if visitor.is_guest else 0
        if reserved:
            limit, locale = self._site.settings.web_guest_pictures, visitor.requester.locale
            await self._site.people.charge_guest(visitor.address, reserved, limit, locale)
        self._site.give(visitor, command, text, event=event, reserved=reserved, **more)

    def _pictures(self, command: str, text: str) -> int:
        """How many pictures a command asks for, if it is one that does."""
        if command != "batch":
            return int(command in MAKES_PICTURES)
        try:
            return len(grammar.parse_batch(text, self._site.settings.batch_limit))
        except BadInputError:
            return 0  # it will be answered with what is wrong

    async def press(self, event: gr.EventData, request: gr.Request) -> AsyncGenerator[tuple[Any, ...], None]:
        """A button under a picture, or of an answer."""
        visitor, said = visitor_of(request), pressed(event)
        desk = self._site.desk(visitor)
        desk.clear_notices()
        command, text = _command(said)
        try:
            await self._give(visitor, command, text, event=said.get("event", ""))
        except BotError as error:
            desk.put(Failure(job=None, index=None, input=True, text=error.sentence))
        async for view in self.follow(request):
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
            async with self._site.turns.turn(f"{visitor.payer} look", locale):
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

    async def _head(self, visitor: Visitor) -> str:
        """The line above the tabs."""
        try:
            gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
            return html.head(visitor.requester, await gallery.usage(), is_guest=visitor.is_guest)
        except BotError:
            return html.head(visitor.requester, None, is_guest=visitor.is_guest)

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


def _text_of(file: Attachment | None, locale: str) -> str:
    """The prompts in a file.

    Raises:
        BadInputError: it is no text, or too long.
    """
    return "\n".join(prompts_in(file, locale)) if file else ""


def _command(said: dict[str, str]) -> tuple[str, str]:
    """A button's command and its text."""
    do = said.get("do", "")
    if do == "command":
        return said.get("command", ""), said.get("text", "")
    if do == "cancel":
        return "cancel", said.get("job", "")
    parts = [said.get("job", ""), said.get("number", ""), said.get("reason", "") if do == "appeal" else ""]
    return (do if do in ON_PICTURE else messages.shorten(do, 20)), " ".join(filter(None, parts))
