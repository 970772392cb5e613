"""Writing pictures: whole or not at all, and one sentence where it can't be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cli import files
from bot.errors import BadInputError


@pytest.mark.parametrize("given", ["apple.jpg", "apple", "apple.png.gif", "-"])
def test_only_png_files_are_taken(given: str) -> None:
    with pytest.raises(BadInputError, match=r"--output takes the name of a \.png file"):
        files.checked_file(given)


@pytest.mark.parametrize("given", ["apple.png", "APPLE.PNG", "./a b.png"])
def test_a_png_file_in_a_folder_that_can_be_written_is_taken(given: str) -> None:
    assert files.checked_file(given) == Path(given)
    assert not Path(given).exists()


def test_a_folder_a_missing_folder_and_a_folder_that_is_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="is a folder"):
        files.checked_file(str(tmp_path / "folder.png"))
    with pytest.raises(BadInputError, match="can't be written: no such file or directory"):
        files.checked_file(str(tmp_path / "missing" / "apple.png"))
    with pytest.raises(BadInputError, match="can't be written: not a directory"):
        files.checked_file(str(tmp_path / "file" / "apple.png"))
    with pytest.raises(BadInputError, match="--output takes a folder here"):
        files.checked_folder(str(tmp_path / "file"))


def test_a_folder_without_a_name_is_refused() -> None:
    with pytest.raises(BadInputError, match="--output needs the name of a folder"):
        files.checked_folder("")


def test_the_longest_name_that_the_disk_takes_is_written(tmp_path: Path) -> None:
    path = files.checked_file(str(tmp_path / ("a" * 251 + ".png")))
    files.write(path, b"picture")
    assert path.read_bytes() == b"picture"


def test_a_folder_is_made(tmp_path: Path) -> None:
    assert files.checked_folder(str(tmp_path / "a" / "b")).is_dir()


def test_nothing_is_left_where_the_file_can_t_be_put(tmp_path: Path) -> None:
    (tmp_path / "apple.png").mkdir()
    with pytest.raises(BadInputError, match="can't be written"):
        files.write(tmp_path / "apple.png", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["apple.png"]


def test_a_free_name_never_hits_a_file_and_never_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a-2.png").touch()
    assert files.free_name(tmp_path, "a.png").name == "a-3.png"
    assert files.free_name(tmp_path, "b.png").name == "b.png"
    assert files.free_name(tmp_path, "../../b.png").parent == tmp_path
