from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, running
from bot.settings import Settings
from tests.fakes.engine_client import ScriptedEngine


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, daily_pictures=10, batch_limit=3)


@pytest.fixture
async def app(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(settings, engine) as app:
        yield app
