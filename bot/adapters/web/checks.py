"""The page's third tab: drop a picture, and read what it tells of its making."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from bot import messages
from bot.adapters.web import html
from bot.adapters.web.site import LISTENER, Site, visitor_of
from bot.adapters.web.uploads import file_field
from bot.adapters.web.words import Words
from bot.errors import BotError
from bot.handlers import verify as told
from bot.messages import say
from engine.errors import EngineError
from engine.types import CredentialState, Verification


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
                gr.HTML(f'<p class="ez-hint">{words("verify_hint")}</p>', apply_default_css=False)
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
    marks = "".join(_marks(found, locale)) if found.intact else ""
    parameters = ""
    if found.parameters:
        values = {
            name[:100]: value if isinstance(value, bool) else messages.shorten(str(value), 300)
            for name, value in found.parameters.items()
            if name != "watermark"  # told above
        }
        title_of_them = html.esc(say("web.parameters", locale))
        parameters = f'<div class="ez-mark"><h3>{title_of_them}</h3>{html.listed(values, locale)}</div>'
    head = f'<h2 class="ez-{kind}" role="status">{html.esc(title)}</h2>'
    return f'<div class="ez-card ez-verdict">{head}{marks}{parameters}</div>'


def _marks(found: Verification, locale: str) -> Iterator[str]:
    """Each kind of mark that a file may carry, and what is said of it."""
    credentials = list(told.credentials(found, locale))
    has_credentials = found.credentials is not None and found.credentials.state is not CredentialState.ABSENT
    for name, is_there, sentences in (
        ("visible_mark", found.visible_mark, [told.visible(found, locale)]),
        ("credentials", has_credentials, credentials),
        ("invisible_mark", found.invisible_mark, [told.invisible(found, locale)]),
    ):
        missing = "" if is_there else " ez-missing"
        text = "".join(f"<p>{html.esc(sentence)}</p>" for sentence in sentences)
        if text:
            yield f'<div class="ez-mark{missing}"><h3>{html.esc(say(f"web.verify_{name}", locale))}</h3>{text}</div>'
