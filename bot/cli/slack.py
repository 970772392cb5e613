"""`easel slack …`: what is needed to set Slack up."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from bot.cli.outcome import Exit
from bot.errors import BadInputError
from bot.messages import quote, say

ADDRESS = re.compile(r"https://[^/\s?#]+")

app = typer.Typer(help="Set Slack up.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keeps `manifest` a command of its own while it is the only one."""


@app.command("manifest")
def manifest(
    *,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Public address of HTTP mode; Socket Mode without.")
    ] = "",
) -> int:
    """Write the manifest of the Slack app, to be pasted when the app is created."""
    from bot.adapters.slack.manifest import written

    address = url.rstrip("/")
    if address and not ADDRESS.fullmatch(address):
        raise BadInputError(say("cli.slack_url", given=quote(url)))
    typer.echo(written(address or None), nl=False)
    return Exit.DELIVERED
