"""Where log lines go, and what stands in them."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from bot import logs
from bot.settings import Settings

pytestmark = pytest.mark.usefixtures("logging_as_before")


def written(home: Path) -> list[str]:
    return (home / "logs" / "easel.log").read_text("utf-8").splitlines()


def test_lines_carry_time_level_logger_and_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(home=tmp_path, log_json=True))
    with bound_contextvars(job="J1"):
        structlog.get_logger("bot.test").info("accepted", pictures=2)
    (line,) = written(tmp_path)
    found = json.loads(line)
    assert (found.pop("timestamp")[:2], found) == (
        "20",
        {"event": "accepted", "level": "info", "logger": "bot.test", "job": "J1", "pictures": 2},
    )
    assert capfd.readouterr() == ("", "")


def test_plain_lines_libraries_and_tracebacks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(home=tmp_path), console=True)
    logging.getLogger("discord").warning("from %s", "a library")
    logging.getLogger("httpx").info("chatter")
    structlog.get_logger("bot.test").debug("too fine")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        structlog.get_logger("bot.test").error("failed", exc_info=error)
    lines = written(tmp_path)
    assert "level='warning' logger='discord' event='from a library'" in lines[0]
    assert "event='failed'" in lines[1]
    assert "ZeroDivisionError" in "\n".join(lines)
    assert "chatter" not in "\n".join(lines)
    assert "too fine" not in "\n".join(lines)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "a library" in captured.err.splitlines()[0]


def test_configured_twice_writes_once(tmp_path: Path) -> None:
    for _ in range(2):
        logs.configure(Settings(home=tmp_path))
    structlog.get_logger("bot.test").info("once")
    assert len(written(tmp_path)) == 1


def test_warnings_are_logged_and_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(home=tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "DeprecationWarning: old" in written(tmp_path)[0]
    assert capfd.readouterr().err == ""


def test_a_folder_that_can_t_be_written_leaves_warnings_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    logs.configure(Settings(home=tmp_path / "file"))
    structlog.get_logger("bot.test").info("quiet")
    structlog.get_logger("bot.test").warning("loud")
    err = capfd.readouterr().err
    assert "loud" in err
    assert "quiet" not in err
