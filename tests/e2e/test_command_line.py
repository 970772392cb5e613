"""The main job in real processes: a picture, the same from the cache, a batch, and everything that can go wrong."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from engine.models.registry import EMOJI_FOLDER
from tests.e2e.conftest import Installation

FIELDS = {
    "status",
    "job",
    "file",
    "seed",
    "width",
    "height",
    "cached",
    "seconds",
    "key",
    "refused_by",
    "reason",
}
HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "gradio", "discord", "slack_bolt", "modal")


def loaded(done: CompletedProcess[str]) -> set[str]:
    """Top-level modules that a process run with `-X importtime` imported."""
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_a_picture_and_the_same_again_without_torch(shared: Installation) -> None:
    command = ("imagine", "a red apple", "--seed", "7", "--steps", "4", "--json")
    first = shared.run(*command, "-o", "apple.png")
    assert (first.returncode, first.stderr) == (0, "")
    found = json.loads(first.stdout)
    assert found.keys() == FIELDS
    assert (found["status"], found["file"], found["seed"], found["cached"]) == ("delivered", "apple.png", 7, "none")
    with Image.open(shared.work / "apple.png") as image:
        assert (image.format, image.size) == ("PNG", (found["width"], found["height"]))

    second = shared.run(*command, "-o", "again.png", python=("-X", "importtime"))
    again = json.loads(second.stdout)
    assert (again["cached"], again["key"]) == ("finished", found["key"])
    assert loaded(second) & set(HEAVY) == set()
    assert (shared.work / "again.png").read_bytes() == (shared.work / "apple.png").read_bytes()


def test_a_batch_from_standard_input(shared: Installation) -> None:
    done = shared.run("batch", "-", "-o", "pictures", "--steps", "2", "--json", text="a cat\n\na dog\n")
    found = json.loads(done.stdout)
    assert (done.returncode, found["status"]) == (0, "delivered")
    assert [picture.keys() for picture in found["pictures"]] == [FIELDS, FIELDS]
    files = {shared.work / picture["file"] for picture in found["pictures"]}
    assert files == set((shared.work / "pictures").iterdir())
    assert len(files) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("imagine", "x", "--steps", "1000"), "--steps takes a whole number from 1 to 100, not 1000."),
        (("imagine", "x", "--bogus"), "No such option: --bogus. See `easel imagine --help`."),
    ],
)
def test_bad_input_is_one_sentence(shared: Installation, arguments: tuple[str, ...], sentence: str) -> None:
    done = shared.run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{sentence}\n")


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        ("batch - <&-", 2, "A batch needs at least one prompt, one on each line."),
        ("cache stats <&- >&-", 0, ""),
        ("cache stats 2>&- >/dev/null", 0, ""),
        ("cache stats >/dev/full", 4, "The system would not read or write (no space left on device); "),
    ],
)
def test_streams_that_are_closed_or_full(shared: Installation, command: str, code: int, sentence: str) -> None:
    done = shell(shared, command)
    assert done.returncode == code
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == bool(sentence)


def test_nobody_who_reads_the_output_is_no_drama(shared: Installation) -> None:
    assert shell(shared, "cache list | true").stderr == ""


def test_a_terminal_without_the_letters_shows_question_marks(shared: Installation) -> None:
    done = shell(shared, "imagine 'a red apple' --seed 7 --steps 4 -o apple.png", PYTHONIOENCODING="iso8859-5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "seed 7 ? 256x256" in done.stdout


def shell(installation: Installation, command: str, **settings: str) -> CompletedProcess[str]:
    """Run a command line of the shell that begins with the arguments of `easel`."""
    return subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m bot {command}"],
        cwd=installation.work,
        env=installation.environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ctrl_c_cancels_the_job(install: Callable[[], Installation]) -> None:
    installation = install()
    process = installation.start("imagine", "a red apple", "--steps", "100", "-o", "apple.png", EASEL_LOG_LEVEL="info")
    with process:
        log = installation.home / "logs" / "easel.log"
        wait_for_line(log, "event='accepted'")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "Stopped."
    assert not (installation.work / "apple.png").exists()
    done = installation.run("cache", "stats", "--json")
    assert json.loads(done.stdout)["entries"] == 0


def wait_for_line(log: Path, text: str) -> None:
    """Read a growing log until a line holds the text."""
    import time

    deadline = time.monotonic() + 60
    while not (log.exists() and text in log.read_text("utf-8")):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


def test_a_truncated_weight_file_is_one_sentence(install: Callable[[], Installation]) -> None:
    installation = install()
    model = installation.work / "model"
    shutil.copytree(EMOJI_FOLDER, model)
    weights = next((model / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100_000])
    done = installation.run("imagine", "x", "-o", "x.png", "--json", EASEL_MODEL=str(model), EASEL_TOXICITY_CHECK="off")
    found = json.loads(done.stdout)
    assert (done.returncode, found["status"]) == (4, "failed")
    assert done.stderr == f"{found['reason']}\n"
    assert "Traceback" not in done.stderr
    assert not (installation.work / "x.png").exists()
