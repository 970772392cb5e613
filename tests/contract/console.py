"""The console adapter's harness: pipes for the terminal, a folder for the pictures."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

from bot.adapters.console import Console
from bot.chat import Requester
from bot.dispatch import Dispatcher

PATIENCE = 10.0
"""Seconds; only a test that fails waits so long."""


class Transcript(io.StringIO):
    """Standard output that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def write(self, text: str) -> int:
        self.news.set()
        return super().write(text)

    async def until(self, seen: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not seen():
                self.news.clear()
                await self.news.wait()


class ConsoleHarness:
    """A person at a terminal that is a pipe."""

    member = "console:ada"
    hostile: tuple[str, ...] = ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b[31m", "\x9b31m", "\x07")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = Transcript()
        self.saved: list[str] = []
        self._input: int | None = None
        self._numbers = count()
        self._events: list[str] = []

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Run the console on a new pair of pipes; leaving cancels it, as SIGTERM does."""
        source, self._input = os.pipe()
        console = Console(
            source=source,
            out=self.out,
            folder=self.folder,
            requester=Requester(platform="console", id="ada"),
            new_event=lambda: self._events.pop(0),
            progress_seconds=0.0,
        )
        task = asyncio.create_task(console.run(dispatcher))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            os.close(self._input)

    async def say(self, command: str, text: str = "", event: str | None = None) -> None:
        """Type a line; a batch gets the empty line that ends it."""
        self._events.append(event or f"event-{next(self._numbers)}")
        assert self._input is not None
        end = "\n\n" if command == "batch" else "\n"
        os.write(self._input, f"/{command} {text}{end}".encode("utf-8", "surrogatepass"))

    async def until(self, text: str, times: int = 1) -> None:
        """Wait for a text."""
        await self.out.until(lambda: self.transcript().count(text) >= times)

    async def until_pictures(self, count: int) -> None:
        """Wait for files to be announced."""
        await self.out.until(lambda: len(self.pictures()) >= count)

    def transcript(self) -> str:
        """What stands on the terminal."""
        return self.out.getvalue()

    def pictures(self) -> list[bytes]:
        """The files that were announced; one announced twice is there twice."""
        return [path.read_bytes() for path in self._announced()]

    def standing(self) -> list[bytes]:
        """Those of them that are still there."""
        return [path.read_bytes() for path in self._announced() if path.exists()]

    def shown_to_all(self) -> list[bytes]:
        """A terminal has one person before it."""
        return []

    async def until_gone(self, count: int) -> None:
        """Wait for files to be removed, which the sentence on it follows."""
        await self.out.until(lambda: len(self.standing()) <= count)

    def _announced(self) -> list[Path]:
        lines = [line for line in self.transcript().splitlines() if " Saved " in line]
        return [Path(line.partition(" Saved ")[2].removesuffix(" (spoiler)")) for line in lines]
