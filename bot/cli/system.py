"""`easel chat`, `serve`, `fetch`, `verify` and `doctor`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.files import checked_folder
from bot.cli.options import Json
from bot.cli.outcome import Exit
from bot.cli.session import installation, prepared, put, run
from bot.cli.view import fetching
from bot.errors import BadInputError, BotError, SettingsError
from bot.messages import listed, quote, say
from engine.errors import EngineError

MAX_FILE = 100_000_000
"""Bytes of a picture that `verify` reads."""


def chat(
    *,
    save: Annotated[str, typer.Option("--save", metavar="DIR", help="Folder for the pictures; made if missing.")] = ".",
) -> int:
    """Talk to Easel as in a chat, here on the terminal.

    Commands come in on standard input, answers go out on standard output.
    """
    return run(_chat(checked_folder(save)))


def serve(
    *,
    slack_http: Annotated[
        bool, typer.Option("--slack-http", help="Take Slack's events by HTTP, behind a proxy, instead of Socket Mode.")
    ] = False,
) -> int:
    """Serve every chat that is set up, until Ctrl-C or SIGTERM."""
    try:
        return run(_serve(slack_http=slack_http))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return Exit.DELIVERED


def fetch(
    model: Annotated[str, typer.Argument(metavar="MODEL|detoxify", help="A known model, or owner/name on the hub.")],
) -> int:
    """Download a model, or the toxicity model.

    It comes at its pinned revision and is verified; what an earlier try brought is kept.
    """
    from bot.clients import local

    settings = prepared()
    with fetching() as report:
        folder = local.fetch(model, settings, report)
    typer.echo(say("cli.fetched", model=model, folder=folder))
    return Exit.DELIVERED


def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A picture.", show_default=False)],
    *,
    as_json: Json = False,
) -> int:
    """Say what a picture file tells of its making."""
    return run(_verify(_content(file), as_json=as_json))


def doctor(*, as_json: Json = False) -> int:
    """Say what is wrong here, and how to mend it.

    Looks at settings, home folder, disk, database, weights and tokens.
    """
    return run(_doctor(as_json=as_json))


async def _doctor(*, as_json: bool) -> int:
    from bot.cli.doctor import Check, examine

    checks: list[Check] = []
    async for check in examine():
        checks.append(check)
        if not as_json:
            typer.echo(f"{say(f'doctor.{check.state}'):<6} {check.text}")
            if check.mend:
                typer.echo(f"       {check.mend}")
    unwell = any(check.state == "wrong" for check in checks)
    if as_json:
        put({"ok": not unwell, "checks": [vars(check) for check in checks]})
    return Exit.UNWELL if unwell else Exit.DELIVERED


async def _verify(data: bytes, *, as_json: bool) -> int:
    from bot.handlers.verify import told

    async with installation() as running:
        found = await running.client.verify(data)
    if as_json:
        put(found.model_dump(mode="json"))
    else:
        for line in told(found):
            typer.echo(line)
    return Exit.DELIVERED if found.intact else Exit.UNWELL


def _content(file: str) -> bytes:
    """The bytes of a file.

    Raises:
        BadInputError: it can't be read or is too large for a picture.
    """
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_FILE + 1)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise BadInputError(say("cli.unreadable", given=quote(file), reason=reason)) from error
    if len(data) > MAX_FILE:
        raise BadInputError(say("cli.too_long", given=quote(file), limit=MAX_FILE))
    return data


async def _chat(folder: Path) -> int:
    from bot.adapters.console import Console

    console = Console(source=sys.stdin.fileno(), out=sys.stdout, folder=folder)
    async with installation() as running:
        await console.run(running.dispatcher)
    return Exit.DELIVERED


async def _serve(*, slack_http: bool) -> int:
    from bot import app

    settings = prepared(console_log=True)
    if slack_http:
        settings = settings.model_copy(update={"slack_http": True})
    adapters = app.adapters(settings)
    if not adapters:
        raise SettingsError(say("cli.nothing_to_serve"))
    try:
        async with installation(settings) as running, asyncio.TaskGroup() as tasks:
            for adapter in adapters:
                tasks.create_task(adapter.run(running.dispatcher), name=adapter.name)
            typer.echo(say("cli.serving", adapters=listed(adapter.name for adapter in adapters)), err=True)
    except* (BotError, EngineError) as failures:
        # The first adapter that can't go on stops the others.
        raise failures.exceptions[0] from None
    return Exit.DELIVERED
