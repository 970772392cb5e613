"""The pure parts: declared commands, escaped texts, stored addresses, smaller files."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.address import Address, read
from bot.adapters.discord.commands import MAX_DESCRIPTION, SAFE_INTEGER, STRING, declared, picture_options
from bot.adapters.discord.files import shrunk
from bot.adapters.discord.text import CHUNK, MAX_CONTENT, NOTHING, blocks, chunks, plain
from bot.grammar import OPTIONS
from bot.handlers.table import COMMANDS
from bot.messages import option_help
from tests.bot.adapters.discord.test_answers import noise


def test_every_option_of_a_picture_is_offered_with_its_bounds_and_help() -> None:
    offered = {option["name"]: option for option in picture_options()}
    assert set(offered) == {*OPTIONS, "size"}
    for name, option in OPTIONS.items():
        assert offered[name]["description"] == option_help(name)
        if offered[name]["type"] != STRING:
            assert offered[name].get("min_value") == option.low
            assert offered[name].get("max_value") == option.high
        elif option.choices:
            assert [choice["value"] for choice in offered[name]["choices"]] == list(option.choices)
        elif option.high is None:
            assert offered[name].get("max_length") == option.limit


def test_every_command_is_offered_within_the_limits_of_discord() -> None:
    commands = declared(("photo",))
    assert {command["name"] for command in commands} == set(COMMANDS)
    for command in commands:
        assert len(command["options"]) <= 25
        assert len(json.dumps(command, ensure_ascii=False)) < 8000
        for option in command["options"]:
            assert 0 < len(option["description"]) <= MAX_DESCRIPTION
            assert option.get("max_value", 0) < SAFE_INTEGER
            required = [inner["required"] for inner in option.get("options", ())]
            assert required == sorted(required, reverse=True)


@given(st.text())
def test_no_text_holds_markup_or_mentions(text: str) -> None:
    escaped = plain(text)
    bare = escaped.replace("\\\\", "").replace("\\", "\0")
    for position, character in enumerate(bare):
        assert character not in "*_~|`<>@#[]" or bare[position - 1] == "\0"


@given(st.text(max_size=6000))
def test_a_text_of_any_length_fits(text: str) -> None:
    for block in blocks(text):
        assert 0 < len(block) <= MAX_CONTENT
        assert block.count("```") in (0, 2)


@given(st.lists(st.text("ab ", max_size=50)), st.integers(5, CHUNK))
def test_chunks_lose_nothing(lines: list[str], limit: int) -> None:
    text = "\n".join(lines)
    joined = "".join(chunks(text, limit)).replace("\n", "")
    assert joined.strip() == text.replace("\n", "").strip() or joined == NOTHING


@given(st.text())
def test_whatever_was_stored_can_be_read(stored: str) -> None:
    assert not read(stored).alive


def test_an_address_survives_a_restart() -> None:
    address = Address(application=1, token="t", expires=2e9, interaction=2, channel=3, person=4)
    assert read(address.model_dump_json()) == address


def test_a_picture_is_made_as_small_as_asked() -> None:
    data = noise()
    for limit in (len(data) // 2, len(data) // 10, 1000):
        suffix, smaller = shrunk(data, limit)
        assert suffix in ("webp", "jpeg")
        assert len(smaller) <= limit
