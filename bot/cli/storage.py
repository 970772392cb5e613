"""`easel cache …`: the same commands as `/cache` in a chat."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bot.chat import Failure, Refusal, Reply
from bot.cli.options import Json, Values
from bot.cli.outcome import Exit, Outcome
from bot.cli.session import installation, invocation, put, run
from bot.errors import BadInputError
from bot.messages import quote, say

app = typer.Typer(help="Look after the cache of pictures.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Key of the picture, or its first 8 characters or more.")]
Person = Annotated[str, typer.Argument(metavar="ID", help="The person, as platform:id.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask first.")]


@app.command("stats")
def stats(*, as_json: Json = False) -> int:
    """How many pictures, how large, how often used."""
    return run(_ask("stats", as_json=as_json))


@app.command("list")
def list_entries(
    search: Annotated[str, typer.Argument(help="Only prompts with these words.", show_default=False)] = "",
    *,
    as_json: Json = False,
) -> int:
    """Pictures, last used first."""
    return run(_ask("list", search, as_json=as_json))


@app.command("show")
def show(key: Key, *, as_json: Json = False) -> int:
    """One picture: prompt, options, size, uses."""
    return run(_ask("show", key, as_json=as_json))


@app.command("delete")
def delete(key: Key, *, as_json: Json = False) -> int:
    """Remove one picture, and what was made from it."""
    return run(_ask("delete", key, as_json=as_json))


@app.command("clear")
def clear(*, yes: Yes = False, as_json: Json = False) -> int:
    """Remove every picture."""
    if not yes:
        if not sys.stdin.isatty():
            raise BadInputError(say("cli.clear_unasked"))
        if not typer.confirm(say("cli.clear"), err=True):
            return Exit.DELIVERED
    return run(_ask("clear", as_json=as_json))


@app.command("purge-user")
def purge_user(person: Person, *, as_json: Json = False) -> int:
    """Remove everything that one person asked for."""
    if ":" not in person:
        # In a chat the platform goes without saying; here it would be nobody's, and nothing would be removed.
        raise BadInputError(say("input.unsuitable_person", given=quote(person), platform="discord"))
    return run(_ask("purge-user", person, as_json=as_json))


@app.command("quarantine")
def quarantine(
    key: Annotated[str, typer.Argument(help="Key of the picture; without one, list those.", show_default=False)] = "",
    *,
    as_json: Json = False,
) -> int:
    """Withhold a picture from everybody, or list those that are withheld."""
    return run(_ask("quarantine", key, as_json=as_json))


@app.command("release")
def release(key: Key, *, as_json: Json = False) -> int:
    """Let a picture out of quarantine."""
    return run(_ask("release", key, as_json=as_json))


@app.command("verify")
def verify(*, as_json: Json = False) -> int:
    """Read every file and compare its checksum; damaged ones are put in quarantine."""
    return run(_ask("verify", as_json=as_json))


async def _ask(action: str, target: str = "", *, as_json: bool) -> int:
    """Send a `/cache` command and print its answer."""
    options: Values = {"action": action, "target": target}
    code = Exit.DELIVERED
    async with installation() as running:
        async for update in running.dispatcher.handle(invocation("cache", options)):
            if isinstance(update, Reply):
                put(update.data) if as_json else typer.echo(update.text)
                code = Exit.UNWELL if update.data.get("damaged") else Exit.DELIVERED
            elif isinstance(update, Refusal | Failure):
                code = _unanswered(update, as_json=as_json)
    return code


def _unanswered(update: Refusal | Failure, *, as_json: bool) -> Exit:
    """Say why there is no answer on standard error, and to machines that asked for it as the usual object."""
    outcome = Outcome(1)
    outcome.take(update)
    typer.echo(update.text, err=True)
    if as_json:
        put(outcome.single())
    return outcome.code
