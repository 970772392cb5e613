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
from bot.chat import (
    MAX_ATTACHMENT,
    Attachment,
    Delivery,
    Invocation,
    Notice,
    Place,
    Refusal,
    Removed,
    Reply,
    Requester,
    Role,
    Update,
)
from bot.dispatch import Dispatcher
from bot.errors import BadInputError, DeliveryError
from bot.files import write_whole

PLATFORM = "console"
OPERATOR = Requester(platform=PLATFORM, id="operator", role=Role.OPERATOR)
"""Whoever has a shell on the machine owns the installation."""
HERE = Place(platform=PLATFORM, workspace="local", channel="terminal")
QUIT = "quit"
ATTACH = "attach"
CHUNK = 65_536
PROGRESS_SECONDS = 1.0
EXAMPLE = "/imagine a red apple"


class Console:
    """The adapter: several jobs at once, each line of an answer headed by its job.

    Commands are carried out in the order of their lines: the next one is read when the last has its first answer.
    A file goes with a command when `/attach FILE` stands before it.
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
        self._attached: tuple[Attachment, ...] = ()

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
                elif command == ATTACH:
                    await self._attach(text)
                else:
                    answered = asyncio.Event()
                    updates = dispatcher.handle(self._invocation(command, text))
                    answers.start(noticing(updates, answered), self._surface(self._folder))
                    await answered.wait()
            if answers:
                self._screen.aside(messages.say("console.waiting"))

    async def _attach(self, path: str) -> None:
        try:
            file = await asyncio.to_thread(attachment, Path(path))
        except BadInputError as error:
            self._screen.line(error.sentence)
        else:
            self._attached += (file,)
            self._screen.line(messages.say("attachment.attached", name=messages.quote(file.name)))

    def _invocation(self, command: str, text: str) -> Invocation:
        attached, self._attached = self._attached, ()
        return Invocation(
            event=self._new_event(),
            command=command,
            requester=self._requester,
            place=HERE,
            text=text,
            attachments=attached,
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
        """Write an update as lines; what others have as buttons stands there as commands."""
        if isinstance(update, Delivery):
            return
        if isinstance(update, Removed):
            await asyncio.to_thread(_unlink, update)
        self._screen.line(update.text, None if isinstance(update, Reply) else update.job)
        if isinstance(update, Refusal) and update.appealable:
            appeal = f"/appeal {update.job} {(update.index or 0) + 1}"
            self._screen.line(messages.say("console.appeal", command=appeal), update.job)
        elif isinstance(update, Reply) and update.confirm:
            self._screen.line(messages.say("console.confirm", command=f"/{update.confirm}"))
        elif isinstance(update, Notice):
            for button in update.buttons:
                self._screen.line(f"{button.label}: /{button.command} {button.text}", update.job)

    async def send(self, delivery: Delivery) -> str:
        """Save the pictures, and say where."""
        try:
            await asyncio.to_thread(self._save, delivery)
        except OSError as error:
            raise DeliveryError(
                messages.say("failure.unwritable", folder=self._folder, reason=error.strerror)
            ) from error
        for picture, path in zip(delivery.pictures, self._paths(delivery), strict=True):
            saved = messages.say("console.saved_spoiler" if picture.spoiler else "console.saved", path=path)
            text = "\n".join((saved, picture.caption, *picture.notes))
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


def _unlink(update: Removed) -> None:
    """Remove the files of deleted pictures, wherever they were saved; other files stay."""
    for sent in update.messages:
        kept = {f"{update.job}-{index + 1}" for index in sent.left}
        for path in map(Path, sent.message.split(os.pathsep)):
            if sent.place.platform == PLATFORM and path.stem.startswith(update.job) and path.stem not in kept:
                path.unlink(missing_ok=True)


def attachment(path: Path) -> Attachment:
    """A file of this machine as one that came with a command. Blocks.

    Raises:
        BadInputError: it can't be read, or is too large.
    """
    given = messages.quote(path.name)
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(MAX_ATTACHMENT + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (getattr(error, "strerror", None) or "unreadable").lower()
        raise BadInputError(messages.say("attachment.missing", given=given, reason=reason)) from error
    if len(data) > MAX_ATTACHMENT:
        limit = messages.bytes_text(MAX_ATTACHMENT)
        raise BadInputError(messages.say("attachment.too_large", given=given, limit=limit))
    return Attachment(name=path.name, media_type="application/octet-stream", data=data)


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
