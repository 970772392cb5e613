"""Commands that build an image."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path, PurePosixPath

from engine.models.baking import commands, packages, pinned
from engine.models.recipes import DETOXIFY, Recipe, WebFile


def test_detoxify_comes_from_pinned_files_that_are_checked() -> None:
    baked = commands(DETOXIFY, PurePosixPath("/opt/detoxify"))
    assert len(baked) == len(DETOXIFY.only) + len(DETOXIFY.extra)
    assert all("sha256sum --check" in command and "https://" in command for command in baked)
    assert f"resolve/{DETOXIFY.revision}/config.json" in baked[0]


def test_a_command_fetches_and_refuses_what_is_not_what_was_pinned(tmp_path: Path) -> None:
    source = tmp_path / "weights.bin"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    for name, sha256, expected in (("good", digest, True), ("bad", "0" * 64, False)):
        file = WebFile(url=source.as_uri(), path="deep/weights.bin", size=7, sha256=sha256)
        (command,) = commands(Recipe(repo="a/b", revision="main", extra=(file,)), PurePosixPath(tmp_path / name))
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        assert (done.returncode == 0) is expected
    assert (tmp_path / "good/deep/weights.bin").read_bytes() == b"weights"


def test_what_an_image_needs(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["b>=1"]\noptional-dependencies = {one = ["a", "b>=1"], two = ["c"]}\n'
    )
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\ntorchao==0.15\n")
    assert packages(tmp_path, "one") == ["a", "b>=1"]
    assert (pinned(tmp_path, "torch"), pinned(tmp_path, "numpy")) == ("torch==2.13.0", "numpy")


def test_a_container_has_no_such_files_and_needs_none(tmp_path: Path) -> None:
    assert packages(tmp_path, "one") == []
    assert pinned(tmp_path, "torch") == "torch"
