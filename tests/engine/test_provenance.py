"""Files written and read back: whole, damaged in every byte, and made to harm."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import provenance
from engine.errors import InputError
from engine.types import Verification

PARAMETERS: dict[str, Any] = {
    "prompt": "a red apple, ein Käse, 日本",
    "negative_prompt": "blurry",
    "steps": 20,
    "guidance": 7.5,
    "width": 16,
    "height": 8,
    "seed": 2**64 - 1,
    "sampler": "dpmpp_2m",
    "model": "emoji",
    "model_revision": "r1",
    "watermark": "Easel",
}
NOTHING = Verification(made_here=None, parameters=None, visible_mark=None, intact=False)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def picture(mode: str = "RGB") -> Image.Image:
    return Image.frombytes(mode, (16, 8), random.Random(0).randbytes(16 * 8 * len(mode)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
PIXELS = chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
END = chunk(b"IEND", b"")


def text(content: bytes) -> bytes:
    return chunk(b"iTXt", b"easel\0\0\0\0\0" + content)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_file_says_how_it_was_made(mode: str) -> None:
    data = provenance.encode(picture(mode), PARAMETERS)
    assert provenance.read(data) == Verification(
        made_here=None, parameters=PARAMETERS, visible_mark="Easel", intact=True
    )
    with Image.open(io.BytesIO(data)) as decoded:
        assert decoded.mode == mode
        assert decoded.tobytes() == picture(mode).tobytes()


def test_other_programs_find_the_parameters_under_their_usual_name() -> None:
    with Image.open(io.BytesIO(provenance.encode(picture(), PARAMETERS | {"seed": 7}))) as decoded:
        assert decoded.info["parameters"].split("\n") == [
            "a red apple, ein Käse, 日本",
            "Negative prompt: blurry",
            "Steps: 20, Sampler: dpmpp_2m, CFG scale: 7.5, Seed: 7, Size: 16x8, Model hash: r1, Model: emoji",
        ]


def test_nothing_is_written_when_the_operator_wants_nothing() -> None:
    data = provenance.encode(picture(), None)
    assert provenance.read(data) == NOTHING.model_copy(update={"intact": True})
    assert b"tEXt" not in data
    assert b"iTXt" not in data


def test_a_pictures_own_baggage_is_left_behind() -> None:
    carrier = picture()
    carrier.info = {"icc_profile": b"secret", "exif": b"Exif\0\0secret", "comment": "secret"}
    assert provenance.encode(carrier, None) == provenance.encode(picture(), None)


def test_the_same_picture_gives_the_same_bytes() -> None:
    shuffled = dict(reversed(PARAMETERS.items()))
    assert provenance.encode(picture(), PARAMETERS) == provenance.encode(picture(), shuffled)


@given(st.dictionaries(st.text(), json_values, max_size=5))
@settings(max_examples=60, deadline=None)
def test_whatever_json_goes_in_comes_out(parameters: dict[str, Any]) -> None:
    found = provenance.read(provenance.encode(picture(), parameters))
    assert found.parameters == json.loads(json.dumps(parameters))
    assert found.intact


def test_every_flipped_byte_is_noticed() -> None:
    data = provenance.encode(picture(), PARAMETERS)
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        assert not provenance.read(damaged).intact, f"byte {place}"


def test_every_truncation_is_noticed() -> None:
    data = provenance.encode(picture(), PARAMETERS)
    assert all(provenance.read(data[:length]) == NOTHING for length in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        png(HEADER, PIXELS, END, b"appended"),
        png(HEADER, END),
        png(HEADER, chunk(b"IDAT", zlib.compress(b"\0")), END),
        png(HEADER, chunk(b"IDAT", b"not zlib"), END),
        png(PIXELS, END),
        png(END),
        png(),
        png(struct.pack(">I", 0xFFFFFFFF) + b"IHDR"),
        png(chunk(b"IHDR", b"short"), PIXELS, END),
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)), PIXELS, END),
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)), PIXELS, END),
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0)), PIXELS, END),
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 3, 5, 7, 9, 9)), PIXELS, END),
        png(HEADER, chunk(b"zTXt", b"bomb\0\0" + zlib.compress(b"0" * 2**24)), PIXELS, END),
        png(HEADER, chunk(b"iTXt", b"easel\0\1\0\0\0" + zlib.compress(b"0" * 2**24)), PIXELS, END),
        b"",
        b"hello",
        b"GIF89a" + b"\0" * 100,
        b"\xff\xd8\xff\xe0" + b"\0" * 100,
        b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 100,
        b"%!PS-Adobe-3.0\n",
    ],
)
def test_hostile_files_are_not_intact_and_say_nothing(data: bytes) -> None:
    assert provenance.read(data) == NOTHING


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"watermark": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "' + b"x" * provenance.MAX_TEXT + b'"}',
    ],
)
def test_parameters_that_are_no_json_object_are_ignored(content: bytes) -> None:
    found = provenance.read(png(HEADER, text(content), PIXELS, END))
    assert found == NOTHING.model_copy(update={"intact": True})


def test_only_our_own_text_is_read_and_a_mark_must_be_text() -> None:
    foreign = chunk(b"iTXt", b"weasel\0\0\0\0\0" + b'{"a": 1}')
    broken = chunk(b"iTXt", b"easel\0\0\0no end")
    data = png(HEADER, foreign, broken, text(b'{"watermark": ["x"]}'), PIXELS, END)
    assert provenance.read(data) == Verification(
        made_here=None, parameters={"watermark": ["x"]}, visible_mark=None, intact=True
    )


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_copy_in_another_format_decodes_and_says_nothing(kind: str) -> None:
    file = io.BytesIO()
    picture().save(file, kind)
    assert provenance.read(file.getvalue()) == NOTHING.model_copy(update={"intact": True})


def test_a_file_too_large_gets_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "MAX_FILE", 2**20)
    with pytest.raises(InputError, match="at most 1 MiB, but this one has 2"):
        provenance.read(bytes(2 * 2**20))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything(tail: bytes) -> None:
    assert not provenance.read(png(HEADER) + tail).intact
    assert not provenance.read(tail).intact
