"""Nothing that people can use may be missing from the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.core import TyperCommand

from bot.grammar import OPTIONS, SIZE_FLAG
from bot.handlers import cache, moderation
from bot.handlers.table import COMMANDS
from bot.settings import SHIPPED_STYLES, Settings
from engine.types import Position, Quality, Sampler
from scripts import reference

REFERENCE = reference.DOCS / "reference"
OPTION_PAGE = (REFERENCE / "options.md").read_text("utf-8")
COMMAND_PAGE = (REFERENCE / "commands.md").read_text("utf-8")
SETTINGS = (REFERENCE / "settings.md").read_text("utf-8")


@pytest.mark.parametrize("page", reference.pages(), ids=lambda path: path.name)
def test_the_tables_are_current(page: Path) -> None:
    assert page.read_text("utf-8") == reference.pages()[page], "run: python scripts/reference.py"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    assert f"`EASEL_{name.upper()}" in SETTINGS


@pytest.mark.parametrize("value", [*Sampler, *Quality, *Position, *SHIPPED_STYLES])
def test_every_choice_is_documented(value: str) -> None:
    assert OPTION_PAGE.count(f"`{value}`") >= (1 if value in SHIPPED_STYLES else 2), "a table row and an explanation"


@pytest.mark.parametrize("flag", [SIZE_FLAG, *(flag for option in OPTIONS.values() for flag in option.flags)])
def test_every_option_of_a_picture_is_documented(flag: str) -> None:
    assert f"`{flag}" in OPTION_PAGE


@pytest.mark.parametrize("usage", [row.usage for row in (*cache.ACTIONS.values(), *moderation.ACTIONS.values())])
def test_every_action_of_moderators_is_documented(usage: str) -> None:
    assert reference.code(usage) in COMMAND_PAGE.replace(r"\|", "|")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_chat_command_is_documented_and_explained(name: str) -> None:
    assert f"`/{name}" in COMMAND_PAGE
    assert f"/{name}" in (reference.DOCS / "chat.md").read_text("utf-8")


@pytest.mark.parametrize(("name", "command"), reference.commands().items())
def test_every_command_and_its_options_are_documented(name: str, command: TyperCommand) -> None:
    section = COMMAND_PAGE.partition(f"### easel {name}\n")[2].partition("\n### ")[0]
    assert section, f"easel {name}"
    for parameter in command.params:
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert f"`{option}" in section + OPTION_PAGE, f"easel {name} {option}"
    assert f"easel {name}" in (reference.DOCS / "cli.md").read_text("utf-8"), "with an explanation"


def test_the_readme_names_every_command() -> None:
    readme = (reference.DOCS.parent / "README.md").read_text("utf-8")
    for name in reference.commands():
        assert f"easel {name.split()[0]}" in readme
