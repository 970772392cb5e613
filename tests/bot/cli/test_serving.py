"""`easel serve`: adapters in one process, a clean stop, a sentence when one can't go on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bot import app
from bot.cli.main import run
from bot.dispatch import Dispatcher
from bot.errors import DeliveryError
from bot.settings import Settings


class Loopback:
    """An adapter without a platform: tells that it runs, and stays until it is stopped."""

    def __init__(self, name: str, started: Callable[[], None]) -> None:
        self.name = name
        self.stopped = False
        self._started = started

    async def run(self, dispatcher: Dispatcher) -> None:
        assert isinstance(dispatcher, Dispatcher)
        self._started()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.stopped = True


def connected(monkeypatch: pytest.MonkeyPatch, *adapters: Loopback | None) -> None:
    """Make `serve` find these adapters, as it finds those of a platform."""

    def maker(adapter: Loopback | None) -> Callable[[Settings], Loopback | None]:
        return lambda _: adapter

    monkeypatch.setattr(app, "PLATFORMS", tuple(map(maker, adapters)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_adapter_cleanly(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Loopback("first", lambda: None)
    second = Loopback("second", lambda: os.kill(os.getpid(), number))
    connected(monkeypatch, first, None, second)
    assert run(["serve"]) == 0
    assert (first.stopped, second.stopped) == (True, True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Serving first, second; Ctrl-C stops." in captured.err


def test_sigterm_stops_it_though_a_library_took_the_loop_s_way_of_hearing_of_signals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As closing any other event loop does that had handled a signal: Python has one such way for all."""

    def take_and_stop() -> None:
        signal.set_wakeup_fd(-1)
        os.kill(os.getpid(), signal.SIGTERM)

    only = Loopback("only", take_and_stop)
    connected(monkeypatch, only)
    assert run(["serve"]) == 0
    assert only.stopped


def test_an_adapter_that_can_t_go_on_stops_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise DeliveryError("The platform refuses the token.")

    well, ill = Loopback("well", lambda: None), Loopback("ill", fail)
    connected(monkeypatch, well, ill)
    assert run(["serve"]) == 4
    assert well.stopped
    assert "The platform refuses the token." in capsys.readouterr().err.splitlines()


def test_with_nothing_set_up_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(monkeypatch, None)
    assert run(["serve"]) == 2
    assert capsys.readouterr().err.startswith("No chat is set up: set EASEL_DISCORD_TOKEN")


def test_what_nobody_foresaw_is_one_sentence_and_a_traceback_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    def broken(_: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app, "PLATFORMS", (broken,))
    assert run(["serve"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("Something went wrong inside Easel (ZeroDivisionError)")
    assert "Traceback" in (home / "logs" / "easel.log").read_text("utf-8")


def test_a_chat_reads_commands_until_the_end_of_the_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("commands.txt").write_text("/help\n", "utf-8")
    with Path("commands.txt").open(encoding="utf-8") as source:
        monkeypatch.setattr(sys, "stdin", source)
        assert run(["chat", "--save", "pictures"]) == 0
    captured = capsys.readouterr()
    assert "/imagine PROMPT" in captured.out
    assert captured.err == ""
