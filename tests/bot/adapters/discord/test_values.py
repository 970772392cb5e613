"""The pure parts: escaped texts, stored addresses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.address import Address, read
from bot.adapters.discord.text import CHUNK, MAX_CONTENT, NOTHING, blocks, chunks, plain


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
