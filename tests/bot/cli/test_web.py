from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest

from bot.chat import Place, Requester
from bot.cli.main import run
from bot.cli.outcome import Exit
from bot.settings import Settings
from bot.store import Store
from tests.bot.test_store import allow, row


def give(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))


async def ask_for_a_picture(home: Path) -> None:
    """What is kept of somebody with the account ada who asked for a picture."""
    person = Requester(platform="web", id="ada", name="ada")
    place = Place(platform="web", workspace="local", channel="ada")
    asked = row().model_copy(update={"requester": person, "place": place})
    async with Store.open(Settings(home=home).database) as store:
        await store.jobs.accept(asked, new_id=lambda: "j1", judge=allow)


def test_accounts_are_added_listed_changed_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["web", "user", "list"]) == Exit.DELIVERED
    assert "easel web user add" in capsys.readouterr().out
    give(monkeypatch, "correct horse")
    assert run(["web", "user", "add", "Ada", "--role", "moderator", "--password-stdin"]) == Exit.DELIVERED
    assert "ada was added as moderator" in capsys.readouterr().out
    give(monkeypatch, "another horse")
    assert run(["web", "user", "password", "ada", "--password-stdin"]) == Exit.DELIVERED
    capsys.readouterr()
    assert run(["web", "user", "list", "--json"]) == Exit.DELIVERED
    assert json.loads(capsys.readouterr().out) == {"accounts": [{"name": "ada", "role": "moderator"}]}
    assert run(["web", "user", "remove", "ada"]) == Exit.DELIVERED
    assert run(["web", "user", "remove", "ada"]) == Exit.INPUT
    assert "no account" in capsys.readouterr().err


def test_a_weak_password_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    give(monkeypatch, "short")
    assert run(["web", "user", "add", "ada", "--password-stdin"]) == Exit.INPUT
    assert "10 to 200 characters" in capsys.readouterr().err


def test_without_a_terminal_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, "correct horse")
    assert run(["web", "user", "add", "ada"]) == Exit.INPUT
    assert "--password-stdin" in capsys.readouterr().err


def test_a_name_can_be_given_again_once_its_history_was_deleted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    give(monkeypatch, "correct horse")
    assert run(["web", "user", "add", "ada", "--password-stdin"]) == Exit.DELIVERED
    asyncio.run(ask_for_a_picture(home))
    assert run(["web", "user", "remove", "ada"]) == Exit.DELIVERED
    give(monkeypatch, "correct horse")
    assert run(["web", "user", "add", "ada", "--password-stdin"]) == Exit.INPUT
    assert "--forget" in capsys.readouterr().err
    assert run(["web", "user", "remove", "ada", "--forget"]) == Exit.DELIVERED
    assert "Deleted: 1 job" in capsys.readouterr().out
    assert run(["web", "user", "remove", "ada", "--forget"]) == Exit.INPUT
    give(monkeypatch, "correct horse")
    assert run(["web", "user", "add", "ada", "--password-stdin"]) == Exit.DELIVERED
