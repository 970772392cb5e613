"""What all parts of the page share: who asks, how a command is given, and what is seen of its answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from importlib.resources import files
from typing import Any

import gradio as gr

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.web.desk import Desk, Desks, WebSurface
from bot.adapters.web.gate import VISITOR
from bot.adapters.web.look import Looks
from bot.adapters.web.people import People, Visitor, guest
from bot.chat import Attachment, Failure, Invocation, Refusal, Reply
from bot.dispatch import Dispatcher
from bot.grammar.options import Given
from bot.settings import Settings
from engine.types import EngineInfo

PRESS = (files("bot") / "adapters" / "web" / "static" / "press.js").read_text("utf-8")
MAX_EVENT = 64
LISTENER: dict[str, Any] = {
    "show_progress": "hidden",
    "concurrency_limit": None,
    "trigger_mode": "multiple",
    "api_visibility": "private",
}
"""Every event of the page: several at once, Gradio's own spinner off, no entry in an API."""


class Site:
    """The page's connection to everything below it."""

    def __init__(self, dispatcher: Dispatcher, answers: Answers, people: People, settings: Settings) -> None:
        self.dispatcher = dispatcher
        self.people = people
        self.settings = settings
        self.desks = Desks()
        self.looks = Looks()
        self._answers = answers

    def desk(self, visitor: Visitor) -> Desk:
        """This person's page."""
        return self.desks.of(visitor.requester.key)

    def give(
        self,
        visitor: Visitor,
        command: str,
        text: str = "",
        *,
        options: Mapping[str, Given] | None = None,
        attachments: tuple[Attachment, ...] = (),
        event: str = "",
    ) -> None:
        """Give a command; its answer comes onto the person's page."""
        desk = self.desk(visitor)
        invocation = self._invocation(visitor, command, text, options, attachments, event)
        self._answers.start(desk.following(self.dispatcher.handle(invocation)), WebSurface(desk))

    async def info(self) -> EngineInfo:
        """The engine's models, which the form offers."""
        somebody = guest("", messages.ENGLISH)
        return await (await self.dispatcher.gallery(somebody.requester, somebody.place)).info()

    async def ask(
        self, visitor: Visitor, command: str, text: str = "", *, options: Mapping[str, Given] | None = None
    ) -> Reply | Refusal | Failure:
        """Give a command that makes no picture, and wait for its answer."""
        invocation = self._invocation(visitor, command, text, options, (), "")
        said: Reply | Refusal | Failure = Reply(text="")
        async for update in self.dispatcher.handle(invocation):
            if isinstance(update, Reply | Refusal | Failure):
                said = update
        return said

    def _invocation(
        self,
        visitor: Visitor,
        command: str,
        text: str,
        options: Mapping[str, Given] | None,
        attachments: tuple[Attachment, ...],
        event: str,
    ) -> Invocation:
        named = {name: value for name, value in (options or {}).items() if value is not None}
        # A page's own name for an event must not meet another person's.
        own = f"{visitor.requester.id}/{event[:MAX_EVENT]}" if event else uuid.uuid4().hex
        return Invocation(
            event=own,
            command=command,
            requester=visitor.requester,
            place=visitor.place,
            text=text,
            options=named or None,
            attachments=attachments,
        )


def visitor_of(request: gr.Request) -> Visitor:
    """Who asks; the gate has let nobody through whom it doesn't know."""
    if request.request is None:
        raise LookupError("an event without a request")
    visitor: Visitor = request.request.scope[VISITOR]
    return visitor


def pressed(event: gr.EventData) -> dict[str, str]:
    """What a press says, as text: everything in it comes from a browser."""
    data = event._data if isinstance(event._data, dict) else {}  # noqa: SLF001  (Gradio gives it no other name)
    return {str(name)[:20]: str(value)[:2000] for name, value in list(data.items())[:12]}


async def once(updates: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """The same values; what is equal to the value before in the same place is skipped."""
    last: tuple[str, ...] = ()
    async for values in updates:
        yield tuple(
            gr.skip() if place < len(last) and last[place] == value else value for place, value in enumerate(values)
        )
        last = values
