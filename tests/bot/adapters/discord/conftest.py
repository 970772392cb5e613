"""An installation with a scripted engine, and a Discord on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, running
from bot.settings import Settings
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_person import Person
from tests.fakes.engine_client import ScriptedEngine


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def discord() -> FakeDiscord:
    return FakeDiscord()


@pytest.fixture
def ada(discord: FakeDiscord) -> Person:
    return Person(discord)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", running_per_person=5)


@pytest.fixture
async def app(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(settings, engine) as app:
        yield app
