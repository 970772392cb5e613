"""`easel slack …`: what is needed to set Slack up."""

from __future__ import annotations

import typer

from bot.cli.outcome import Exit

app = typer.Typer(help="Set Slack up.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keeps `manifest` a command of its own while it is the only one."""


@app.command("manifest")
def manifest() -> int:
    """Write the manifest of the Slack app, to be pasted when the app is created."""
    from bot.adapters.slack.manifest import written

    typer.echo(written(), nl=False)
    return Exit.DELIVERED
