"""`easel doctor` on installations that are well and on broken ones."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from grpclib.const import Status

from bot.cli.main import run
from tests.fakes.modal_control import ROOT, FakeModal


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


def test_weights_that_were_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "mine.ckpt").write_bytes(b"PK\x03\x04 and no more")
    monkeypatch.setenv("EASEL_MODEL", str(tmp_path / "mine.ckpt"))
    monkeypatch.setenv("EASEL_TOXICITY_CHECK", "off")
    assert run(["doctor"]) == 1
    assert f"WRONG  The weight file {tmp_path}/mine.ckpt is truncated or damaged" in capsys.readouterr().out


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


# With EASEL_ENGINE=modal, on a machine without torch.

WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "diffusers", "transformers", "onnxruntime", "safetensors")))
from bot.cli.main import run
sys.exit(run(["doctor", "--json"]))
"""


async def examined(home: Path, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code and checks of a process of its own: Modal's client reads its settings once."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "MODAL_"))}
    settings = {"EASEL_ENGINE": "modal", "EASEL_HOME": str(home), "MODAL_CONFIG_PATH": str(home / "modal.toml")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT_TORCH),
        env=plain | settings | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=home.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, {check["name"]: check for check in json.loads(output)["checks"]}


async def test_modal_without_a_token(home: Path) -> None:
    code, checks = await examined(home)
    assert code == 1
    assert checks["extras"]["state"] == "ok", "the bot's machine needs no torch"
    assert "no token" in checks["modal_token"]["text"]
    assert "modal token new" in checks["modal_token"]["mend"]
    assert "engine" not in checks


async def test_modal_with_a_token_that_is_refused(home: Path) -> None:
    async with FakeModal().serving() as control:
        control.refusals["*"] = Status.UNAUTHENTICATED
        code, checks = await examined(home, **control.tokens)
    assert (code, checks["modal_token"]["state"]) == (1, "wrong")


async def test_modal_without_the_app(home: Path) -> None:
    async with FakeModal().serving() as control:
        control.refusals |= dict.fromkeys(("ClassGet", "FunctionGet"), Status.NOT_FOUND)
        code, checks = await examined(home, **control.tokens)
    assert code == 1
    assert checks["modal"]["text"] == "The app easel is not deployed on Modal."
    assert "modal deploy modal_engine.py" in checks["modal"]["mend"]
    assert "as-1" not in str(checks), "no secret"


async def test_modal_that_is_not_answering(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, checks = await examined(
        home, MODAL_SERVER_URL="http://127.0.0.1:9", MODAL_TOKEN_ID="ak-1", MODAL_TOKEN_SECRET="as-1"
    )
    assert (code, checks["modal"]["state"]) == (0, "note")


@pytest.fixture
def undecided(tmp_path: Path) -> Path:
    """Settings of Modal's with two profiles, of which none is the active one."""
    path = tmp_path / "modal.toml"
    path.write_text('[one]\ntoken_id = "ak-1"\n[two]\ntoken_id = "ak-2"\n')
    return path


async def test_modal_s_own_settings_that_are_wrong(home: Path, undecided: Path) -> None:
    code, checks = await examined(home, MODAL_CONFIG_PATH=str(undecided))
    assert code == 1
    assert "set up" in checks["modal"]["text"]
    assert "profile" in checks["modal"]["mend"]
