"""Command-line options, derived from the declaration of an image request."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bot.grammar import OPTIONS, SIZE_FLAG, Option
from bot.messages import option_help

Values = dict[str, str | int | float | bool]

Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write the picture: a .png file.")
]
Folder = Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Folder for the pictures; made if missing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def with_request_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command that takes `**options` one option for every field of ImageRequest that has flags, and `--size`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    derived = [_parameter(option) for option in OPTIONS.values() if option.flags]
    size = typer.Option(SIZE_FLAG, metavar="WxH", help=option_help("size"))
    derived.append(_keyword("size", None, Annotated[str | None, size]))
    command.__signature__ = signature.replace(parameters=[*own, *derived])  # type: ignore[attr-defined]
    return command


def given(options: dict[str, Any]) -> Values:
    """The options that were set on the command line; their values stay text, for the grammar to judge."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and not (isinstance(value, bool) and value is OPTIONS[name].default)
    }


def _parameter(option: Option) -> inspect.Parameter:
    if option.kind != "boolean":
        flag = typer.Option(*option.flags, metavar=_metavar(option), help=option_help(option.name))
        return _keyword(option.name, None, Annotated[str | None, flag])
    names = [f"--no-{name.removeprefix('--')}" if option.default else name for name in option.flags]
    pairs = [f"{on}/{off}" for on, off in zip(option.flags, names, strict=True)] if option.default else names
    flag = typer.Option(*pairs, help=option_help(option.name), show_default=False)
    return _keyword(option.name, option.default, Annotated[bool, flag])


def _keyword(name: str, default: object, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _metavar(option: Option) -> str:
    """What may stand after the flag: the choices, the bounds, or the kind of value."""
    if option.choices:
        return "|".join(option.choices)
    if option.high is not None and option.high < 10_000:
        return f"{option.low:g}..{option.high:g}"
    return {"integer": "N", "number": "F", "color": "#RRGGBB"}.get(option.kind, "TEXT")
