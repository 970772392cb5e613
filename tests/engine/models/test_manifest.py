from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StorageError
from engine.models.manifest import SAMPLE_BYTES, SAMPLES, FileRecord, Manifest, fingerprint, sha256_of

LARGE = SAMPLES * SAMPLE_BYTES * 3


def manifest_of(folder: Path) -> Manifest:
    files = {path.name: FileRecord(size=path.stat().st_size, sha256=sha256_of(path)) for path in folder.iterdir()}
    return Manifest(repo="a/b", revision="c" * 40, files=files)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"123")
    manifest = manifest_of(tmp_path)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert [path.name for path in tmp_path.glob("manifest*")] == ["manifest.json"]


def test_completeness_is_judged_by_length(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"123")
    manifest = manifest_of(tmp_path)
    assert manifest.complete(tmp_path)
    (tmp_path / "weights").write_bytes(b"12")
    assert not manifest.complete(tmp_path)
    (tmp_path / "weights").unlink()
    assert not manifest.complete(tmp_path)


@given(st.binary(max_size=200))
def test_no_damage_to_a_manifest_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "manifest.json").write_bytes(content)
    assert Manifest.read(folder) is None


def test_a_fingerprint_is_of_content_wherever_it_lies(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "weights").write_bytes(os.urandom(0) + b"x" * LARGE)
    os.utime(tmp_path / "there" / "weights", (0, 0))
    assert fingerprint([tmp_path / "here" / "weights"]) == fingerprint([tmp_path / "there" / "weights"])


@pytest.mark.parametrize("size", [0, 1, SAMPLE_BYTES, SAMPLES * SAMPLE_BYTES, LARGE])
def test_a_fingerprint_changes_with_content_length_and_name(tmp_path: Path, size: int) -> None:
    path = tmp_path / "weights"
    prints = set()
    for content in (bytes(size), b"\1" * size, bytes(size + 1)):
        path.write_bytes(content)
        prints.add(fingerprint([path]))
    prints.add(fingerprint([path.rename(tmp_path / "others")]))
    assert len(prints) == (4 if size else 3)


def test_the_last_byte_of_a_large_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(LARGE))
    before = fingerprint([path])
    path.write_bytes(bytes(LARGE - 1) + b"\1")
    assert fingerprint([path]) != before


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be read"):
        fingerprint([tmp_path / "absent"])
