"""Training goes on after a kill as if nothing had happened."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.models.registry import EMOJI_FOLDER
from training.emoji.muon import orthogonalise
from training.emoji.released import begin
from training.emoji.train_denoiser import CHECKPOINT as DENOISER
from training.emoji.trainer import Plan, Trainer, save_weights

PLAN = Plan(rate=1e-2, batch=4, minutes=60, warmup=2, max_steps=6)


def make_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 3))


def train(path: Path, steps: int) -> dict[str, Tensor]:
    model = make_model()

    def loss(generator: torch.Generator) -> Tensor:
        output: Tensor = model(torch.randn(PLAN.batch, 2, 3, 3, generator=generator))
        return output.square().mean()

    trainer = Trainer(model, replace(PLAN, max_steps=steps), path)
    trainer.run(loss)
    return {**model.state_dict(), **{f"ema.{k}": v for k, v in trainer.ema_state().items()}}


def test_resuming_equals_never_having_stopped(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole.pt", 6)
    train(tmp_path / "parts.pt", 3)
    parts = train(tmp_path / "parts.pt", 6)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=0)


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    train(tmp_path / "run.pt", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.pt"]


def test_rate_warms_up_stays_and_falls() -> None:
    plan = Plan(rate=1.0, batch=1, minutes=10, decay_minutes=4, warmup=10)
    rates = [plan.rate_at(0, 0), plan.rate_at(50, 3), plan.rate_at(99, 8), plan.rate_at(120, 10)]
    assert rates == [0.1, 1.0, 0.5, 0.01]


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    matrices = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(0))
    for each in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalise(each))
        assert values.min() > 0.4
        assert values.max() < 1.4


def test_a_run_may_begin_with_weights_alone(tmp_path: Path) -> None:
    released = make_model()
    with torch.no_grad():
        for parameter in released.parameters():
            parameter.fill_(0.25)
    save_weights(released, tmp_path / "run.pt")
    trainer = Trainer(make_model(), PLAN, tmp_path / "run.pt")
    assert trainer.step == 0
    assert all(parameter.eq(0.25).all() for parameter in (*trainer.model.parameters(), *trainer.shadow))


def test_a_run_that_has_begun_is_not_begun_again(tmp_path: Path) -> None:
    (tmp_path / DENOISER).write_bytes(b"hours of work")
    with pytest.raises(FileExistsError, match="is there already"):
        begin(EMOJI_FOLDER, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DENOISER]
