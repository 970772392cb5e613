"""The page's third tab: drop a picture, and read what it tells of its making."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from pydantic import BaseModel

from bot import messages
from bot.adapters.web import html
from bot.adapters.web.site import LISTENER, Site, visitor_of
from bot.adapters.web.uploads import file_field
from bot.adapters.web.words import Words
from bot.errors import BotError
from bot.messages import say
from engine.errors import EngineError
from engine.types import Verification

TOLD_APART = frozenset({"made_here", "intact", "parameters"})


class CheckTab:
    """Made within a `gr.Blocks`."""

    def __init__(self, site: Site, words: Words) -> None:
        self._site = site
        with gr.Row(elem_classes="ez-columns"):
            with gr.Column(scale=0, min_width=400):
                self._file = file_field(
                    label=words("verify_file"),
                    height=180,
                    elem_id="verify-file",
                    file_types=[".png", ".jpg", ".jpeg", ".webp"],
                )
                gr.HTML(f'<p class="ez-hint">{html.esc(words.plain("verify_hint"))}</p>', apply_default_css=False)
            with gr.Column(scale=1, min_width=320):
                self.found = gr.HTML(elem_id="verification", apply_default_css=False)
        self._file.change(self.check, self._file, self.found, **LISTENER)

    async def check(self, file: str | None, request: gr.Request) -> str:
        """Read the file."""
        if file is None:
            return ""
        visitor = visitor_of(request)
        locale = visitor.requester.locale
        try:
            data = self._site.content(visitor, file)
            gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
            async with self._site.turns.turn(f"{visitor.payer} verify", locale):
                found = await gallery.verify(data)
        except (BotError, EngineError) as error:
            return f'<div class="ez-notice ez-wrong" role="alert"><p>{html.esc(error.sentence)}</p></div>'
        return verification(found, locale)


def verification(found: Verification, locale: str) -> str:
    """What was found in a file, the answer first."""
    if not found.intact:
        kind, title = "wrong", say("verify.damaged", locale)
    elif found.made_here is None:
        kind, title = "calm", say("verify.intact", locale)
    else:
        kind, title = (
            ("good", say("verify.made_here", locale))
            if found.made_here
            else ("calm", say("verify.not_made_here", locale))
        )
    rows = "".join(_marks(found, locale)) if found.intact else ""
    parameters = ""
    if found.parameters:
        parameters = f"<h3>{html.esc(say('web.parameters', locale))}</h3>{html.listed(found.parameters)}"
    head = f'<h2 class="ez-{kind}" role="status">{html.esc(title)}</h2>'
    return f'<div class="ez-card ez-verdict">{head}{rows}{parameters}</div>'


def _marks(found: Verification, locale: str) -> Iterator[str]:
    """Each kind of mark that a file may carry, whether it is there or not."""
    known = messages.catalogue(messages.ENGLISH)
    for name in type(found).model_fields:
        if name in TOLD_APART:
            continue
        label = say(f"web.verify_{name}", locale) if f"web.verify_{name}" in known else name.replace("_", " ")
        value = _told(getattr(found, name), locale)
        missing = "" if value else " ez-missing"
        text = value or html.esc(say("web.verify_none", locale))
        yield f'<div class="ez-mark{missing}"><h3>{html.esc(label)}</h3><div>{text}</div></div>'


def _told(value: Any, locale: str) -> str:  # noqa: ANN401  (whatever a kind of mark says)
    if value in (None, "", False) or value == {}:
        return ""
    if value is True:
        return html.esc(say("web.yes", locale))
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return html.listed({str(name): messages.shorten(str(part), 300) for name, part in value.items()})
    return html.esc(messages.shorten(str(value), 300))
