"""An installation of its own for every test, and logging as it was before."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    logging_as_before: None,
) -> Path:
    """A home that is not there yet; the working folder is another one, without easel.toml."""
    folder = tmp_path_factory.mktemp("installation") / "home"
    monkeypatch.setenv("EASEL_HOME", str(folder))
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    return folder
