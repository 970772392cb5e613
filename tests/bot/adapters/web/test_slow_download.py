"""Answers that take long to arrive: what the application has handed over is not yet with the browser."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from bot.adapters.web.adapter import _Server
from bot.adapters.web.connections import HEAD_SECONDS, Connection

PICTURE = bytes(16_000_000)
"""Far more than the system itself takes off the server's hands."""
PIECE = 65_536
LOOKS = 10
"""By then the system takes no more for a browser that reads nothing."""
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Wait:
    """The loop's time, with what has been skipped of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._real, self._skipped = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: self._real() + self._skipped)

    async def until_the_next_look(self) -> None:
        """Skip as much as a connection waits, and let it look."""
        self._skipped += HEAD_SECONDS
        for _ in range(3):
            await asyncio.sleep(0)


async def picture(scope: Any, receive: Any, send: Send) -> None:
    """Answers everything with one large body."""
    length = (b"content-length", str(len(PICTURE)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": PICTURE})


@asynccontextmanager
async def downloading() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.Transport]]:
    """The browser's end of a connection on which the picture has been asked for, and the server's."""
    server = _Server(uvicorn.Config(picture, http=Connection, lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2], limit=PIECE)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            (connection,) = server.server_state.connections
            yield reader, connection.transport
        finally:
            writer.transport.abort()
            server.should_exit = server.force_exit = True
            await serving


async def test_a_download_lasts_as_long_as_some_of_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    wait, arrived = Wait(monkeypatch), 0
    async with downloading() as (reader, transport):
        while unsent := transport.get_write_buffer_size():
            while transport.get_write_buffer_size() == unsent:
                arrived += len(await reader.readexactly(PIECE))
            await wait.until_the_next_look()
        assert arrived + len(await reader.read(-1)) == len(PICTURE)


async def test_who_takes_no_more_of_an_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Wait(monkeypatch)
    async with downloading() as (reader, transport):
        for _ in range(LOOKS):
            await wait.until_the_next_look()
        assert transport.get_write_buffer_size() == 0, "what nobody takes is let go"
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(len(PICTURE))


async def test_no_part_of_an_answer_waits_for_another_to_be_acknowledged() -> None:
    """A browser acknowledges a lone head after 40 ms, and the body would be kept back for so long."""
    async with downloading() as (_, transport):
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
