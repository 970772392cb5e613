"""An installation of its own for every test, and logging as it was before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that is not there yet; the working folder is another one, without easel.toml."""
    folder = tmp_path_factory.mktemp("installation") / "home"
    monkeypatch.setenv("EASEL_HOME", str(folder))
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield folder
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
