from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, running
from bot.jobs import sending
from bot.settings import Settings
from tests.contract.slack import SlackHarness
from tests.fakes.engine_client import ScriptedEngine


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BACKOFF_SECONDS", 0.0)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", running_per_person=5)


@pytest.fixture
async def app(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(settings, engine) as app:
        yield app


@pytest.fixture
def person() -> SlackHarness:
    return SlackHarness()
