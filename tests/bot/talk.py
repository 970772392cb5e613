"""Talking to a dispatcher as an adapter does, for tests of what lies below the adapters."""

from __future__ import annotations

from contextlib import aclosing
from itertools import count
from typing import Any

from bot.app import App
from bot.chat import Attachment, Delivery, Failure, Invocation, Place, Refusal, Reply, Requester, Role, Update
from bot.dispatch import Dispatcher

HERE = Place(platform="test", workspace="w1", channel="c1")
ELSEWHERE = Place(platform="test", workspace="w2", channel="c9")
ADA = Requester(platform="test", id="ada")
BOB = Requester(platform="test", id="bob")
MODERATOR = Requester(platform="test", id="mod", role=Role.MODERATOR)
OPERATOR = Requester(platform="test", id="root", role=Role.OPERATOR)
_events = count()


def invocation(
    command: str,
    text: str = "",
    *,
    who: Requester = ADA,
    place: Place = HERE,
    options: dict[str, Any] | None = None,
    files: tuple[Attachment, ...] = (),
    event: str | None = None,
) -> Invocation:
    """A command as an adapter would pass it on."""
    return Invocation(
        event=event or f"e{next(_events)}",
        command=command,
        requester=who,
        place=place,
        text=text,
        options=options,
        attachments=files,
    )


async def ask(dispatcher: Dispatcher, call: Invocation) -> list[Update]:
    """Everything that a command is answered with; deliveries are taken without complaint."""
    updates: list[Update] = []

    async def take(delivery: Delivery) -> str:
        return delivery.nonce

    async with aclosing(dispatcher.handle(call)) as stream:
        async for update in stream:
            updates.append(update)
            if isinstance(update, Delivery):
                assert await dispatcher.deliver(update, take) is None
    return updates


async def reply(app: App, command: str, text: str = "", **more: Any) -> Reply:
    """The one answer in words."""
    (update,) = await ask(app.dispatcher, invocation(command, text, **more))
    assert isinstance(update, Reply), update
    return update


async def complaint(app: App, command: str, text: str = "", **more: Any) -> Failure | Refusal:
    """The one sentence on what is wrong."""
    (update,) = await ask(app.dispatcher, invocation(command, text, **more))
    assert isinstance(update, Failure | Refusal), update
    return update


async def made(app: App, command: str, text: str = "", **more: Any) -> Delivery:
    """The pictures that a command brings in the end."""
    update = (await ask(app.dispatcher, invocation(command, text, **more)))[-1]
    assert isinstance(update, Delivery), update
    return update


async def drawn(app: App, text: str, *, who: Requester = ADA, place: Place = HERE) -> Delivery:
    """The picture of a prompt."""
    return await made(app, "imagine", text, who=who, place=place)
