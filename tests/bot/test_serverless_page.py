"""The web page on machines that come and go."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bot.serverless import page as serverless_page
from bot.serverless.keeper import Keeper
from bot.serverless.page import page
from bot.settings import Settings
from tests.bot.machine import Nowhere, found


def test_a_page_that_can_t_start_answers_so_until_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverless_page, "AGAIN_SECONDS", 0.0)
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "volume").mkdir()
    copy = tmp_path / "volume" / "easel.db"
    copy.write_bytes(b"torn")
    with TestClient(page(settings, Keeper(settings.database, tmp_path / "volume", Nowhere()))) as client:
        assert client.get("/").status_code == 503
        copy.unlink()
        while client.get("/sign-in").status_code == 503:
            pass
        assert client.get("/sign-in").status_code == 200


class Noted:
    """A volume that says when something was committed."""

    def __init__(self) -> None:
        self.committed = threading.Event()

    def commit(self) -> None:
        self.committed.set()

    def reload(self) -> None:
        """It is a folder of this machine."""


def test_what_makes_no_job_is_copied_at_once(tmp_path: Path) -> None:
    settings, volume = Settings(home=tmp_path / "home"), Noted()
    with TestClient(page(settings, Keeper(settings.database, tmp_path / "volume", volume))):
        volume.committed.clear()
        with closing(sqlite3.connect(settings.database)) as database:
            database.execute("INSERT INTO community_settings VALUES ('x:a', 'nsfw', '\"spoiler\"', 'x:1', 0.0)")
            database.commit()
        while not found(tmp_path / "volume" / "easel.db", "SELECT name FROM community_settings"):
            assert volume.committed.wait(20)
            volume.committed.clear()
