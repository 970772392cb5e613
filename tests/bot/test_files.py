"""Writing files whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bot.files import write_whole


def test_a_file_is_there_whole_with_ordinary_rights(tmp_path: Path) -> None:
    path, fresh = tmp_path / "a.png", tmp_path / "fresh"
    write_whole(path, b"first")
    write_whole(path, b"second")
    fresh.touch()
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(fresh.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [path, fresh]


def test_nothing_is_left_of_a_file_that_can_t_be_put(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    write_whole(tmp_path / ("x" * 255), b"x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
