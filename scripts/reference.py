"""Writes the tables of docs/reference from the code: `python scripts/reference.py`. A test fails when they lag."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperCommand, TyperGroup

from bot import messages
from bot.cli.main import app
from bot.community import Community
from bot.grammar import OPTIONS, Option
from bot.grammar.community import NAMES
from bot.handlers import cache, communities, moderation
from bot.handlers.base import Command
from bot.handlers.table import COMMANDS
from bot.settings import SHIPPED_STYLES, Settings

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: object) -> str:
    """Text in code marks, or nothing."""
    return f"`{text}`" if str(text) else ""


def options() -> str:
    """The options of a picture."""
    rows = (
        (_flags(option), _takes(option), _default(option), messages.option_help(option.name))
        for option in OPTIONS.values()
        if option.flags
    )
    return table(("Option", "Takes", "When left out", "What it does"), rows)


def _flags(option: Option) -> str:
    names = [*option.flags]
    if option.default is True:
        names += [f"--no-{flag.removeprefix('--')}" for flag in option.flags]
    return ", ".join(map(code, names))


def _takes(option: Option) -> str:
    if option.choices:
        return ", ".join(map(code, option.choices))
    if option.high is not None:
        step = f" in steps of {option.step}" if option.step else ""
        return f"{option.low:g} to {option.high:g}{step}" if option.high < 1e6 else "a whole number below 2^64"
    limit = f", up to {option.limit} characters" if option.limit else ""
    return {"boolean": "nothing", "color": "`#rrggbb`"}.get(option.kind, f"text{limit}")


def _default(option: Option) -> str:
    special = {"seed": "random", "style": "none", "negative_prompt": "none", "model": "the operator's choice"}
    if option.kind == "boolean":
        return "on" if option.default else "off"
    if option.name in special:
        return special[option.name]
    if option.name.startswith("watermark_"):
        return "the operator's choice"
    return code(option.default) if option.default else "the model's"


def styles() -> str:
    """The shipped styles."""
    rows = ((code(name), style.template, style.negative_prompt) for name, style in SHIPPED_STYLES.items())
    return table(("Style", "Template", "Kept out"), rows)


def settings() -> str:
    """Every setting, nested ones with their full name."""
    return table(("Variable", "In easel.toml", "Takes", "Default", "What it does"), _settings(Settings))


def _settings(model: type[BaseModel], above: tuple[str, ...] = (), purpose: str = "") -> Iterator[Row]:
    shapes = model.model_json_schema()
    for name, field in model.model_fields.items():
        path = (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, path, field.description or "")
            continue
        variable = f"EASEL_{'__'.join(path)}".upper()
        shape = _shape(shapes["properties"][name], shapes.get("$defs", {}))
        yield code(variable), code(".".join(path)), _kind(shape), _value(field), field.description or purpose


def _shape(shape: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of one value, without null and references."""
    plain: dict[str, Any] = next((part for part in shape.get("anyOf", ()) if part != {"type": "null"}), shape)
    merged = {**shape, **plain}
    named: dict[str, Any] = shared.get(merged.get("$ref", "").rpartition("/")[2], {})
    return {**merged, **named}


def _kind(shape: dict[str, Any]) -> str:
    if "enum" in shape:
        return ", ".join(map(code, shape["enum"]))
    if shape.get("format") in ("path", "password"):
        return {"path": "folder", "password": "secret"}[shape["format"]]
    names = {"boolean": "on or off", "integer": "whole number", "number": "number", "array": "list", "object": "table"}
    low = shape.get("minimum", shape.get("exclusiveMinimum"))
    bounds = {"from": low, "to": shape.get("maximum")} if low or "maximum" in shape else {}
    limits = " ".join(f"{word} {value:g}" for word, value in bounds.items() if value is not None)
    return f"{names.get(shape['type'], 'text')} {limits}".strip()


def _value(field: FieldInfo) -> str:
    """The default."""
    if field.default_factory:
        return "your data folder"
    value = field.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "[the shipped ones](options.md#styles)" if isinstance(value, dict) else code(value)


def command_line() -> str:
    """Every `easel` command with its own options; those of a picture are a table of their own."""
    parts = []
    for name, command in commands().items():
        parts.append(f"### easel {name}\n\n{' '.join((command.help or '').split())}\n\n")
        rows = [
            _parameter(parameter)
            for parameter in command.params
            if parameter.name not in OPTIONS or parameter.name == "prompt"
        ]
        parts.append(table(("Argument or option", "What it is"), rows) + "\n" if rows else "")
        if any(parameter.name == "steps" for parameter in command.params):
            parts.append("And the [options of a picture](options.md).\n\n")
    return "".join(parts)


def commands() -> dict[str, TyperCommand]:
    """Every `easel` command by its name, `cache show`."""
    group = typer.main.get_command(app)
    return dict(_within(group, ())) if isinstance(group, TyperGroup) else {}


def _within(group: TyperGroup, above: Row) -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _within(command, (*above, name))
        elif isinstance(command, TyperCommand):
            yield " ".join((*above, name)), command


def _parameter(parameter: Any) -> Row:  # noqa: ANN401
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name.upper()]
    return ", ".join(map(code, names)), parameter.help or ""


def chat() -> str:
    """Every chat command."""
    rows = ((code(row.usage), row.role.value, messages.say(f"command.{name}")) for name, row in COMMANDS.items())
    return table(("Command", "For", "What it does"), rows)


def community() -> str:
    """What moderators may set for their community."""
    defaults = Community().model_dump(mode="json")
    rows = ((code(name), communities.readable(defaults[name], "en"), messages.setting_help(name)) for name in NAMES)
    return table(("Setting", "Default", "What it does"), rows)


def actions(rows: Mapping[str, Command]) -> str:
    """What a command with several actions can do."""
    return table(("Command", "For"), ((code(row.usage), row.role.value) for row in rows.values()))


BLOCKS: dict[str, Callable[[], str]] = {
    "options": options,
    "styles": styles,
    "settings": settings,
    "command-line": command_line,
    "chat": chat,
    "cache": lambda: actions(cache.ACTIONS),
    "moderation": lambda: actions(moderation.ACTIONS),
    "community": community,
}


def pages() -> dict[Path, str]:
    """Every page of the reference as it should be."""
    found = {path: path.read_text("utf-8") for path in sorted((DOCS / "reference").glob("*.md"))}
    return {
        path: BLOCK.sub(lambda block: f"{block[1]}\n{BLOCKS[block['name']]().strip()}\n\n{block[3]}", text)
        for path, text in found.items()
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
