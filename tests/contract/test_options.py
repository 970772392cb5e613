"""Every option of a picture that a person may set is offered by every front end, with the same bounds and help."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pytest
import typer.main

from bot import grammar
from bot.adapters.discord.commands import SAFE_INTEGER, STRING, SUGGESTED, picture_options
from bot.adapters.slack import forms
from bot.adapters.slack.address import Address
from bot.adapters.web.form import Form
from bot.adapters.web.words import Words
from bot.cli.main import app
from bot.errors import BadInputError
from bot.grammar import OPTIONS, Option
from bot.handlers.help import _options
from bot.messages import ENGLISH, option_help
from bot.settings import Settings
from tests.fakes.engine_client import INFO

Number = float | None


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a front end says of one option; None where it leaves that to the grammar, which refuses by name."""

    help: str | None
    low: Number = None
    high: Number = None
    limit: int | None = None
    choices: tuple[str, ...] | None = None


LINE = re.compile(
    r"(?P<flags>--\S+?(?:, --\S+?)*)(?: (?P<takes>[^ -]\S*))? - (?P<help>.*?)"
    r"(?: \((?P<low>[\d.]+) to (?P<high>[\d.]+)(?: in steps of \d+)?\))?"
)


def in_text() -> dict[str, Offer]:
    """The flags, as `/help` explains them on every platform; what is on by itself is explained by its opposite."""
    found = {"prompt": Offer(help=option_help("prompt"))}
    by_flag = {flag: name for name, option in OPTIONS.items() for flag in option.flags}
    for line in _options({}, ENGLISH):
        match = LINE.fullmatch(line.strip())
        flag = match["flags"].split(", ")[0] if match else ""
        name = by_flag.get(flag) or by_flag.get(flag.replace("--no-", "--"))
        if match and name:
            takes = match["takes"] or ""
            found[name] = Offer(
                help=None if flag not in by_flag else match["help"],
                low=float(match["low"]) if match["low"] else None,
                high=float(match["high"]) if match["high"] else None,
                choices=tuple(takes.split("|")) if OPTIONS[name].choices else None,
            )
    return found


def on_discord() -> dict[str, Offer]:
    """The options of the slash command."""
    return {
        option["name"]: Offer(
            help=option["description"],
            low=option.get("min_value"),
            high=option.get("max_value"),
            limit=option.get("max_length"),
            choices=tuple(choice["value"] for choice in option["choices"]) if "choices" in option else None,
        )
        for option in picture_options(images=True)
    }


def on_slack() -> dict[str, Offer]:
    """The fields of the modal."""
    view = forms.imagine_view(
        forms.Opened(address=Address(team="T1", channel="C1", user="U1")), ENGLISH, {}, asks_for_image=True
    )
    found: dict[str, Offer] = {}
    for block in view["blocks"]:
        element = block["element"]
        entries = element.get("options", ())
        if element["type"] == "checkboxes":
            found |= {entry["value"]: Offer(help=entry["text"]["text"]) for entry in entries}
            continue
        found[block["block_id"]] = Offer(
            help=block.get("hint", {}).get("text"),
            low=float(element["min_value"]) if "min_value" in element else None,
            high=float(element["max_value"]) if "max_value" in element else None,
            limit=element.get("max_length"),
            choices=tuple(entry["value"] for entry in entries) or None,
        )
    return found


def on_the_command_line() -> dict[str, Offer]:
    """The options of `easel imagine`; bounds stand where the value does."""
    group: Any = typer.main.get_command(app)
    found = {}
    for parameter in group.commands["imagine"].params:
        option, shown = OPTIONS.get(parameter.name), str(parameter.metavar or "")
        low, dots, high = shown.partition("..")
        found[parameter.name] = Offer(
            help=parameter.help,
            low=float(low) if dots else None,
            high=float(high) if dots else None,
            choices=tuple(shown.split("|")) if option and option.choices else None,
        )
    return found


def on_the_web() -> dict[str, Offer]:
    """The fields of the page; its sliders show the usual part of what is allowed, and flags in the prompt all of it."""
    words = Words()
    with gr.Blocks():
        form = Form(INFO, Settings(image_input=True), words)
    assert form.prompt.max_length is not None
    helped = {name: words.help(name).key.removeprefix("easel_help_") for name in OPTIONS}
    fields = {
        name: Offer(
            help=option_help(helped[name]),
            choices=tuple(value for _, value in field.choices if value) if isinstance(field, gr.Dropdown) else None,
        )
        for name, field in form.fields.items()
    }
    for name, field in form.fields.items():
        if isinstance(field, gr.Slider):
            assert (OPTIONS[name].low or 0) <= field.minimum <= field.maximum <= (OPTIONS[name].high or 0), name
    return fields


LEFT_OUT = {on_the_web: {"prompt", "private"}}
"""The page has its own field for the prompt, and everything on it is private."""
OWN_CHOICES = frozenset({"model", "style", "width", "height"})
"""What is offered there depends on the installation."""


@pytest.mark.parametrize("front_end", [in_text, on_discord, on_slack, on_the_command_line, on_the_web])
async def test_every_option_is_offered_with_the_same_bounds_and_help(front_end: Callable[[], dict[str, Offer]]) -> None:
    # In a running loop, since Gradio makes one of its own otherwise and leaves it open.
    offered = front_end()
    for name, option in OPTIONS.items():
        if name not in LEFT_OUT.get(front_end, ()):
            agrees(offered[name], option)


def agrees(offer: Offer, option: Option) -> None:
    """What is said is what is declared."""
    assert offer.help in (None, option_help(option.name)), option.name
    for said, declared in ((offer.low, option.low), (offer.high, option.high)):
        assert said is None or declared is None or said == float(declared), option.name
    assert offer.limit is None or option.limit is None or offer.limit in (option.limit, 3000), option.name
    if offer.choices and option.name not in OWN_CHOICES:
        assert offer.choices == option.choices, option.name


@pytest.mark.parametrize("option", [option for option in OPTIONS.values() if option.high is not None])
def test_bounds_are_the_grammar_s_where_a_front_end_has_none(option: Option) -> None:
    for beyond in ((option.low or 0) - 1, (option.high or 0) + 1):
        with pytest.raises(BadInputError, match=option.flag):
            grammar.from_options({"prompt": "x", option.name: beyond})


def test_what_discord_can_not_bound_is_a_text() -> None:
    for shape in picture_options(images=True):
        option = OPTIONS.get(shape["name"])
        if option and option.kind == "integer":
            assert (shape["type"] == STRING) == ((option.high or 0) >= SAFE_INTEGER)
        assert ("choices" in shape) + bool(shape.get("autocomplete")) <= 1
    assert set(SUGGESTED) <= set(OPTIONS)
