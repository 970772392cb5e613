"""The set-up that all scripts share: when it does nothing, and what it says when it can't do its work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without .venv."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/_env.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def bash(checkout: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command after scripts/_env.sh was sourced, with a Python that is none."""
    return subprocess.run(
        ["bash", "-c", f". scripts/_env.sh; {command}"],
        cwd=checkout,
        env={"PATH": "/usr/bin:/bin", "EASEL_PYTHON": "no-such-python"},
        capture_output=True,
        text=True,
        check=False,
    )


def stamp(checkout: Path, extras: str) -> None:
    (checkout / ".venv").mkdir(exist_ok=True)
    assert bash(checkout, f'{{ fingerprint; echo "{extras}"; }} >"$STAMP"').returncode == 0


def test_without_a_python_it_says_what_is_needed(checkout: Path) -> None:
    done = bash(checkout, "ensure engine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Easel needs Python 3.11 or newer: install it, or name it in EASEL_PYTHON.\n"


def test_what_is_installed_is_not_installed_again(checkout: Path) -> None:
    stamp(checkout, "dev engine")
    done = bash(checkout, "ensure engine && echo ready")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


@pytest.mark.parametrize("change", ["constraints.txt", "pyproject.toml", "another extra"])
def test_a_change_sets_up_again(checkout: Path, change: str) -> None:
    stamp(checkout, "dev engine")
    if change == "another extra":
        assert bash(checkout, "ensure engine web").returncode == 1
        return
    path = checkout / change
    path.write_text("# changed\n" + path.read_text("utf-8"), "utf-8")
    assert bash(checkout, "ensure engine").returncode == 1


def test_settings_of_tools_don_t_set_up_again(checkout: Path) -> None:
    stamp(checkout, "dev engine")
    with (checkout / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.other]\nkey = 1\n")
    assert bash(checkout, "ensure engine").returncode == 0


SCRIPTS = sorted(path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_can_be_parsed_and_started(name: str) -> None:
    path = ROOT / "scripts" / name
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
