"""Command-line options against the declaration that they are derived from."""

from __future__ import annotations

import pytest
import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from bot.cli.main import app
from bot.cli.options import given
from engine.types import Flags, ImageRequest


def command(name: str) -> TyperCommand:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    found = group.commands[name]
    assert isinstance(found, TyperCommand)
    return found


@pytest.mark.parametrize("name", ["imagine", "batch"])
def test_every_field_with_flags_is_an_option_under_all_its_names(name: str) -> None:
    names = {parameter.name: [*parameter.opts, *parameter.secondary_opts] for parameter in command(name).params}
    for field, declaration in ImageRequest.model_fields.items():
        for mark in declaration.metadata:
            if isinstance(mark, Flags):
                assert set(mark.names) <= set(names[field]), field
    assert "--no-watermark" in names["watermark"]
    assert names["size"] == ["--size"]


@pytest.mark.parametrize("name", ["imagine", "batch"])
def test_every_option_explains_itself(name: str) -> None:
    parameters = [p for p in command(name).params if isinstance(p, TyperOption | TyperArgument)]
    assert [parameter.name for parameter in parameters if not parameter.help] == []
    assert len(parameters) == len(command(name).params)


def test_help_shows_bounds_and_choices() -> None:
    shown = {parameter.name: parameter.metavar for parameter in command("imagine").params}
    assert shown["steps"] == "1..100"
    assert shown["quality"] == "exact|balanced|fast"
    assert shown["seed"] == "N"
    assert shown["watermark_color"] == "#RRGGBB"


def test_only_what_was_set_is_passed_on() -> None:
    options = {"steps": "30", "seed": None, "strict": False, "watermark": False, "force": True, "size": "64"}
    assert given(options) == {"steps": "30", "watermark": False, "force": True, "size": "64"}
