"""Settings from the environment and easel.toml, and the sentence that a wrong one gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings import SHIPPED_STYLES, Settings, load, unknown_variables


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without settings, and an environment without Easel's variables."""
    for name in ("EASEL_HOME", "EASEL_MODEL", "EASEL_GPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def toml(text: str) -> None:
    Path("easel.toml").write_text(text, encoding="utf-8")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    toml('model = "sd15"\nworkers = 3\n[toxicity]\nthreat = 0.1\n')
    monkeypatch.setenv("EASEL_MODEL", "sd21")
    monkeypatch.setenv("EASEL_TOXICITY__INSULT", "0.2")
    monkeypatch.setenv("EASEL_BLOCKED_WORDS", '["grommet"]')
    settings = load()
    assert (settings.model, settings.workers) == ("sd21", 3)
    assert (settings.toxicity.threat, settings.toxicity.insult, settings.toxicity.obscene) == (0.1, 0.2, 0.7)
    assert settings.blocked_words == ("grommet",)


def test_jobs_are_handed_over_as_many_as_are_drawn_at_once() -> None:
    assert Settings().jobs_at_once == 2
    assert Settings(engine="modal").jobs_at_once == 16, "four containers with four pictures each"
    assert Settings(engine="modal", workers=3).jobs_at_once == 3


def test_six_styles_are_shipped_and_an_operator_can_define_others() -> None:
    assert len(SHIPPED_STYLES) == 6
    toml('[styles.neon]\ntemplate = "{prompt}, neon"\nnegative_prompt = "dull"\noptions = { steps = 30 }\n')
    assert load().styles["neon"].options == {"steps": 30}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("EASEL_WORKERS", "0", "workers (input should be greater than or equal to 1, got '0')"),
        ("EASEL_WATERMARK_OPACITY", "2", "watermark_opacity"),
        ("EASEL_ENGINE", "cloud", "engine (input should be 'local' or 'modal', got 'cloud')"),
        ("EASEL_BLOCKED_WORDS", "not json", "blocked_words"),
        ("EASEL_TOXICITY__THREAT", "nan", "toxicity.threat"),
    ],
)
def test_a_wrong_variable_is_one_sentence(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert sentence in caught.value.sentence
    assert "\n" not in caught.value.sentence


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('web_url = "easel.example.org"', "web_url (it is http:// or https:// and a host, without a path, got"),
        ('discord_public_key = "abc"', "discord_public_key (it has 64 hexadecimal digits, got 'abc')"),
        ('watermark_color = "red"', "watermark_color (it is a colour like #ffffff, got 'red')"),
        ('[styles.x]\ntemplate = "no slot"', "styles.x.template (it needs {prompt} where the prompt is to stand"),
        ('[modal]\ngpus = ["A10:2"]', "modal.gpus.0 (it is a GPU as Modal names it"),
        ('[modal]\napp = "a b"', "modal.app (string should match pattern"),
    ],
)
def test_what_a_setting_looks_like_is_told(setting: str, told: str) -> None:
    toml(setting + "\n")
    with pytest.raises(SettingsError) as caught:
        load()
    assert told in caught.value.sentence


@pytest.mark.parametrize("text", ["model = ", "\x00", "model = 3", '[styles.x]\ntemplate = "no slot"'])
def test_a_damaged_file_is_one_sentence(text: str) -> None:
    toml(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert "\n" not in caught.value.sentence


def test_bytes_that_are_no_text_are_one_sentence() -> None:
    Path("easel.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"easel\.toml"):
        load()


def test_a_folder_in_the_place_of_the_file_is_one_sentence() -> None:
    Path("easel.toml").mkdir()
    with pytest.raises(SettingsError, match=r"easel\.toml can't be read: it is a folder"):
        load()


def test_a_misspelled_token_is_named_but_not_shown() -> None:
    toml('discord_tokn = "very secret"')
    with pytest.raises(SettingsError) as caught:
        load()
    assert "discord_tokn (there is no such setting)" in caught.value.sentence
    assert "secret" not in caught.value.sentence


def test_tokens_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_DISCORD_TOKEN", "very secret")
    settings = load()
    assert "very secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_variables_that_are_no_settings_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_GPU", "1")
    monkeypatch.setenv("EASEL_TOXICITY__THREAT", "0.5")
    monkeypatch.setenv("EASEL_MODLE", "sd15")
    assert unknown_variables() == ("EASEL_MODLE",)
