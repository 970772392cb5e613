"""A fake hub, and a fetch that waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.models.download import Downloader
from engine.models.fetch import fetch
from engine.settings import EngineSettings
from tests.engine.models.repository import FILES, REPO, Clock
from tests.fakes.hub import FakeHub, running


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running(FakeHub(repos={REPO: dict(FILES)}, cards={REPO: {"license": "openrail"}})) as hub:
        yield hub


@pytest.fixture
def settings(hub: FakeHub, tmp_path: Path) -> EngineSettings:
    return EngineSettings(home=tmp_path, hub_url=hub.url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def get(settings: EngineSettings, clock: Clock) -> Callable[..., Path]:
    def get(name: str = REPO, settings: EngineSettings = settings) -> Path:
        return fetch(name, settings, lambda *_: None, downloader=Downloader(pause=clock.pause))

    return get
