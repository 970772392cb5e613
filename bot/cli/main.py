"""The table of commands, and the boundary at which every error becomes one sentence and an exit code.

Whatever a command needs is imported when it runs: `easel --help` is quick, and a picture from the cache never meets
torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import structlog
import typer

from bot import logs
from bot.cli import discord, draw, slack, storage, system, web
from bot.cli.outcome import Exit, PictureOutcome
from bot.cli.session import put
from bot.errors import BotError, SettingsError, UserError
from bot.messages import say
from engine.errors import EngineError, InputError

app = typer.Typer(
    name="easel",
    help="Pictures from words: for chats, for the web, and here in the terminal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("imagine")(draw.imagine)
app.command("batch")(draw.batch)
app.command("chat")(system.chat)
app.command("serve")(system.serve)
app.add_typer(storage.app, name="cache")
app.add_typer(discord.app, name="discord")
app.add_typer(slack.app, name="slack")
app.add_typer(web.app, name="web")
app.command("fetch")(system.fetch)
app.command("verify")(system.verify)
app.command("doctor")(system.doctor)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    logs.mute()
    try:
        code = int(app(list(arguments), prog_name="easel", standalone_mode=False) or Exit.DELIVERED)
    except SystemExit:
        # Typer's answer when whoever read the output has enough of it, as `head` has.
        return Exit.FAILED
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (the boundary)
        sentence, code = _explained(error)
        return _failed(sentence, code, arguments)
    # Typer turns KeyboardInterrupt into this code, and says nothing.
    return _failed(say("cli.interrupted"), code, arguments) if code == Exit.INTERRUPTED else code


def _failed(sentence: str, code: int, arguments: Sequence[str]) -> int:
    """Say what is wrong on standard error, and to machines that asked for it as the usual object."""
    typer.echo(sentence, err=True)
    if "--json" in arguments:
        put(asdict(PictureOutcome(status="failed", reason=sentence)))
    return code


def _explained(error: BaseException) -> tuple[str, Exit]:
    """The sentence that the person gets, and the exit code."""
    match error:
        case typer.TyperException():
            return _misspelt(error), Exit.INPUT
        case UserError() | SettingsError() | InputError():
            return error.sentence, Exit.INPUT
        case BotError() | EngineError():
            return error.sentence, Exit.FAILED
        case typer.Abort():
            return say("cli.interrupted"), Exit.INTERRUPTED
        case asyncio.CancelledError():
            return say("cli.interrupted"), Exit.TERMINATED
    structlog.get_logger(__name__).error("command failed", exc_info=error)
    return _unforeseen(error), Exit.FAILED


def _unforeseen(error: BaseException) -> str:
    if isinstance(error, OSError):
        return say("cli.system", reason=(error.strerror or str(error)).lower())
    return say("cli.internal", kind=type(error).__name__)


def _misspelt(error: typer.TyperException) -> str:
    """What is wrong with the command line, and where its help is; for a command without a word, its help."""
    message = error.format_message().strip()
    if "\n" in message:
        return message
    context = getattr(error, "ctx", None)
    if message[-1:] not in ".?!":
        message += "."
    return say("cli.usage", problem=message, command=context.command_path if context else app.info.name)
