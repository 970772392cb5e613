"""What is shown while a job is drawn."""

from __future__ import annotations

import pytest

from bot.chat import Failure, Queued, Working
from bot.cli.view import Bar, Plain, view
from engine.types import Progress, Stage


def working(stage: Stage, step: int = 0, steps: int = 0) -> Working:
    progress = Progress(index=0, stage=stage, step=step, steps=steps)
    return Working(job="J1", pictures=1, progress=progress, eta_seconds=3.0, text="Loading the model.")


def test_without_a_terminal_only_what_went_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with view() as shown:
        assert isinstance(shown, Plain)
        shown.show(Queued(job="J1", pictures=1, position=0, eta_seconds=None, text="Accepted."))
        shown.show(working(Stage.DRAWING, 1, 20))
        shown.show(Failure(job="J1", index=0, text="It failed."))
    assert capsys.readouterr() == ("", "It failed.\n")


def test_the_bar_has_steps_and_time_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        (task,) = bar.progress.tasks
        bar.show(Queued(job="J1", pictures=1, position=0, eta_seconds=None, text="Accepted [as] job J1."))
        assert task.description == "Accepted [as] job J1."
        bar.show(working(Stage.WARMING))
        assert (task.description, task.total) == ("Loading the model.", None)
        bar.show(working(Stage.DRAWING, 5, 20))
        assert (task.completed, task.total, task.fields["eta"]) == (5, 20, "3 seconds")
        bar.show(Failure(job="J1", index=0, text="It failed."))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "It failed." in captured.err
