"""What all parts of the page share: who asks, how a command is given, and what is seen of its answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from importlib.resources import files
from typing import Any

import gradio as gr

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.web.desk import Desk, Desks, WebSurface
from bot.adapters.web.gate import VISITOR
from bot.adapters.web.look import Looks
from bot.adapters.web.pace import Turns
from bot.adapters.web.people import PLATFORM, People, Visitor, guest
from bot.adapters.web.uploads import Uploads
from bot.chat import MAX_ATTACHMENT, Attachment, Failure, Invocation, Refusal, Reply, Requester, Update
from bot.dispatch import Dispatcher
from bot.errors import BadInputError, BotError
from bot.grammar.options import Given
from bot.messages import say
from bot.settings import Settings
from engine.types import EngineInfo

PRESS = (files("bot") / "adapters" / "web" / "static" / "press.js").read_text("utf-8")
MAX_EVENT = 64
SLOW_AT_ONCE = 2
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
        self.uploads = Uploads()
        self.turns = Turns(SLOW_AT_ONCE)
        """For what takes a processor's second and costs nothing: reading a picture's marks, another mark on one."""
        self._answers = answers

    def desk(self, visitor: Visitor) -> Desk:
        """This person's page."""
        return self.desks.of(visitor.requester.key, visitor.since)

    def give(  # noqa: PLR0913  (all that a command has)
        self,
        visitor: Visitor,
        command: str,
        text: str = "",
        *,
        options: Mapping[str, Given] | None = None,
        attachments: tuple[Attachment, ...] = (),
        event: str = "",
        reserved: int = 0,
    ) -> None:
        """Give a command; its answer comes onto the person's page.

        `reserved` pictures were charged to a guest's address for it.
        """
        invocation = self._invocation(visitor, command, text, options, attachments, event)
        updates = self.dispatcher.handle(invocation)
        if reserved:
            updates = self._refunding(updates, visitor, reserved)
        self._answer(visitor.requester, command, updates)

    async def resume(self) -> None:
        """Go on with what an earlier process left unfinished."""
        for job, updates in await self.dispatcher.recovered(PLATFORM):
            self._answer(job.requester, job.command, updates)

    def _answer(self, person: Requester, command: str, updates: AsyncGenerator[Update, None]) -> None:
        desk = self.desks.of(person.key)
        self._answers.start(desk.answering(command, updates), WebSurface(desk))

    async def _refunding(
        self, updates: AsyncGenerator[Update, None], visitor: Visitor, reserved: int
    ) -> AsyncGenerator[Update, None]:
        """The same updates; if no job came of them, what a guest's address was charged is given back before."""
        begun = False
        async with aclosing(updates):
            async for update in updates:
                if not begun and isinstance(update, Reply | Refusal | Failure) and getattr(update, "job", None) is None:
                    await self._refund(visitor, reserved)
                begun = True
                yield update
        if not begun:
            await self._refund(visitor, reserved)

    async def _refund(self, visitor: Visitor, pictures: int) -> None:
        with suppress(BotError):
            await self.people.refund_guest(visitor.address, pictures)

    def stamp(self, visitor: Visitor) -> str:
        """Names what stands on this person's page now."""
        return self.desks.stamp(visitor.requester.key)

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

    def chosen(self, visitor: Visitor, name: str | None) -> Attachment | None:
        """The file that a person chose in a field; None if they chose none.

        Raises:
            BadInputError: it is too large, or was chosen too long ago.
        """
        if not name:
            return None
        label, data = self._upload(visitor, name)
        if len(data) > MAX_ATTACHMENT:
            values = {"given": messages.quote(label), "limit": messages.bytes_text(MAX_ATTACHMENT)}
            raise BadInputError(say("attachment.too_large", visitor.requester.locale, **values))
        return Attachment(name=label, media_type="application/octet-stream", data=data)

    def content(self, visitor: Visitor, name: str) -> bytes:
        """What a chosen file holds.

        Raises:
            BadInputError: it was chosen too long ago.
        """
        return self._upload(visitor, name)[1]

    def _upload(self, visitor: Visitor, name: str) -> tuple[str, bytes]:
        found = self.uploads.get(visitor.requester.key, name)
        if found is None:
            raise BadInputError(say("web.file_gone", visitor.requester.locale))
        return found

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
