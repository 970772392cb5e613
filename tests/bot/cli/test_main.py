"""Whatever goes wrong: one sentence on standard error, the right exit code, never a traceback."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from bot.cli.main import run


def failed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """Run a command that must fail, and return its one sentence."""
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (sentence,) = captured.err.splitlines()
    assert "Traceback" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ""),
        (("imagine",), "Missing argument 'PROMPT'. See `easel imagine --help`."),
        (("imagine", "x", "--bogus"), "No such option: --bogus"),
        (("imagine", "x", "--steps"), "Option '--steps' requires an argument."),
        (("verify", "x", "y"), "Got unexpected extra argument(s) (y). See `easel verify --help`."),
        (("imagne", "x"), "No such command 'imagne'. Did you mean 'imagine'?"),
        (("cache", "show"), "Missing argument 'KEY'."),
        (("batch", "missing.txt"), '"missing.txt" can\'t be read: no such file or directory.'),
        (("batch", "."), "can't be read: is a directory."),
        (("verify", "missing.png"), '"missing.png" can\'t be read: no such file or directory.'),
        (("imagine", "x", "-o", "x.jpg"), '--output takes the name of a .png file, not "x.jpg".'),
        (("imagine", "x", "-o", ""), '--output takes the name of a .png file, not "".'),
        (("imagine", "x", "-o", "."), '--output takes the name of a .png file, and "." is a folder.'),
        (("imagine", "x", "-o", "a" * 5_000 + ".png"), "can't be written: file name too long."),
        (("imagine", "x", "-o", "~nobody-at-all/x.png"), "can't be written: no such file or directory."),
        (("verify", "/dev/zero"), '"/dev/zero" is too long'),
        (("cache", "clear"), "add --yes"),
        (("cache", "purge-user", "someone"), "write it as discord:ID."),
        (("serve",), "No chat is set up"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str) -> None:
    if not arguments:
        assert run(arguments) == 2
        assert capsys.readouterr().err.startswith("Usage: easel [OPTIONS] COMMAND")
        return
    assert expected.lower() in failed(capsys, *arguments).lower()


BAD_REQUESTS = {
    "empty prompt": ((" ",), "Say what the picture should show"),
    "long prompt": (("x" * 5_000,), "at most 2000 characters; this one has 5000"),
    "control characters": (("a\x07b",), "must not hold control characters"),
    "size of 7": (("x", "--size", "7x7"), "--size takes WIDTHxHEIGHT, each a multiple of 8 from 64 to 2048"),
    "width not a multiple": (("x", "--width", "257"), "--width takes a multiple of 8 from 64 to 2048, not 257."),
    "size beyond the model": (("x", "--size", "1024x1024"), "The model emoji draws"),
    "no steps": (("x", "--steps", "0"), "--steps takes a whole number from 1 to 100, not 0."),
    "too many steps": (("x", "--steps", "1000"), "--steps takes a whole number from 1 to 100, not 1000."),
    "steps in words": (("x", "--steps", "many"), '--steps takes a whole number from 1 to 100, not "many"'),
    "guidance of nan": (("x", "--guidance", "nan"), '--guidance takes a number from 0 to 30, not "nan"'),
    "seed beyond 64 bits": (("x", "--seed", str(2**64)), "--seed takes a whole number from 0 to 18446744073709551615"),
    "unknown sampler": (("x", "--sampler", "magic"), "--sampler is one of ddim, euler, euler_a"),
    "unknown model": (("x", "--model", "magic"), 'There is no model "magic" here, only emoji; the operator'),
    "mark longer than the picture": (
        ("x", "--watermark-text", "W" * 60, "--watermark-size", "99"),
        "The watermark needs",
    ),
    "unknown style": (("x", "--style", "magic"), 'There is no style "magic"; the styles are'),
    "opacity of 2": (("x", "--watermark-opacity", "2"), "--watermark-opacity takes a number from 0 to 1, not 2."),
    "bad colour": (("x", "--watermark-color", "red"), '--watermark-color takes a colour like #rrggbb, not "red"'),
    "size twice": (("x", "--size", "128x128", "--width", "128"), "Give either --size, or --width and --height."),
}


@pytest.mark.parametrize(("arguments", "expected"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_requests(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str) -> None:
    assert expected in failed(capsys, "imagine", *arguments)


def test_a_batch_of_none_and_of_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    Path("none.txt").write_text("\n  \n")
    Path("many.txt").write_text("a cat\n" * 11)
    assert "at least one prompt" in failed(capsys, "batch", "none.txt")
    assert "at most 10 prompts; this one has 11" in failed(capsys, "batch", "many.txt")


def test_a_list_that_is_no_text_or_endless(capsys: pytest.CaptureFixture[str]) -> None:
    Path("binary.txt").write_bytes(b"\xff\xfe\x00")
    assert "is not a text in UTF-8" in failed(capsys, "batch", "binary.txt")
    assert "is too long" in failed(capsys, "batch", "/dev/zero")


def test_standard_input_that_is_no_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    assert "standard input is not a text" in failed(capsys, "batch", "-")


def test_machines_get_an_object_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["imagine", "x", "--steps", "0", "--json"]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["status"] == "failed"
    assert found["reason"] == captured.err.strip()
    assert run(["imagine", "x", "-o", "x.gif", "--json"]) == 2
    assert json.loads(capsys.readouterr().out).keys() == found.keys()


def test_wrong_settings_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_MAX_BATCH", "99")
    sentence = failed(capsys, "cache", "stats")
    assert "max_batch" in sentence
    assert "99" in sentence


def test_a_home_that_can_t_be_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", "/proc/easel")
    sentence = failed(capsys, "cache", "stats")
    assert "/proc/easel can't be written" in sentence
    assert "EASEL_HOME" in sentence


def test_a_corrupt_database(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    home.mkdir()
    (home / "easel.db").write_bytes(b"This is no database." * 500)
    assert str(home / "easel.db") in failed(capsys, "cache", "stats", code=4)


def test_an_unknown_model_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is nothing to fetch for 'magic'" in failed(capsys, "fetch", "magic")
