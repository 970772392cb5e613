"""`easel imagine` and `easel batch`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.chat import Attachment, Delivery, Invocation, Picture, Update
from bot.cli import files
from bot.cli.options import Folder, Json, Output, Values, given, with_request_options
from bot.cli.outcome import Outcome
from bot.cli.session import installation, invocation, put, run
from bot.cli.view import View, tell, view
from bot.errors import BadInputError, BotError, DeliveryError
from bot.grammar.changes import SEPARATOR, UPSCALE, VARIATIONS
from bot.grammar.options import lines
from bot.messages import quote, say

if TYPE_CHECKING:
    from bot.app import App

MAX_LIST = 1_000_000
"""Bytes of a list of prompts that are read."""


@with_request_options
def imagine(
    prompt: Annotated[list[str], typer.Argument(metavar="PROMPT", help="What the picture should show.")],
    *,
    output: Output = None,
    image: Annotated[str | None, typer.Option("--image", metavar="FILE", help="An image to start from.")] = None,
    variation: Annotated[
        list[str] | None,
        typer.Option(
            "--variation",
            metavar="SEED:STRENGTH",
            help="Lead the picture towards another seed's, by a strength up to 1; may be given several times.",
        ),
    ] = None,
    upscale: Annotated[bool, typer.Option("--upscale", help="Draw the picture over at twice its size.")] = False,
    as_json: Json = False,
    **options: str | bool | None,
) -> int:
    """Draw one picture.

    Without --output it is written to this folder under a name of its own.
    """
    file = None if output is None else files.checked_file(output)
    folder = Path() if file else files.checked_folder(".")
    attached = () if image is None else (_attachment(image),)
    changes: Values = {UPSCALE: upscale, VARIATIONS: SEPARATOR.join(variation or ())}
    call = invocation("imagine", {"prompt": " ".join(prompt), **given(options), **changes}, attached)
    outcome = run(_draw(call, lambda picture: file or files.free_name(folder, picture.file_name), pictures=1))
    if as_json:
        put(outcome.single())
    else:
        tell(outcome)
    return outcome.code


@with_request_options
def batch(
    prompts: Annotated[str, typer.Argument(metavar="FILE|-", help="One prompt a line; - is standard input.")],
    *,
    output: Folder = ".",
    as_json: Json = False,
    **options: str | bool | None,
) -> int:
    """Draw a picture for each line, with the same options for all."""
    text = _read(prompts)
    folder = files.checked_folder(output)
    shared: Values = {"prompts": text, **given(options)}
    asked = len(lines(text))
    call = invocation("batch", shared)
    outcome = run(_draw(call, lambda picture: files.free_name(folder, picture.file_name), pictures=max(asked, 1)))
    if as_json:
        put(outcome.several())
    else:
        tell(outcome)
    return outcome.code


def _attachment(name: str) -> Attachment:
    from bot.adapters.console import attachment

    return attachment(Path(name))


def _read(given_name: str) -> str:
    """The list of prompts.

    Raises:
        BadInputError: it can't be read, is no text or too long.
    """
    shown = say("cli.standard_input") if given_name == "-" else quote(given_name)
    try:
        data = sys.stdin.buffer.read(MAX_LIST + 1) if given_name == "-" else _head(Path(given_name))
        text = data.decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise BadInputError(say("cli.unreadable", given=shown, reason=reason)) from error
    except UnicodeDecodeError as error:
        raise BadInputError(say("cli.not_text", given=shown)) from error
    if len(data) > MAX_LIST:
        raise BadInputError(say("cli.too_long", given=shown, limit=MAX_LIST))
    return text


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_LIST + 1)


async def _draw(call: Invocation, name: Callable[[Picture], Path], *, pictures: int) -> Outcome:
    """Send one invocation the way a chat does, and write what comes back."""
    from bot.adapters.base import relay

    outcome = Outcome(pictures)
    async with installation() as app:
        try:
            with view() as shown:
                await relay(app.dispatcher.handle(call), Surface(name, outcome, shown), app.dispatcher)
        except asyncio.CancelledError:
            if outcome.job:
                await _cancel(app, outcome.job)
            raise
    return outcome


async def _cancel(app: App, job: str) -> None:
    """Stop the job as `/cancel` would, so that it does not come back after a restart."""
    async for _ in app.dispatcher.handle(invocation("cancel", {"job": job})):
        pass


class Surface:
    """Where the answer to one command goes: the terminal, the collected outcome, files."""

    pace = 0.0

    def __init__(self, name: Callable[[Picture], Path], outcome: Outcome, shown: View) -> None:
        self._name = name
        self._outcome = outcome
        self._shown = shown

    async def show(self, update: Update) -> None:
        """Show an update and note it down."""
        self._outcome.take(update)
        self._shown.show(update)

    async def send(self, delivery: Delivery) -> str:
        """Write every picture; the id of the message is the names of the files."""
        try:
            saved = [(picture, await asyncio.to_thread(self._write, picture)) for picture in delivery.pictures]
        except BotError as error:
            raise DeliveryError(error.sentence, permanent=True) from error
        self._outcome.saved(delivery.job, saved)
        return " ".join(file for _, file in saved)

    async def find(self, delivery: Delivery) -> str | None:  # noqa: ARG002  (the surface's protocol)
        """Nothing was sent before: a command that is killed is not taken up again."""
        return None

    def _write(self, picture: Picture) -> str:
        path = self._name(picture)
        files.write(path, picture.image.data)
        return str(path)
