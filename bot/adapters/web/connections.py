"""Connections of browsers: how many there may be, and how long one may stay without asking for anything.

The page shares its process, and so its open files, with the chats: a stranger who opens connections and says nothing
must not take them all. Uvicorn closes a connection that rests after an answer, but not one that never asks.
"""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 512
"""At once; a browser has up to six, one of them for the events of each page where something goes on. A process has at
least 1,024 files on most systems."""
HEAD_SECONDS = 15.0
"""Until a connection has asked for something, from one answer to the next question, and between two looks at whether
any more of an answer has been taken."""


class Connection(H11Protocol):
    """Gives itself up where there are too many others, and where nobody asks for anything."""

    _patience: asyncio.TimerHandle | None = None
    _unsent = 0
    """Bytes of answers that the browser had not taken when the wait began."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request; the rest of an answer never waits for its first part to be acknowledged."""
        super().connection_made(transport)
        # asyncio does so by itself, but not for a listener of `socket.create_server`: that one names no protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._unsent = self.transport.get_write_buffer_size()
        self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Hang up, unless an answer is being made or is on its way: what is still to be sent would be lost."""
        if self.cycle is not None and not self.cycle.response_complete:
            return
        if 0 < self.transport.get_write_buffer_size() < self._unsent:
            self._wait()
        else:
            self.transport.abort()
