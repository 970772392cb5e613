"""Bodies of requests on their way here: how long they may be and may take, and how many may be on their way at once.

Whoever sends a body byte by byte, or nothing of what was announced, would otherwise hold a connection for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

from bot import messages
from bot.errors import BadInputError, UserError


class LateError(UserError):
    """The rest of a body didn't come in time."""


class Unfinished:
    """Counts the bodies on their way here, by who sends them."""

    def __init__(self, of_one: int, altogether: int) -> None:
        self._of_one = of_one
        self._altogether = altogether
        self._of: Counter[str] = Counter()

    def allows(self, person: str) -> bool:
        """Whether one more may be on its way."""
        return self._of[person] < self._of_one and self._of.total() < self._altogether

    @contextmanager
    def counted(self, person: str) -> Iterator[Callable[[], None]]:
        """Count one for as long as `with` lasts, or until what is given here is called, because all of it has come."""
        left = 1

        def come() -> None:
            nonlocal left
            self._of[person] -= left
            self._of += Counter()  # forgets who sends none
            left = 0

        self._of[person] += 1
        try:
            yield come
        finally:
            come()


class Bounded:
    """What a request receives: its body within bounds, then whatever else comes, which may take as long as it likes."""

    def __init__(
        self, receive: Receive, *, limit: int, seconds: float | None, come: Callable[[], None], locale: str
    ) -> None:
        """Receive a body.

        Args:
            receive: gives what comes.
            limit: bytes that it may have.
            seconds: that it may take, from when it is first waited for; None is any.
            come: is called once all of it has come.
            locale: of the error's sentence.
        """
        self._receive = receive
        self._left = limit
        self._seconds = seconds
        self._come = come
        self._locale = locale
        self._until: float | None = None
        self._whole = False

    async def __call__(self) -> Message:
        """The next part; a body that is longer than it may be breaks off.

        Raises:
            LateError: it hasn't come in time.
        """
        if self._whole:
            return await self._receive()
        message = await self._part()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return {"type": "http.disconnect"}
        if not message.get("more_body", False):
            self._whole = True
            self._come()
        return message

    async def _part(self) -> Message:
        if self._until is None and self._seconds is not None:
            self._until = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError as error:
            raise LateError(messages.say("web.too_late", self._locale)) from error


async def whole(receive: Receive) -> bytes:
    """All of a body.

    Raises:
        BadInputError: it breaks off.
        LateError: it hasn't come in time.
    """
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadInputError("a request that breaks off")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """This body, then whatever else comes."""
    given = False

    async def replaying() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying
