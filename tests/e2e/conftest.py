"""Real processes of the `easel` command, in a folder and with a home of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 100.0
"""Seconds after which a process has hung."""
LONG = 100
"""Steps of a picture that is to be killed while it is drawn. The first one shown may be a second late, and forty are
drawn in less on a fast machine."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A home, and a folder to work in."""

    home: Path
    work: Path

    def environment(self, **settings: str) -> dict[str, str]:
        """This process's, without its settings; nothing is compiled, which takes longer than all that is drawn here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "COV_"))}
        return {**kept, "EASEL_COMPILE": "off", "EASEL_HOME": str(self.home), "PYTHONPATH": str(ROOT), **settings}

    def start(self, *arguments: str, python: tuple[str, ...] = (), **settings: str) -> subprocess.Popen[str]:
        """Start a command, its three streams piped."""
        return subprocess.Popen(
            [sys.executable, *python, "-m", "bot", *arguments],
            cwd=self.work,
            env=self.environment(**settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, text: str = "", python: tuple[str, ...] = (), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        with self.start(*arguments, python=python, **settings) as process:
            out, err = process.communicate(text, TIMEOUT)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Installation]:
    """Makes a fresh installation."""

    def make() -> Installation:
        folder = tmp_path_factory.mktemp("easel")
        (folder / "work").mkdir()
        return Installation(home=folder / "home", work=folder / "work")

    return make


@pytest.fixture(scope="module")
def shared(install: Callable[[], Installation]) -> Installation:
    """One installation for those tests of a module that don't break theirs."""
    return install()
