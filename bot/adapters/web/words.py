"""The page's sentences, in every language that is offered: Gradio picks by the browser's language."""

from __future__ import annotations

import gradio as gr

from bot import messages
from bot.grammar import OPTIONS

SECTION = "web."


class Words:
    """Gives Gradio's components texts that the browser translates."""

    def __init__(self) -> None:
        self.i18n = gr.I18n(**{locale: _texts(locale) for locale in messages.offered()})

    def __call__(self, name: str) -> gr.I18nData:
        """The text `web.name` in the browser's language."""
        if f"{SECTION}{name}" not in messages.catalogue(messages.ENGLISH):
            raise KeyError(name)
        return self.i18n(f"easel_{name}")

    def help(self, option: str) -> gr.I18nData:
        """What an option does."""
        return self.i18n(f"easel_help_{option}")

    def plain(self, name: str, locale: str = messages.ENGLISH) -> str:
        """The text in one language, where Gradio doesn't translate by itself."""
        return messages.say(f"{SECTION}{name}", locale)


def _texts(locale: str) -> dict[str, str]:
    lines = messages.catalogue(locale)
    named = {f"easel_{key.removeprefix(SECTION)}": line for key, line in lines.items() if key.startswith(SECTION)}
    return named | {f"easel_help_{option}": messages.option_help(option, locale) for option in OPTIONS}
