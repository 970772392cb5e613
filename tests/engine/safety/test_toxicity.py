from __future__ import annotations

import hashlib
import math
import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import WeightsError
from engine.safety.toxicity import (
    CHECKPOINT,
    CLASSES,
    FILES,
    OVERLAP,
    WINDOW,
    ToxicityChecker,
    exceeded,
    toxicity_files_present,
    windows,
)
from engine.settings import ToxicityThresholds
from tests.engine.safety.detoxify_files import checkpoint, write

LOGITS = [2.0, -3.0, 1.0, -2.0, 0.0, 3.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("detoxify"), checkpoint(LOGITS))


def test_scores_by_the_checkpoints_weights(folder: Path) -> None:
    scores = ToxicityChecker(folder).scores("a red apple")
    assert scores == pytest.approx(
        {name: 1 / (1 + math.exp(-logit)) for name, logit in zip(CLASSES, LOGITS, strict=True)}, abs=1e-5
    )


def test_predicts_with_detoxifys_own_class(folder: Path) -> None:
    from detoxify import Detoxify

    checker = ToxicityChecker(folder)
    checker.scores("warm up")
    assert isinstance(checker._detoxify, Detoxify)
    assert checker._detoxify.predict("a red apple")["toxicity"] == pytest.approx(
        checker.scores("a red apple")["toxicity"]
    )


def test_reads_several_and_long_texts(folder: Path) -> None:
    scores = ToxicityChecker(folder).scores("word " * 400, "字" * 2_000, "")
    assert set(scores) == set(CLASSES)


def test_a_score_that_is_no_number_lets_nothing_pass(tmp_path: Path) -> None:
    broken = write(tmp_path, checkpoint([math.nan, *LOGITS[1:]]))
    with pytest.raises(WeightsError, match="no numbers"):
        ToxicityChecker(broken).scores("a red apple")


def test_no_window_is_cut_off(folder: Path) -> None:
    checker = ToxicityChecker(folder)
    checker.scores("warm up")
    assert checker._detoxify is not None
    tokenizer = checker._detoxify.tokenizer
    assert max(len(tokenizer(piece)["input_ids"]) for piece in windows("!字a" * 700)) < tokenizer.model_max_length


@settings(deadline=None)
@given(st.text(max_size=3 * WINDOW))
def test_windows_cover_the_text(text: str) -> None:
    pieces = windows(text)
    assert all(len(piece) <= WINDOW for piece in pieces)
    assert pieces[0] + "".join(piece[OVERLAP:] for piece in pieces[1:]) == text


def test_needs_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("the toxicity model asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    ToxicityChecker(folder).scores("a red apple")


def test_newer_class_names_are_known(tmp_path: Path) -> None:
    content = checkpoint(LOGITS, classes=list(CLASSES))
    assert ToxicityChecker(write(tmp_path, content)).scores("x")["identity_attack"] > 0.9


def test_refuses_another_digest(folder: Path) -> None:
    digest = hashlib.sha256((folder / CHECKPOINT).read_bytes()).hexdigest()
    assert ToxicityChecker(folder, sha256=digest).scores("x")
    with pytest.raises(WeightsError, match="pinned"):
        ToxicityChecker(folder, sha256="0" * 64).scores("x")


class _Harmful:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_never_runs_code_from_a_checkpoint(tmp_path: Path) -> None:
    target = tmp_path / "made-by-a-pickle"
    folder = write(tmp_path / "detoxify", checkpoint(LOGITS))
    (folder / CHECKPOINT).write_bytes(pickle.dumps({"state_dict": _Harmful(target)}, protocol=2))
    with pytest.raises(WeightsError):
        ToxicityChecker(folder).scores("x")
    torch.save({"state_dict": _Harmful(target)}, folder / CHECKPOINT)
    with pytest.raises(WeightsError):
        ToxicityChecker(folder).scores("x")
    assert not target.exists()


@pytest.mark.parametrize("size", [0, 100, 5_000])
def test_truncated_checkpoint(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, checkpoint(LOGITS)) / CHECKPOINT
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError):
        ToxicityChecker(tmp_path).scores("x")


def test_a_missing_weight_is_no_random_one(tmp_path: Path) -> None:
    content = checkpoint(LOGITS)
    del content["state_dict"]["bert.pooler.dense.weight"]
    with pytest.raises(WeightsError):
        ToxicityChecker(write(tmp_path, content)).scores("x")


def test_a_weight_of_another_shape(tmp_path: Path) -> None:
    content = checkpoint(LOGITS)
    content["state_dict"]["classifier.weight"] = torch.zeros(6, 9)
    with pytest.raises(WeightsError):
        ToxicityChecker(write(tmp_path, content)).scores("x")


@pytest.mark.parametrize("content", [{}, {"config": 3, "state_dict": {}}, [1, 2]])
def test_a_checkpoint_of_something_else(tmp_path: Path, content: object) -> None:
    folder = write(tmp_path, checkpoint(LOGITS))
    torch.save(content, folder / CHECKPOINT)
    with pytest.raises(WeightsError):
        ToxicityChecker(folder).scores("x")


def test_other_classes_are_refused(tmp_path: Path) -> None:
    content = checkpoint([0.0] * 6, classes=["a", "b", "c", "d", "e", "f"])
    with pytest.raises(WeightsError, match="classes"):
        ToxicityChecker(write(tmp_path, content)).scores("x")


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_needed(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, checkpoint(LOGITS))
    assert toxicity_files_present(folder)
    (folder / name).unlink()
    assert not toxicity_files_present(folder)


def test_thresholds() -> None:
    scores = dict.fromkeys(CLASSES, 0.6)
    assert exceeded(scores, ToxicityThresholds()) == ("severe_toxicity",)
    assert exceeded(scores, ToxicityThresholds(insult=0.6)) == ("severe_toxicity", "insult")
    assert exceeded(dict.fromkeys(CLASSES, math.nan), ToxicityThresholds()) == CLASSES
    assert exceeded(dict.fromkeys(CLASSES, 0.1), ToxicityThresholds()) == ()
