"""The terminal as a chat: command lines come in on standard input, answers go out on standard output."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TextIO

from rich.console import Console as Terminal
from rich.text import Text

from bot import messages
from bot.adapters.base import Answers
from bot.chat import Delivery, Invocation, Place, Reply, Requester, Role, Update
from bot.dispatch import Dispatcher
from bot.errors import DeliveryError
from bot.files import write_whole

PLATFORM = "console"
OPERATOR = Requester(platform=PLATFORM, id="operator", role=Role.OPERATOR)
"""Whoever has a shell on the machine owns the installation."""
HERE = Place(platform=PLATFORM, workspace="local", channel="terminal")
QUIT = "quit"
CHUNK = 65_536
PROGRESS_SECONDS = 1.0
EXAMPLE = "/imagine a red apple"


class Console:
    """The adapter: several jobs at once, each line of an answer headed by its job.

    Commands are carried out in the order of their lines: the next one is read when the last has its first answer.
    Pictures are written to `folder` as `<job>-<n>.png`. After the end of the input, or `/quit`, it waits for the jobs
    that it answers.
    """

    name = PLATFORM

    def __init__(
        self,
        *,
        source: int,
        out: TextIO,
        folder: Path,
        requester: Requester = OPERATOR,
        new_event: Callable[[], str] = lambda: uuid.uuid4().hex,
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        """Talk through these.

        Args:
            source: file descriptor that command lines are read from, in UTF-8.
            out: where answers are written.
            folder: where pictures are saved.
            requester: on whose behalf commands are given.
            new_event: names each command; a name seen before is not carried out again.
            progress_seconds: least time between two lines on a job's progress.
        """
        self._source = source
        self._screen = Screen(out)
        self._folder = folder
        self._requester = requester
        self._new_event = new_event
        self._pace = progress_seconds

    async def run(self, dispatcher: Dispatcher) -> None:
        """Take commands until the input ends, or until cancelled."""
        async with Answers(dispatcher) as answers:
            await answers.resume(self.name, lambda job: self._surface(Path(job.reply_to)))
            self._screen.aside(messages.say("console.welcome", example=EXAMPLE, help="/help", quit=f"/{QUIT}"))
            async for command, text in commands(lines(self._source)):
                if command == QUIT:
                    break
                if command is None:
                    self._screen.line(messages.say("input.not_a_command", example=EXAMPLE))
                else:
                    answered = asyncio.Event()
                    updates = dispatcher.handle(self._invocation(command, text))
                    answers.start(noticing(updates, answered), self._surface(self._folder))
                    await answered.wait()
            if answers:
                self._screen.aside(messages.say("console.waiting"))

    def _invocation(self, command: str, text: str) -> Invocation:
        return Invocation(
            event=self._new_event(),
            command=command,
            requester=self._requester,
            place=HERE,
            text=text,
            reply_to=str(self._folder.absolute()),
        )

    def _surface(self, folder: Path) -> ConsoleSurface:
        return ConsoleSurface(self._screen, folder, self._pace)


class Screen:
    """Standard output; escapes whatever could command the terminal."""

    def __init__(self, out: TextIO) -> None:
        self._terminal = Terminal(file=out, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def aside(self, text: str) -> None:
        """Say something that only a person at a terminal needs."""
        if self._terminal.is_terminal:
            self.line(text)

    def line(self, text: str, job: str | None = None) -> None:
        """Write a text, each of its lines headed by the job if there is one."""
        head = (f"[{job}] ", "bold cyan") if job else ""
        for line in text.split("\n"):
            self._terminal.print(Text.assemble(head, messages.printable(line)))


class ConsoleSurface:
    """Where the answer to one command line goes."""

    def __init__(self, screen: Screen, folder: Path, pace: float) -> None:
        self.pace = pace
        self._screen = screen
        self._folder = folder

    async def show(self, update: Update) -> None:
        """Write an update as lines."""
        if not isinstance(update, Delivery):
            self._screen.line(update.text, None if isinstance(update, Reply) else update.job)

    async def send(self, delivery: Delivery) -> str:
        """Save the pictures, and say where."""
        try:
            await asyncio.to_thread(self._save, delivery)
        except OSError as error:
            raise DeliveryError(
                messages.say("failure.unwritable", folder=self._folder, reason=error.strerror)
            ) from error
        for picture, path in zip(delivery.pictures, self._paths(delivery), strict=True):
            text = "\n".join((messages.say("console.saved", path=path), picture.caption, *picture.notes))
            self._screen.line(text, delivery.job)
        return self._id(delivery)

    async def find(self, delivery: Delivery) -> str | None:
        """A delivery has arrived if every file of it is there as it should be."""
        return self._id(delivery) if await asyncio.to_thread(self._is_saved, delivery) else None

    def _paths(self, delivery: Delivery) -> list[Path]:
        return [self._folder / Path(picture.file_name).name for picture in delivery.pictures]

    def _id(self, delivery: Delivery) -> str:
        return os.pathsep.join(map(str, self._paths(delivery)))

    def _save(self, delivery: Delivery) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for picture, path in zip(delivery.pictures, self._paths(delivery), strict=True):
            write_whole(path, picture.image.data)

    def _is_saved(self, delivery: Delivery) -> bool:
        pairs = zip(delivery.pictures, self._paths(delivery), strict=True)
        return all(path.is_file() and path.read_bytes() == picture.image.data for picture, path in pairs)


async def noticing(updates: AsyncGenerator[Update, None], first: asyncio.Event) -> AsyncGenerator[Update, None]:
    """The same updates; sets `first` with the first one, or at the end if there is none."""
    try:
        async with aclosing(updates):
            async for update in updates:
                first.set()
                yield update
    finally:
        first.set()


async def commands(source: AsyncGenerator[str, None]) -> AsyncGenerator[tuple[str | None, str], None]:
    """Commands and the text after them; None for a line that is none.

    A batch takes the lines that follow, up to an empty line or the next command.
    """
    batch: list[str] | None = None
    async for line in source:
        command, text = split(line)
        if batch is not None:
            if command is None and line.strip():
                batch.append(line)
                continue
            yield "batch", "\n".join(batch)
            batch = None
        if command == "batch":
            batch = [text]
        elif line.strip():
            yield command, text
    if batch is not None:
        yield "batch", "\n".join(batch)


def split(line: str) -> tuple[str | None, str]:
    """`/command text` in its parts; None and the line if it doesn't start with a slash."""
    head, _, text = line.strip().partition(" ")
    return (head[1:].casefold(), text.strip()) if head.startswith("/") else (None, line)


async def lines(source: int) -> AsyncGenerator[str, None]:
    """Lines of a file descriptor, without their ends, read by a thread that nobody has to wait for.

    The thread reads the descriptor itself: a thread that is stuck in `sys.stdin` would keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def tell(line: str | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, line)

    threading.Thread(target=_read, args=(source, tell), name="console-input", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


def _read(source: int, tell: Callable[[str | None], None]) -> None:
    rest = b""
    try:
        while chunk := os.read(source, CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                tell(line.decode("utf-8", "replace").removesuffix("\r"))
        if rest:
            tell(rest.decode("utf-8", "replace"))
        tell(None)
    except OSError:
        # The descriptor was closed, or its terminal is gone: the input has ended.
        tell(None)
    except RuntimeError:
        # The event loop has ended, so nobody reads any more.
        return
