"""What the person at the terminal sees while a job is drawn: a bar with steps and time to go, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self

import typer

from bot.chat import Failure, Queued, Refusal, Stopped, Update, Working
from bot.cli.outcome import Outcome
from bot.messages import bytes_text, duration, printable, say
from engine.types import Stage

Report = Callable[[str, int, int], None]
"""Called with a file, and with bytes done and bytes in all."""


class View(Protocol):
    """Shows updates; used as a context."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def show(self, update: Update) -> None:
        """Show one update."""


class Plain:
    """Only what went wrong, a sentence a line: for pipes and files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, update: Update) -> None:
        """Say what was refused or failed."""
        if isinstance(update, Refusal | Failure | Stopped):
            typer.echo(update.text, err=True)


class Bar(Plain):
    """A progress bar that disappears when it is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[eta]}", markup=False),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self.progress.add_task("", total=None, count="", eta="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, update: Update) -> None:
        """Move the bar, or say what was refused or failed above it."""
        if isinstance(update, Queued):
            self.progress.update(self._task, description=update.text)
        elif isinstance(update, Working):
            step = update.progress
            drawing = say("cli.drawing") if step.stage is Stage.DRAWING else update.text
            eta = "" if update.eta_seconds is None else duration(update.eta_seconds)
            self.progress.update(
                self._task,
                description=drawing,
                completed=step.step,
                total=step.steps or None,
                count=f"{step.step}/{step.steps}" if step.steps else "",
                eta=eta,
            )
        else:
            super().show(update)


def view() -> View:
    """A bar on a terminal, else none."""
    return Bar() if sys.stderr.isatty() else Plain()


def tell(outcome: Outcome) -> None:
    """Print where the pictures are and how they were made, on standard output."""
    for picture, file in outcome.files:
        typer.echo(say("console.saved", path=printable(file)))
        for line in (picture.caption, *picture.notes):
            typer.echo(f"  {line}")


@contextmanager
def fetching() -> Iterator[Report]:
    """Shows a download: a bar with bytes and time to go on a terminal, else a line for each file."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda file, done, total: progress.update(task, description=file, completed=done, total=total)


def _lines() -> Report:
    told: set[str] = set()

    def report(file: str, done: int, total: int) -> None:
        if file and file not in told:
            told.add(file)
            typer.echo(f"{file} ({bytes_text(done)} / {bytes_text(total)})", err=True)

    return report
