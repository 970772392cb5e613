"""Databases of earlier versions are brought up to date, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from bot.app import running
from bot.settings import Settings
from bot.store import Store, database
from bot.store.rows import JobState
from tests.bot.talk import ADA, HERE, MODERATOR, made, reply
from tests.fakes.engine_client import ScriptedEngine

REQUEST = """{"prompt":"a cat","negative_prompt":"","steps":4,"guidance":3.0,"width":64,"height":64,"seed":7,
"sampler":"euler","model":"emoji","style":null,"quality":"exact","strict":false,"watermark":true,"watermark_text":null,
"watermark_position":null,"watermark_opacity":null,"watermark_size":null,"watermark_color":null,
"watermark_margin":null,"force":false}"""
"""As version 0.1 wrote it."""


def old_database(path: Path) -> None:
    """What version 0.1 left behind: a delivered job, a ban, a role and the log."""
    script = (files("bot") / "migrations" / "0001_initial.sql").read_text("utf-8")
    with closing(sqlite3.connect(path)) as old:
        old.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = 1;\nCOMMIT;")
        old.execute(
            """INSERT INTO jobs VALUES ('0a1b2c3d', 'test', 'e-old', 'w1', 'c1', NULL, 'test:ada', 'Ada', 'member',
               'en', '', 'imagine', ?, ?, 0, 'delivered', 0, 'gone', NULL, 1000.0, 1000.0)""",
            (f"[{REQUEST}]", f"[{REQUEST}]"),
        )
        old.execute(
            """INSERT INTO pictures VALUES ('0a1b2c3d', 0, 'rendered', 'k', 'g', '7', 'none', '{}', NULL, NULL, NULL)"""
        )
        old.execute("INSERT INTO deliveries VALUES ('0a1b2c3d', 1, 'nonce', 'delivered', 'message', 1)")
        old.execute("INSERT INTO usage VALUES ('test:ada', '2026-01-01', 'test:w1', 3)")
        old.execute("INSERT INTO bans VALUES ('test:eve', 'test:w1', 'rude', NULL, 'test:mod', 1000.0)")
        old.execute("INSERT INTO roles VALUES ('test:bob', 'test:w1', 'moderator', 'test:mod', 1000.0)")
        old.execute(
            "INSERT INTO audit VALUES (1, 900.0, 'test:mod', 'appeal.denied', 'p', 'test:w1', '7f3a: a: secret')"
        )
        old.execute("INSERT INTO audit VALUES (2, 1000.0, 'test:mod', 'ban', 'test:eve', 'test:w1', 'rude: very')")
        old.commit()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    old_database(settings.database)
    return settings


async def test_a_database_of_the_first_version_is_brought_up_to_date(settings: Settings) -> None:
    async with Store.open(settings.database) as store:
        job = await store.jobs.get("0a1b2c3d")
        await store.check()
    assert job is not None
    assert (job.state, job.charged, job.private) == (JobState.DELIVERED, True, False)
    assert (job.requests[0].prompt, job.requests[0].variations, job.requests[0].image) == ("a cat", (), None)
    assert job.pictures[0].stands
    with closing(sqlite3.connect(settings.database)) as upgraded:
        assert upgraded.execute("PRAGMA user_version").fetchone() == (len(database._migrations()),)
        details = upgraded.execute("SELECT detail FROM audit ORDER BY id").fetchall()
    assert details == [("7f3a",), ("rude: very",)], "prompts of appeals are in the log no more"


async def test_old_jobs_do_all_that_new_ones_do(settings: Settings) -> None:
    async with running(settings, ScriptedEngine()) as app:
        assert [job["job"] for job in (await reply(app, "history")).data["jobs"]] == ["0a1b2c3d"]
        assert (await made(app, "vary", "0a1b2c3d")).pictures[0].image.request.seed == 7
        assert (await app.dispatcher.home(ADA, HERE)).recent[-1].id == "0a1b2c3d"
        assert (await reply(app, "moderation", "bans", who=MODERATOR)).data["bans"][0]["person"] == "test:eve"
        assert (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"][0]["detail"] == "rude: very"
        assert (await reply(app, "forget-me", "confirm")).data["jobs"] == 2


async def test_two_processes_that_start_at_once_upgrade_once(settings: Settings) -> None:
    async with Store.open(settings.database) as first, Store.open(settings.database) as second:
        assert (await first.jobs.get("0a1b2c3d")) == (await second.jobs.get("0a1b2c3d"))


def test_numbers_of_migrations_have_no_gap() -> None:
    names = sorted(file.name for file in (files("bot") / "migrations").iterdir() if file.name.endswith(".sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
