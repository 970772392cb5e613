"""A line between a browser and a server that can be cut, or fall silent as one does when a computer sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Line:
    """Passes bytes on in both directions, on this machine alone."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut = False
        self._heard = asyncio.Event()
        self._heard.set()
        self.address = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        """The line, for as long as the body runs."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection, and take none until it is mended."""
        self._cut = True
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Take connections again."""
        self._cut = False

    def silence(self) -> None:
        """Pass nothing on over the connections there are, which stay open; new ones work."""
        self._heard.clear()
        self._heard = asyncio.Event()
        self._heard.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._served(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            if not self._cut:
                await self._joined(reader, writer)
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            self._ends.add(far_writer)
            heard = self._heard
            try:
                await asyncio.gather(_pass(reader, far_writer, heard), _pass(far_reader, writer, heard))
            finally:
                self._ends.discard(far_writer)
                far_writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event) -> None:
    while data := await reader.read(65_536):
        await heard.wait()
        writer.write(data)
        await writer.drain()
    writer.close()
