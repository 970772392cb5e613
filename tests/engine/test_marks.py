from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import CredentialsError, InputError
from engine.marks import Marks
from engine.settings import EngineSettings
from engine.types import CredentialState, Watermark
from tests.engine.test_invisible import encoded, scaled, scene

MARK = Watermark(text="Easel")
PARAMETERS = {"prompt": "a cat", "watermark": "Easel"}


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Marks:
    return Marks(EngineSettings(home=tmp_path_factory.mktemp("home"), installation_number=77))


@pytest.fixture(scope="module")
def finished(marks: Marks) -> bytes:
    return marks.finish(scene(256), MARK, PARAMETERS)[0]


def saved(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, quality=80)
    return file.getvalue()


def test_a_finished_file_carries_every_mark(marks: Marks, finished: bytes) -> None:
    found = marks.examine(finished)
    assert found.intact
    assert found.parameters == PARAMETERS
    assert found.visible_mark == "Easel"
    assert found.credentials is not None
    assert found.credentials.state is CredentialState.OWN
    assert found.invisible_mark is not None
    assert (found.invisible_mark.number, found.invisible_mark.cropped) == (77, False)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_encoded_anew_the_invisible_mark_is_left(marks: Marks, finished: bytes, kind: str) -> None:
    found = marks.examine(saved(scaled(Image.open(io.BytesIO(finished)), 1.5), kind))
    assert found.parameters is None
    assert found.credentials is not None
    assert found.credentials.state is CredentialState.ABSENT
    assert found.invisible_mark is not None
    assert found.invisible_mark.number == 77


@pytest.mark.parametrize("share", [3, 8, 20])
def test_made_smaller_a_file_is_marked_and_signed_again(marks: Marks, finished: bytes, share: int) -> None:
    made = marks.smaller(finished, len(finished) // share)
    assert len(made.data) <= len(finished) // share
    assert made.media_type in ("image/webp", "image/jpeg")
    found = marks.examine(made.data)
    assert found.intact
    assert found.credentials is not None
    assert found.credentials.state is CredentialState.OWN
    assert found.credentials.source_type == "trainedAlgorithmicMedia"
    if share < 20:  # of the last, a sixteenth of the picture is left
        assert found.invisible_mark is not None
        assert found.invisible_mark.number == 77


def test_nothing_is_smaller_than_the_smallest(marks: Marks, finished: bytes) -> None:
    made = marks.smaller(finished, 1)
    found = marks.examine(made.data).credentials
    assert found is not None
    assert found.state is CredentialState.OWN


@pytest.mark.parametrize("stranger", [b"", b"no picture", saved(scene(64), "PNG"), saved(scene(64), "JPEG")])
def test_what_was_not_signed_here_is_not_signed(marks: Marks, stranger: bytes) -> None:
    with pytest.raises(InputError, match="finished here"):
        marks.smaller(stranger, 1000)


def test_a_damaged_file_is_not_made_smaller(tmp_path: Path) -> None:
    plain = Marks(EngineSettings(home=tmp_path, content_credentials=False))
    data = plain.finish(scene(64), None, PARAMETERS)[0]
    with pytest.raises(InputError, match="damaged"):
        plain.smaller(data[:-20], 1000)
    made = plain.smaller(data, len(data) // 2)
    found = plain.examine(made.data)
    assert found.credentials is not None
    assert found.credentials.state is CredentialState.ABSENT
    assert found.invisible_mark is not None


def test_a_changed_text_shows(marks: Marks, finished: bytes) -> None:
    """Parameters with a new checksum of their chunk: whole by PNG's measure, and not by the signature's."""
    import zlib

    place = finished.index(b"iTXteasel")
    length = int.from_bytes(finished[place - 4 : place], "big")
    chunk = finished[place : place + 4 + length].replace(b"a cat", b"a dog")
    forged = finished[:place] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + finished[place + 8 + length :]
    found = marks.examine(forged)
    assert found.intact
    assert found.parameters == {**PARAMETERS, "prompt": "a dog"}
    assert found.credentials is not None
    assert found.credentials.state is CredentialState.TAMPERED


def test_each_mark_can_be_switched_off(tmp_path: Path) -> None:
    plain = Marks(
        EngineSettings(home=tmp_path, invisible_mark=False, content_credentials=False, parameters_in_file=False)
    )
    plain.check()
    data = plain.finish(scene(256), None, PARAMETERS)[0]
    assert Image.open(io.BytesIO(data)).tobytes() == scene(256).tobytes()
    found = plain.examine(data)
    assert found.parameters is None
    assert found.invisible_mark is None
    assert found.credentials is not None
    assert found.credentials.state is CredentialState.ABSENT
    assert list(tmp_path.iterdir()) == []


def test_whatever_changes_the_file_changes_the_version(tmp_path: Path) -> None:
    settings = [
        EngineSettings(home=tmp_path),
        EngineSettings(home=tmp_path, installation_number=1),
        EngineSettings(home=tmp_path, invisible_mark=False),
        EngineSettings(home=tmp_path, content_credentials=False),
        EngineSettings(home=tmp_path, parameters_in_file=False),
    ]
    assert len({Marks(each).version for each in settings}) == len(settings)


def test_a_missing_certificate_is_found_at_the_start(tmp_path: Path) -> None:
    settings = EngineSettings(home=tmp_path, c2pa_certificate=tmp_path / "no.pem", c2pa_key=tmp_path / "no.key")
    with pytest.raises(CredentialsError, match=r"no\.pem can't be read"):
        Marks(settings).check()


def test_what_is_no_picture_has_no_marks(marks: Marks) -> None:
    for data in (b"", b"text", b"\xff\xd8\xff", b"RIFF1234WEBP", b"\x89PNG\r\n\x1a\n"):
        found = marks.examine(data)
        assert not found.intact
        assert found.invisible_mark is None


def test_a_bomb_is_refused_without_being_unpacked(marks: Marks) -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    start = time.perf_counter()
    found = marks.examine(file.getvalue())
    assert (found.intact, found.invisible_mark) == (False, None)
    assert time.perf_counter() - start < 5
    with pytest.raises(InputError, match="at most 64 MiB"):
        marks.examine(bytes(65 * 2**20))


def test_a_crop_is_told(marks: Marks, finished: bytes) -> None:
    part = Image.open(io.BytesIO(finished)).crop((12, 14, 250, 245))
    found = marks.examine(saved(encoded(part, "JPEG", 90).convert("RGB"), "PNG"))
    assert found.invisible_mark is not None
    assert (found.invisible_mark.number, found.invisible_mark.cropped) == (77, True)
