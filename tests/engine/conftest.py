from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.cache import Cache
from engine.engine import Engine
from engine.settings import EngineSettings
from tests.engine.cache_entries import Clock
from tests.engine.ordering import Open
from tests.engine.scripted_pipeline import ScriptedPipeline


@pytest.fixture(scope="module", autouse=True)
def together() -> None:
    """Has the tests of a module run in one process, which compiles its kernels and makes its small models once."""


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline()


@pytest.fixture
def open_engine(tmp_path: Path, pipeline: ScriptedPipeline) -> Open:
    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Engine]:
        plain = {"home": tmp_path, "invisible_mark": False}  # so that tests may count on the pixels that were drawn
        engine = Engine(EngineSettings(**(plain | settings)), make_pipeline=pipeline)
        await engine.start()
        try:
            yield engine
        finally:
            pipeline.gate.set()
            await engine.close()

    return opened


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    """An empty cache with room for 1000 bytes."""
    cache = Cache(tmp_path, max_bytes=1000, clock=Clock())
    await cache.open()
    yield cache
    await cache.close()
