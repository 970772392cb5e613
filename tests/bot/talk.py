"""Talking to a dispatcher as an adapter does, for tests of what lies below the adapters."""

from __future__ import annotations

from contextlib import aclosing
from itertools import count
from typing import Any

from bot.chat import Delivery, Invocation, Place, Requester, Role, Update
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
    event: str | None = None,
) -> Invocation:
    """A command as an adapter would pass it on."""
    return Invocation(
        event=event or f"e{next(_events)}", command=command, requester=who, place=place, text=text, options=options
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
