from __future__ import annotations

import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import credentials
from engine.credentials import CERTIFICATE, KEY, Credentials
from engine.errors import CredentialsError
from engine.types import CredentialState

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def picture(kind: str = "PNG", color: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), color).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("home") / "credentials")


@pytest.fixture(scope="module")
def signed(own: Credentials) -> bytes:
    return own.sign(picture())


@pytest.mark.parametrize("kind", KINDS)
def test_says_that_a_model_made_it(own: Credentials, kind: str) -> None:
    data = own.sign(picture(kind), KINDS[kind])
    told = own.read(data, KINDS[kind])
    assert told.state is CredentialState.OWN
    assert told.generator == "Easel"
    assert told.source_type == "trainedAlgorithmicMedia"
    assert told.signer == "Easel installation"
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.tobytes() == Image.open(io.BytesIO(picture(kind))).tobytes()


def test_a_file_without_credentials(own: Credentials) -> None:
    assert own.read(picture(), "image/png").state is CredentialState.ABSENT
    assert own.read(picture() + b"jumb c2pa", "image/png").state is not CredentialState.OWN


def test_another_installation_does_not_know_the_signer(signed: bytes, tmp_path: Path) -> None:
    told = Credentials(tmp_path / "other").read(signed, "image/png")
    assert told.state is CredentialState.UNKNOWN_SIGNER
    assert told.source_type == "trainedAlgorithmicMedia"
    assert not (tmp_path / "other").exists()


def test_a_changed_pixel_shows(own: Credentials, signed: bytes) -> None:
    place = signed.rindex(b"IDAT") + 20
    tampered = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
    assert own.read(tampered, "image/png").state is CredentialState.TAMPERED


def test_credentials_of_one_picture_do_not_fit_another(own: Credentials, signed: bytes) -> None:
    start = signed.index(b"caBX") - 4
    chunk = signed[start : start + 12 + int.from_bytes(signed[start : start + 4], "big")]
    other = picture(color="red")
    place = 8 + 25  # behind the signature and IHDR
    assert own.read(other[:place] + chunk + other[place:], "image/png").state is CredentialState.TAMPERED


def test_encoding_anew_loses_them(own: Credentials, signed: bytes) -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(signed)).save(file, "JPEG")
    assert own.read(file.getvalue(), "image/jpeg").state is CredentialState.ABSENT


def test_the_key_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "credentials"
    Credentials(folder).sign(picture())
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600
    before = (folder / CERTIFICATE).read_bytes()
    assert Credentials(folder).read(Credentials(folder).sign(picture()), "image/png").state is CredentialState.OWN
    assert (folder / CERTIFICATE).read_bytes() == before


def test_many_threads_make_one_certificate(tmp_path: Path) -> None:
    files: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: files.append(Credentials(tmp_path / "shared").sign(picture())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {Credentials(tmp_path / "shared").read(file, "image/png").state for file in files} == {CredentialState.OWN}
    assert len(files) == 4


def test_the_operators_certificate_signs(tmp_path: Path) -> None:
    certificate, key = credentials._make()
    (tmp_path / "mine.pem").write_bytes(certificate)
    (tmp_path / "mine.key").write_bytes(key)
    mine = Credentials(tmp_path / "own", certificate=tmp_path / "mine.pem", key=tmp_path / "mine.key")
    mine.check()
    assert mine.read(mine.sign(picture()), "image/png").state is CredentialState.OWN
    assert not (tmp_path / "own").exists()
    assert len(mine.fingerprint) == 16
    assert Credentials(tmp_path / "own").fingerprint == ""


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "one.pem").write_bytes(credentials._make()[0])
    (tmp_path / "other.key").write_bytes(credentials._make()[1])
    (tmp_path / "text").write_text("no certificate")
    one, other, text = (tmp_path / name for name in ("one.pem", "other.key", "text"))
    with pytest.raises(CredentialsError, match="belong together: set both"):
        Credentials(tmp_path, certificate=one).check()
    with pytest.raises(CredentialsError, match="No such file"):
        Credentials(tmp_path, certificate=tmp_path / "missing", key=other).check()
    with pytest.raises(CredentialsError, match="PEM"):
        Credentials(tmp_path, certificate=text, key=other).check()
    with pytest.raises(CredentialsError, match="don't belong together"):
        Credentials(tmp_path, certificate=one, key=other).sign(picture())


def test_an_expired_certificate_signs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Long:  # noqa: ARG003
            return cls.fromtimestamp((datetime.now(UTC) - timedelta(days=4000)).timestamp(), UTC)

    monkeypatch.setattr(credentials, "datetime", Long)
    certificate, key = credentials._make()
    monkeypatch.undo()
    (tmp_path / "old.pem").write_bytes(certificate)
    (tmp_path / "old.key").write_bytes(key)
    with pytest.raises(CredentialsError, match="expired on"):
        Credentials(tmp_path, certificate=tmp_path / "old.pem", key=tmp_path / "old.key").sign(picture())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CredentialsError, match="can't be written to"):
        Credentials(tmp_path / "file" / "credentials").sign(picture())


def test_what_is_no_picture_cannot_be_signed(own: Credentials) -> None:
    with pytest.raises(CredentialsError, match="could not be signed"):
        own.sign(b"not a picture")


def without_manifest(png: bytes) -> bytes:
    """The file without the chunk that holds its credentials."""
    start = png.index(b"caBX") - 4
    return png[:start] + png[start + 12 + int.from_bytes(png[start : start + 4]) :]


def passes(changed: bytes, own: Credentials, signed: bytes, kind: str = "image/png") -> bool:
    """Whether a changed file passes for ours although it shows another picture, or says other things of it.

    Some bytes of a manifest are signed by nobody, such as the zeros in the signature's unprotected header that keep
    room for a time stamp (C2PA, ``pad``); a file that differs in these alone is rightly taken for ours.
    """
    told = own.read(changed, kind)
    if told.state is not CredentialState.OWN:
        return False
    return told != own.read(signed, "image/png") or without_manifest(changed) != without_manifest(signed)


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_hostile_files_never_pass_for_ours(own: Credentials, signed: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(signed)))
    junk = data.draw(st.binary(min_size=1, max_size=40))
    changed = signed[:cut] + junk + signed[cut + data.draw(st.integers(0, 60)) :]
    assert not passes(changed, own, signed, data.draw(st.sampled_from(sorted(KINDS.values()))))


def test_one_flipped_bit_never_passes_for_ours(own: Credentials, signed: bytes) -> None:
    for at in range(0, len(signed), 11):
        changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
        assert not passes(changed, own, signed), at


def test_a_changed_padding_is_no_forgery(own: Credentials, signed: bytes) -> None:
    padding = signed.index(bytes(100))
    changed = signed[:padding] + b"\1" + signed[padding + 1 :]
    assert own.read(changed, "image/png") == own.read(signed, "image/png")


def test_truncated_files_never_pass_for_ours(own: Credentials, signed: bytes) -> None:
    for length in range(0, len(signed), 97):
        assert own.read(signed[:length], "image/png").state is not CredentialState.OWN
