"""`easel doctor` on installations that are well and on broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli.main import run


def test_a_fresh_installation_is_well(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert [check["name"] for check in found["checks"]][:4] == ["settings", "home", "database", "extras"]
    assert {"weights", "discord", "slack"} <= {check["name"] for check in found["checks"]}
    assert not (home / "easel.db").exists()


def test_words_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_MODEL", "sd15")
    monkeypatch.setenv("EASEL_TOXICITY_CHECK", "off")
    monkeypatch.setenv("EASEL_STEPZ", "20")
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "note   The settings can be read, but these variables are no settings: EASEL_STEPZ." in out
    assert "WRONG  The weights of sd15" in out
    assert "\n       Fetch them: easel fetch sd15" in out


def test_settings_that_can_t_be_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_WORKERS", "none")
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("WRONG  ")
    assert "workers" in out


def test_a_home_and_a_database_that_are_broken(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "easel.db").write_bytes(b"This is no database." * 500)
    assert run(["doctor", "--json"]) == 1
    states = {check["name"]: check["state"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (states["home"], states["database"]) == ("ok", "wrong")
    monkeypatch.setenv("EASEL_HOME", "/dev/null/easel")
    assert run(["doctor", "--json"]) == 1
    states = {check["name"]: check["state"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert states["home"] == "wrong"


def test_a_style_with_options_that_are_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {
        "neon": {"template": "{prompt}", "options": {"steps": 0}},
        "odd": {"template": "{prompt}", "options": {"stepz": 3}},
    }
    monkeypatch.setenv(
        "EASEL_STYLES", json.dumps({**broken, "fine": {"template": "{prompt}", "options": {"steps": 3}}})
    )
    assert run(["doctor", "--json"]) == 1
    wrong = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == "style"]
    assert [check["text"] for check in wrong] == [
        'The style "neon" can\'t be used: --steps takes a whole number from 1 to 100, not 0.',
        'The style "odd" can\'t be used: There is no option "stepz".',
    ]
    assert wrong[0]["mend"].startswith("Correct its options in easel.toml")


def test_an_extra_that_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.cli import doctor

    monkeypatch.setitem(doctor.EXTRAS, "engine", "no_such_module")
    assert run(["doctor", "--json"]) == 1
    (extras,) = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == "extras"]
    assert extras["mend"] == "Install them: pip install '.[engine]' in Easel's folder."


def test_a_token_that_is_not_taken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_DISCORD_TOKEN", "secret-token")
    monkeypatch.setenv("EASEL_DISCORD_API", "http://127.0.0.1:9")
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "The Discord token was not checked (" in out
    assert "secret-token" not in out
