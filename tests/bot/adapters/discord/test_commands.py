"""The commands as they are registered: nothing lags behind the tables, and everything keeps to Discord's limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot import messages
from bot.adapters.discord import localise
from bot.adapters.discord.commands import (
    FROM_IMAGE,
    MAX_CHOICES,
    MENUS,
    SAFE_INTEGER,
    STRING,
    SUGGESTED,
    declared,
    menu_of,
    picture_options,
)
from bot.adapters.discord.localise import MAX_DESCRIPTION, is_name, locales
from bot.grammar import OPTIONS
from bot.handlers.table import COMMANDS
from bot.messages import option_help
from tests.fakes.discord_schema import DOCUMENT, violations

Shape = dict[str, Any]


def walked(shape: Shape) -> Iterator[Shape]:
    """A command and everything in it."""
    yield shape
    for inner in shape.get("options", ()):
        yield from walked(inner)


def everything() -> list[Shape]:
    return [shape for command in declared(images=True) for shape in walked(command)]


def test_every_option_of_a_picture_is_offered_with_its_bounds_and_help() -> None:
    offered = {option["name"]: option for option in picture_options(images=True)}
    assert set(offered) == {*OPTIONS, "size", "image"}
    for name, option in OPTIONS.items():
        assert offered[name]["description"] == option_help(name)
        if offered[name]["type"] != STRING:
            assert offered[name].get("min_value") == option.low
            assert offered[name].get("max_value") == option.high
        elif name in SUGGESTED:
            assert offered[name]["autocomplete"]
        elif option.choices:
            assert [choice["value"] for choice in offered[name]["choices"]] == list(option.choices)
        elif option.high is None:
            assert offered[name].get("max_length") == option.limit


def test_images_are_offered_where_the_operator_takes_them() -> None:
    without = {option["name"] for option in picture_options()}
    assert {option["name"] for option in picture_options(images=True)} - without == {"image", *FROM_IMAGE}


def test_every_command_is_offered() -> None:
    commands = declared()
    assert {command["name"] for command in commands if command["type"] == 1} == set(COMMANDS)
    menus = [command["name"] for command in commands if command["type"] == 3]
    assert [menu_of(name) for name in menus] == list(MENUS)


def test_the_limits_of_discord_are_kept() -> None:
    for shape in everything():
        check(shape)


def check(shape: Shape) -> None:
    assert len(shape.get("options", ())) <= MAX_CHOICES
    required = [option["required"] for option in shape.get("options", ()) if "required" in option]
    assert required == sorted(required, reverse=True)
    assert shape.get("max_value", 0) < SAFE_INTEGER
    assert len(shape.get("choices", ())) <= MAX_CHOICES
    for choice in shape.get("choices", ()):
        assert 0 < len(choice["name"]) <= 100
    if "description" not in shape:
        assert all(0 < len(name) <= 32 for name in (shape["name"], *shape.get("name_localizations", {}).values()))
        return
    for text in (shape["description"], *shape.get("description_localizations", {}).values()):
        assert 0 < len(text) <= MAX_DESCRIPTION
        assert not text.endswith("…"), "cut: say it in fewer words"
    assert all(is_name(name) for name in (shape["name"], *shape.get("name_localizations", {}).values()))


def test_names_in_a_command_differ_in_every_language() -> None:
    for locale in locales():
        for shape in everything():
            names = [
                inner.get("name_localizations", {}).get(locale, inner["name"]) for inner in shape.get("options", ())
            ]
            assert len(set(names)) == len(names)


def test_a_command_has_at_most_8000_characters() -> None:
    """Names, descriptions and values together; of a text in several languages, the longest counts."""

    def longest(shape: Shape, field: str) -> int:
        return max(map(len, (shape.get(field, ""), *shape.get(f"{field}_localizations", {}).values())))

    for command in declared(images=True):
        texts = sum(longest(shape, field) for shape in walked(command) for field in ("name", "description"))
        choices = [choice for shape in walked(command) for choice in shape.get("choices", ())]
        assert texts + sum(longest(choice, "name") + len(choice["value"]) for choice in choices) <= 8000


def test_what_can_be_picked_is_named_in_every_language() -> None:
    position = next(option for option in picture_options() if option["name"] == "watermark_position")
    first = position["choices"][0]
    assert (first["name"], first["value"]) == ("top left", "top-left")
    assert set(first["name_localizations"]) == set(locales())
    sampler = next(option for option in picture_options() if option["name"] == "sampler")
    assert all(set(choice) == {"name", "value"} for choice in sampler.get("choices", ()))


def test_every_name_has_its_place_in_the_catalogue() -> None:
    """So that a language can give it another: a name here is what English has there."""
    names = {shape["name"] for shape in everything() if "description" in shape}
    catalogue = messages.catalogue(messages.ENGLISH)
    known = {key.partition(".")[2]: text for key, text in catalogue.items() if key.startswith("discord_name.")}
    assert known == {name.replace("-", "_"): name for name in names}


@pytest.mark.parametrize("language", messages.offered())
def test_every_language_with_a_catalogue_is_one_of_discords(language: str) -> None:
    assert language == messages.ENGLISH or language in locales().values()


@pytest.mark.skipif(not DOCUMENT.exists(), reason="Discord's OpenAPI document is not beside this checkout")
def test_commands_in_several_languages_are_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localise, "locales", lambda: {"de": messages.ENGLISH, "pt-BR": messages.ENGLISH})
    commands = declared(images=True)
    assert set(commands[0]["options"][0]["description_localizations"]) == {"de", "pt-BR"}
    assert violations("PUT", "/applications/1000/commands", "application/json", commands) == []


def test_a_language_may_give_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localise, "locales", lambda: {"de": "de"})
    monkeypatch.setattr(messages, "catalogue", lambda _: {"discord_name.imagine": "zeichne"})
    assert localise.names("imagine") == {"name": "imagine", "name_localizations": {"de": "zeichne"}}
    assert localise.names("help") == {"name": "help"}
