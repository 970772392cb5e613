"""Running one command against the installation: settings in, the same invocations as from a chat, a clean stop."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from bot.chat import Attachment, Invocation, Place, Requester, Role
from bot.cli.outcome import Exit
from bot.errors import SettingsError
from bot.messages import say

if TYPE_CHECKING:
    from bot.app import App
    from bot.cli.options import Values
    from bot.settings import Settings

T = TypeVar("T")

PLATFORM = "cli"
OPERATOR = Requester(platform=PLATFORM, id="operator", role=Role.OPERATOR)
"""Whoever has a shell on the machine owns the installation."""
HERE = Place(platform=PLATFORM, workspace="local", channel="terminal")
STOP_SECONDS = 9.0
"""From Ctrl-C or SIGTERM to the end of the process, at the latest."""
LINGER_SECONDS = 0.5
"""What an idle thread may need to end."""


def invocation(command: str, options: Values, attachments: tuple[Attachment, ...] = ()) -> Invocation:
    """A command of the person at the terminal."""
    return Invocation(
        event=uuid.uuid4().hex,
        command=command,
        requester=OPERATOR,
        place=HERE,
        options=options,
        attachments=attachments,
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one command's coroutine to its end; Ctrl-C and SIGTERM cancel it, so that it can stop cleanly.

    A thread that has not ended by the deadline, in the middle of a long step or waiting for a name server, ends with
    the process: all that was accepted is on disk.

    Raises:
        KeyboardInterrupt: it was Ctrl-C.
        asyncio.CancelledError: it was SIGTERM.
    """
    deadline = threading.Timer(STOP_SECONDS, os._exit, (Exit.TERMINATED,))
    deadline.daemon = True
    before = frozenset(threading.enumerate())

    async def cancellable() -> T:
        task = asyncio.ensure_future(work)
        with _cancelled_by_sigterm(asyncio.current_task()):
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                deadline.start()
                task.cancel()
            return await task

    try:
        return asyncio.run(cancellable())
    finally:
        if not _left_behind(before):
            deadline.cancel()


@contextmanager
def _cancelled_by_sigterm(task: asyncio.Task[Any] | None) -> Iterator[None]:
    """SIGTERM cancels the task meanwhile.

    Not by the loop's own `add_signal_handler`: it hears of signals through a file descriptor of which Python has one
    for all, and the end of any other loop that handled signals, such as a library's, takes it away.
    """
    assert task is not None  # noqa: S101  (a coroutine that runs has one)
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(task.cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _left_behind(before: frozenset[threading.Thread]) -> bool:
    """Whether there are threads which were not there before, and for which Python would wait at its end."""
    threads = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in threads:
        thread.join(LINGER_SECONDS)
    return any(thread.is_alive() for thread in threads)


def prepared(*, console_log: bool = False) -> Settings:
    """Read the settings and begin to log.

    Raises:
        SettingsError: a setting is wrong, or the home can't be written.
    """
    from bot import logs, settings

    loaded = settings.load()
    _check_home(loaded.home)
    logs.configure(loaded, console=console_log)
    return loaded


@asynccontextmanager
async def installation(settings: Settings | None = None) -> AsyncIterator[App]:
    """Everything below the adapters, started, and stopped afterwards.

    Raises:
        BotError, EngineError: something can't start.
    """
    from bot import app

    if settings is None:
        settings = await asyncio.to_thread(prepared)
    async with app.running(settings) as running:
        # A command that was killed has nobody left to answer.
        await running.jobs.abandon(PLATFORM)
        yield running


def _check_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise SettingsError(say("cli.home", home=home, reason=reason)) from error


def put(value: object) -> None:
    """Print one JSON object on standard output, in ASCII: it reads the same in every locale."""
    typer.echo(json.dumps(value, default=str))
