"""What a model's network predicts: said by its folder or beside its file, or guessed from its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import WeightsError
from engine.sd.checkpoint import load
from tests.engine.sd.conftest import Pair
from tests.engine.sd.siblings import Family


def test_what_a_single_file_predicts(pair: Pair, single: Path) -> None:
    expected = "epsilon" if pair.family == "sd1" else "v_prediction"
    assert load(single).prediction == expected
    assert load(single, prediction="epsilon").prediction == "epsilon"
    base = single.rename(single.with_name("v2-1_512-ema-pruned.safetensors"))
    assert load(base).prediction == "epsilon"
    assert load(base, prediction="v_prediction").prediction == "v_prediction"


@pytest.mark.parametrize(
    ("line", "prediction"),
    [
        ('    parameterization: "v"', "v_prediction"),
        ("parameterization: v  # velocity", "v_prediction"),
        ("    parameterization: 'eps'", "epsilon"),
        ("    # parameterization: eps", "v_prediction"),
        ("    linear_start: 0.00085", "v_prediction"),
    ],
)
def test_the_configuration_beside_a_single_file_outweighs_its_name(
    pairs: Callable[[Family], Pair], singles: Callable[[Pair], Path], tmp_path: Path, line: str, prediction: str
) -> None:
    single = Path(shutil.copytree(singles(pairs("sd2")).parent, tmp_path / "copy")) / "v2-1_768-ema-pruned.safetensors"
    single.with_suffix(".yaml").write_text(f"model:\n  params:\n{line}\n    timesteps: 1000\n")
    assert load(single).prediction == prediction


def test_a_configuration_makes_up_for_any_name(pair: Pair, single: Path) -> None:
    renamed = single.rename(single.with_name("finetune.safetensors"))
    assert load(renamed).prediction == "epsilon"
    renamed.with_suffix(".yaml").write_text('model:\r\n  params:\r\n    parameterization: "v"\r\n')
    assert load(renamed).prediction == "v_prediction"
    assert load(renamed, prediction="epsilon").prediction == "epsilon"


@pytest.mark.parametrize("directory", [True, False])
def test_a_configuration_of_another_kind_is_one_clear_sentence(single: Path, directory: bool) -> None:
    beside = single.with_suffix(".yaml")
    beside.mkdir() if directory else beside.write_text('    parameterization: "x0"\n')
    with pytest.raises(WeightsError, match="can't be read" if directory else "says parameterization x0, which"):
        load(single)


def test_the_folder_says_what_it_predicts_and_may_be_overruled(pair: Pair) -> None:
    assert pair.ours.prediction == ("epsilon" if pair.family == "sd1" else "v_prediction")
    assert load(pair.folder, prediction="v_prediction").prediction == "v_prediction"
