"""The pure parts: escaped texts, stored addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord import files
from bot.adapters.discord.address import Address, read
from bot.adapters.discord.text import CHUNK, MAX_CONTENT, NOTHING, blocks, chunks, plain
from bot.chat import Delivery, Picture
from engine.types import Cached, Image, Rendition
from tests.bot.workbench import resolved


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


def drawn(index: int, size: int) -> Picture:
    image = Image(
        index=index,
        data=b"x" * size,
        request=resolved("a cat"),
        key="k",
        generation_key="g",
        cached=Cached.NONE,
        seconds={},
    )
    return Picture(image=image, file_name=f"j-{index + 1}.png", alt_text="a cat", caption="")


@pytest.mark.parametrize(
    ("sizes", "limit", "budgets"),
    [
        ((900, 900), 1000, ()),
        ((900, 1100), 1000, (1000,)),
        ((900, 900, 900, 900), 1000, (750, 750, 750, 750)),
        ((2900,), 5000, ()),
        ((3100,), 5000, (3000,)),
    ],
)
async def test_files_fit_one_by_one_and_together(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], limit: int, budgets: tuple[int, ...]
) -> None:
    monkeypatch.setattr(files, "MAX_REQUEST", 3000 + files.OVERHEAD)
    asked: list[int] = []

    async def shrink(data: bytes, budget: int) -> Rendition:
        asked.append(budget)
        return Rendition(data=data[:budget], media_type="image/webp")

    pictures = tuple(drawn(index, size) for index, size in enumerate(sizes))
    delivery = Delivery(job="j", part=1, parts=1, nonce="n", attempt=1, pictures=pictures)
    made = await files.attachments(delivery, limit, shrink)
    assert tuple(asked) == budgets
    assert sum(len(file.fp.read()) for file in made) <= 3000
    assert [file.filename.endswith(".webp") for file in made].count(True) == len(budgets)
    assert {file.description for file in made} == {"a cat"}
