from __future__ import annotations

import io
import json

import pytest

from bot.cli.main import run
from bot.cli.outcome import Exit


def give(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))


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
