"""Starting and stopping an installation, with the real engine and its metrics."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest

from bot import app
from bot.errors import DatabaseError, SettingsError
from bot.settings import Settings
from tests.fakes.engine_client import ScriptedEngine


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def test_scrapes_are_answered_on_loopback_until_it_stops(tmp_path: Path, free_port: int) -> None:
    async with app.running(Settings(home=tmp_path, metrics_port=free_port)):
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5) as response:  # noqa: ASYNC210
            text = response.read()
        assert b"easel_queue_jobs 0.0" in text
        assert b"easel_process_memory_bytes" in text
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", free_port), timeout=5)


async def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port}"):
            async with app.running(Settings(home=tmp_path, metrics_port=port)):
                raise AssertionError("it must not start")


async def test_without_a_port_nothing_listens(tmp_path: Path, free_port: int) -> None:
    async with app.running(Settings(home=tmp_path), ScriptedEngine()):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", free_port), timeout=5)


async def test_a_start_that_fails_half_way_closes_what_it_opened(tmp_path: Path) -> None:
    (tmp_path / "easel.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    engine = ScriptedEngine()
    with pytest.raises(DatabaseError, match="damaged"):
        async with app.running(Settings(home=tmp_path), engine):
            raise AssertionError("it must not start")
    assert engine.closed
