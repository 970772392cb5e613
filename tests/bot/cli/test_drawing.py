"""Commands that draw, from the command line to the file, with the bundled model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.cli.main import run
from bot.handlers.cache import ACTIONS

QUICK = ("--steps", "2", "--size", "128")


def drawn(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_picture_then_the_cache_and_what_can_be_done_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    first = drawn(capsys, "imagine", "a red apple", "--seed", "7", "-o", "a.png", *QUICK)
    assert (first["status"], first["file"], first["seed"], first["width"]) == ("delivered", "a.png", 7, 128)
    assert first["cached"] == "none"
    with Image.open("a.png") as image:
        assert image.size == (128, 128)

    again = drawn(capsys, "imagine", "a red apple", "--seed", "7", "-o", "b.png", *QUICK)
    assert (again["cached"], again["key"]) == ("finished", first["key"])
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()

    key = str(first["key"])
    assert drawn(capsys, "cache", "stats")["finished"] == 1
    assert drawn(capsys, "cache", "show", key[:12])["prompt"] == "a red apple"
    assert [entry["key"] for entry in drawn(capsys, "cache", "list", "apple")["entries"]] != []
    assert drawn(capsys, "cache", "verify")["damaged"] == []
    verification = drawn(capsys, "verify", "a.png")
    assert (verification["intact"], verification["made_here"]) == (True, True)
    assert run(["verify", "a.png"]) == 0
    assert "a red apple" in capsys.readouterr().out
    assert drawn(capsys, "cache", "delete", key)["removed"] == 1
    assert drawn(capsys, "cache", "purge-user", "cli:operator")["removed"] == 1
    assert drawn(capsys, "cache", "clear", "--yes")["removed"] == 0
    assert run(["cache", "show", key]) == 2
    assert key[:12] in capsys.readouterr().err


def test_a_batch_with_a_refusal_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a cat\nporn\n", "utf-8")
    found = drawn(capsys, "batch", "prompts.txt", "-o", "out/here", "--strict", *QUICK, code=3)
    first, second = found["pictures"]
    assert (found["status"], first["status"], second["status"]) == ("refused", "delivered", "refused")
    assert (second["refused_by"], second["file"]) == ("keywords", None)
    assert [str(path) for path in Path("out/here").iterdir()] == [first["file"]]


def test_a_batch_has_as_many_prompts_as_the_chats_would_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a cat\u2028on a mat\r\na dog\ra cow\n", "utf-8")
    found = drawn(capsys, "batch", "prompts.txt", "-o", "out", *QUICK)
    assert [picture["status"] for picture in found["pictures"]] == ["delivered"] * 3


def test_damaged_files_are_told_by_the_exit_code(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    key = drawn(capsys, "imagine", "a red apple", *QUICK)["key"]
    (file,) = home.rglob(f"{key}.png")
    file.write_bytes(b"nonsense")
    assert drawn(capsys, "cache", "verify", code=1)["damaged"] == [key]
    assert run(["cache", "verify"]) == 0


def test_machines_get_an_object_where_the_cache_gives_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "show", "0" * 12, "--json"]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["status"], found["reason"]) == ("failed", captured.err.strip())
    assert "0" * 12 in found["reason"]


def test_people_read_where_the_picture_is_and_how_it_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["imagine", "a red apple", "--seed", "7", *QUICK]) == 0
    captured = capsys.readouterr()
    saved, caption, *notes = captured.out.splitlines()
    assert Path(saved.removeprefix("Saved ")).is_file()
    assert "seed 7" in caption
    assert any("small bundled model" in note for note in notes)
    assert captured.err == ""


def test_people_read_why_a_picture_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["imagine", "porn", "--strict", "-o", "a.png"]) == 3
    captured = capsys.readouterr()
    assert (captured.out, Path("a.png").exists()) == ("", False)
    assert "word filter refused" in captured.err


def test_a_damaged_file_is_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    code = run(["verify", "a.png"])
    captured = capsys.readouterr()
    assert code in (1, 2)
    assert "Traceback" not in captured.out + captured.err


def test_every_action_of_the_chat_command_is_a_command_here() -> None:
    from bot.cli.storage import app

    assert {command.name for command in app.registered_commands} == set(ACTIONS)


def test_downloads_report_a_line_a_file_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from bot.cli.view import fetching

    with fetching() as report:
        for done in (0, 10, 20):
            report("unet.safetensors", done, 20)
        report("", 20, 20)
    assert capsys.readouterr().err.splitlines() == ["unet.safetensors (0 B / 20 B)"]
    assert run(["fetch", "emoji"]) == 0
    assert "emoji is on this machine" in capsys.readouterr().out
