"""`easel web user …`: who may sign in to the web page."""

from __future__ import annotations

import getpass
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bot.chat import Role
from bot.cli.options import Json
from bot.cli.outcome import Exit
from bot.cli.session import installation, prepared, put, run
from bot.errors import BadInputError, SettingsError
from bot.messages import say

if TYPE_CHECKING:
    from bot.adapters.web.people import People

app = typer.Typer(help="Look after the web page.", no_args_is_help=True)
users = typer.Typer(help="Accounts of the web page.", no_args_is_help=True)
app.add_typer(users, name="user")

Name = Annotated[str, typer.Argument(help="Name of the account.", show_default=False)]
FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking for it.")
]
MAX_LINE = 1_000


@users.command("add")
def add(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="What the account may do.")] = Role.MEMBER,
    *,
    from_input: FromInput = False,
) -> int:
    """Add an account; the password is asked for."""
    return run(_add(name, _password(from_input=from_input), role))


@users.command("password")
def password(name: Name, *, from_input: FromInput = False) -> int:
    """Change a password; the account has to sign in again everywhere."""
    return run(_change(name, _password(from_input=from_input)))


@users.command("remove")
def remove(
    name: Name,
    *,
    forget: Annotated[bool, typer.Option("--forget", help="Delete its history and its cached pictures, too.")] = False,
) -> int:
    """Remove an account; while its history is kept, its name can't be given to somebody else."""
    return run(_remove(name, forget=forget))


@users.command("list")
def list_users(*, as_json: Json = False) -> int:
    """List the accounts."""
    return run(_list(as_json=as_json))


async def _add(name: str, given: str, role: Role) -> int:
    async with _people() as people:
        account = await people.add(name, given, role)
    typer.echo(say("web_account.added", name=account.name, role=account.role))
    return Exit.DELIVERED


async def _change(name: str, given: str) -> int:
    async with _people() as people:
        await people.set_password(name, given)
    typer.echo(say("web_account.changed", name=name.casefold()))
    return Exit.DELIVERED


async def _remove(name: str, *, forget: bool) -> int:
    async with _people() as people:
        person = await people.remove(name, or_left=forget)
    typer.echo(say("web_account.removed", name=person.name))
    if forget:
        async with installation() as running:
            extent, files = await running.jobs.forget(person)
        typer.echo(say("forget.done", **extent.model_dump(), files=files))
    return Exit.DELIVERED


async def _list(*, as_json: bool) -> int:
    async with _people() as people:
        accounts = await people.all()
    if as_json:
        put({"accounts": [{"name": account.name, "role": account.role} for account in accounts]})
    elif accounts:
        for account in accounts:
            typer.echo(f"{account.name}  {account.role}")
    else:
        typer.echo(say("web_account.none"))
    return Exit.DELIVERED


@asynccontextmanager
async def _people() -> AsyncIterator[People]:
    """The accounts of this installation.

    Raises:
        SettingsError: the `web` extra is not installed.
    """
    try:
        from bot.adapters.web.people import People
    except ModuleNotFoundError as error:
        raise SettingsError(say("settings.extra", name=error.name or "", extra="web")) from error
    from bot.store import Store

    async with Store.open(prepared().database) as store:
        yield People(store.web_accounts)


def _password(*, from_input: bool) -> str:
    """Ask for a password, twice, or read one line.

    Raises:
        BadInputError: there is nobody to ask, or the two differ.
    """
    if from_input:
        return sys.stdin.readline(MAX_LINE).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise BadInputError(say("web_account.no_terminal"))
    given = getpass.getpass(say("web_account.ask"))
    if getpass.getpass(say("web_account.ask_again")) != given:
        raise BadInputError(say("web_account.differ"))
    return given
