from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bot.app import App, running
from bot.chat import MAX_ATTACHMENT, Attachment, Removed
from bot.errors import BadInputError
from bot.handlers.files import prompts_of
from bot.settings import Settings
from engine.types import EngineInfo
from tests.bot.talk import ADA, BOB, HERE, ask, complaint, drawn, invocation, made, reply
from tests.fakes.engine_client import MODEL, ScriptedEngine

BOM = b"\xef\xbb\xbf"


def text_file(data: bytes, name: str = "prompts.txt") -> tuple[Attachment, ...]:
    return (Attachment(name=name, media_type="text/plain", data=data),)


def photo(width: int = 300, height: int = 200, name: str = "photo.png") -> Attachment:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return Attachment(name=name, media_type="image/png", data=file.getvalue())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, batch_limit=3, image_input=True)


def prompts(engine: ScriptedEngine) -> list[str]:
    return [request.prompt for request in engine.orders[-1].requests]


@pytest.mark.parametrize(
    "data",
    [b"a cat\na dog", BOM + b"a cat\r\n\r\n  a dog  \r\n", b"a cat\ra dog\n\n", BOM + b"a cat\na dog"],
)
async def test_a_text_file_holds_a_prompt_a_line(app: App, engine: ScriptedEngine, data: bytes) -> None:
    await made(app, "batch", files=text_file(data))
    assert prompts(engine) == ["a cat", "a dog"]


async def test_a_text_file_goes_with_what_was_typed(app: App, engine: ScriptedEngine) -> None:
    await made(app, "batch", "--steps 3", files=text_file("Apfel --steps 5\näpfel".encode()))
    assert [(r.prompt, r.steps) for r in engine.orders[0].requests] == [("Apfel", 5), ("äpfel", 3)]
    await made(app, "batch", options={"prompts": "a cow", "steps": 3}, files=text_file(b"a cat\na dog"))
    assert prompts(engine) == ["a cow", "a cat", "a dog"]
    await made(app, "batch", options={"steps": 3}, files=text_file(b"a cat --steps 9"))
    assert prompts(engine) == ["a cat --steps 9"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (text_file(b""), "at least one prompt"),
        (text_file(b"\xff\xfea\x00"), 'The file "prompts.txt" is not a text in UTF-8.'),
        (text_file("a cat".encode("utf-16")), "is not a text in UTF-8"),
        (text_file(b"a\x00b"), "is not a text in UTF-8"),
        (text_file(b"a\x07b"), "must not hold control characters"),
        (text_file(b"x" * 60_001), "is too long; at most 60000 characters"),
        (text_file(b"x" * 300_000), "is too long; at most 60000 characters"),
        (text_file(b"a\nb\nc\nd"), "at most 3 prompts; this one has 4"),
        (text_file(b"a\nb --steps 0"), "Line 2: --steps takes"),
        (text_file(b"a") * 2, "takes one text file, not 2"),
        ((photo(),), 'The file "photo.png" is not a text in UTF-8.'),
    ],
)
async def test_every_mistake_in_a_text_file_gets_one_sentence(
    app: App, files: tuple[Attachment, ...], sentence: str
) -> None:
    assert sentence in (await complaint(app, "batch", files=files)).text


@given(st.binary(max_size=200))
def test_any_bytes_are_lines_or_one_sentence(data: bytes) -> None:
    try:
        lines = prompts_of(invocation("batch", files=text_file(data)))
    except BadInputError as error:
        assert len(error.sentence) > 10  # noqa: PT017  (either outcome is right)
    else:
        assert all(line.strip() == line and line for line in lines)


async def test_an_image_to_start_from_gives_its_shape(app: App) -> None:
    asked = (await made(app, "imagine", "a cat --strength 0.4", files=(photo(300, 150),))).pictures[0].image.request
    assert asked.image is not None
    assert asked.strength == 0.4
    assert asked.width > asked.height
    with Image.open(io.BytesIO(asked.image.data)) as source:
        assert source.size == (asked.width, asked.height)
    sized = (await made(app, "imagine", "a cat --size 64", files=(photo(300, 150),))).pictures[0].image.request
    assert (sized.width, sized.height) == (64, 64)


async def test_a_model_that_draws_squares_gets_a_square(app: App, engine: ScriptedEngine) -> None:
    engine._info = EngineInfo(models=(MODEL.model_copy(update={"square_only": True}),), default_model="emoji")
    asked = (await made(app, "imagine", "a cat", files=(photo(300, 150),))).pictures[0].image.request
    assert (asked.width, asked.height) == (64, 64)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((photo(), photo()), "one image to start from, not 2"),
        (text_file(b"MZ not an image", "photo.png"), "must be a PNG, JPEG or WebP file"),
        ((Attachment(name="a.png", media_type="image/png", data=b"\x89PNG\r\n\x1a\n" + b"x" * 100),), "image"),
        ((photo(8, 8),), "at least 32 pixels"),
        ((photo(2000, 40),), "8 times as long as wide"),
    ],
)
async def test_every_image_that_is_none_gets_one_sentence(
    app: App, files: tuple[Attachment, ...], sentence: str
) -> None:
    assert sentence in (await complaint(app, "imagine", "a cat", files=files)).text


async def test_images_are_off_unless_the_operator_allows_them(tmp_path: Path) -> None:
    async with running(Settings(home=tmp_path), ScriptedEngine()) as app:
        assert "EASEL_IMAGE_INPUT" in (await complaint(app, "imagine", "a cat", files=(photo(),))).text


async def test_a_strength_needs_an_image(app: App) -> None:
    assert "--strength goes with an image" in (await complaint(app, "imagine", "a cat --strength 0.4")).text


async def test_the_image_is_kept_for_what_is_made_of_the_picture(app: App, engine: ScriptedEngine) -> None:
    first = await made(app, "imagine", "a cat", files=(photo(),))
    image = first.pictures[0].image.request.image
    assert image is not None
    for command in ("vary", "upscale", "reroll", "send"):
        assert (await made(app, command, first.job)).pictures[0].image.request.image == image
    form = await app.dispatcher.form(ADA, HERE, first.job, 1)
    assert form is not None
    assert form.image == image
    options: dict[str, Any] = {"prompt": "a dog", "image_of": f"{first.job} 1", "strength": 0.3}
    remixed = (await made(app, "imagine", options=options)).pictures[0].image.request
    assert (remixed.image, remixed.strength) == (image, 0.3)
    other = HERE.model_copy(update={"channel": "c2"})
    assert "There is no job" in (await complaint(app, "imagine", options=options, who=BOB, place=other)).text
    plain = await drawn(app, "a cat")
    none = await made(app, "imagine", options={"prompt": "a dog", "image_of": plain.job})
    assert none.pictures[0].image.request.image is None


async def test_the_image_is_stored_once_and_goes_with_its_last_picture(app: App, settings: Settings) -> None:
    import sqlite3
    from contextlib import closing

    def stored() -> int:
        with closing(sqlite3.connect(settings.database)) as database:
            (count,) = database.execute("SELECT count(*) FROM sources").fetchone()
            assert "image" not in str(database.execute("SELECT asked, requests FROM jobs").fetchall())
            return int(count)

    first = await made(app, "imagine", "a cat", files=(photo(),))
    second = await made(app, "vary", first.job)
    assert stored() == 1
    for job, left in ((first.job, 1), (second.job, 0)):
        (update,) = await ask(app.dispatcher, invocation("delete", job))
        assert isinstance(update, Removed)
        assert stored() == left


async def test_a_picture_is_verified_by_its_file(app: App, engine: ScriptedEngine) -> None:
    await drawn(app, "a cat")
    (data,) = engine.files.values()
    answer = await reply(app, "verify", files=(Attachment(name="x", media_type="", data=data),))
    assert answer.data["made_here"] is True
    assert answer.text.splitlines()[:2] == ["The file is whole.", "It was made by this installation."]
    assert "does not hold it" in (await reply(app, "verify", files=(photo(),))).text
    for files in ((), (photo(), photo())):
        assert "Attach the one picture" in (await complaint(app, "verify", files=files)).text


def test_an_attachment_is_bounded() -> None:
    with pytest.raises(ValueError, match="at most"):
        Attachment(name="x", media_type="", data=b"x" * (MAX_ATTACHMENT + 1))
