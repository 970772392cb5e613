"""A small training loop: Muon and AdamW, moving average, checkpoints that survive a kill at any moment."""

import json
import logging
import os
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from training.emoji.cores import Cores
from training.emoji.muon import Muon, split_parameters
from training.emoji.paths import parser, start_logging

log = logging.getLogger(__name__)

Loss = Callable[[torch.Generator], Tensor]
"""Draws a batch from the generator and returns its scalar loss."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train. Minutes are of training time summed over all resumed sessions."""

    rate: float
    batch: int
    minutes: float
    decay_minutes: float = 0.0
    """Over the last so many minutes the rate falls linearly to a hundredth; 0 keeps it constant, to be resumed."""
    vector_rate: float = 0.4
    """Rate of the vectors and embeddings (AdamW) as a share of that of the matrices (Muon)."""
    warmup: int = 50
    weight_decay: float = 0.0
    ema: float = 0.999
    seed: int = 0
    checkpoint_seconds: float = 180.0
    max_steps: int | None = None

    def rate_at(self, step: int, minutes: float) -> float:
        """Learning rate after `step` steps and `minutes` of training."""
        rate = self.rate * min(1.0, (step + 1) / max(self.warmup, 1))
        left = self.minutes - minutes
        return rate * max(0.01, min(1.0, left / self.decay_minutes)) if self.decay_minutes > 0 else rate

    def ema_at(self, step: int) -> float:
        """Decay of the moving average: short at first, so that the start is forgotten."""
        return min(self.ema, (1 + step) / (10 + step))


def add_plan_options(parser: ArgumentParser, plan: Plan) -> None:
    """Command-line options for the fields of a plan that one changes between sessions."""
    parser.add_argument("--rate", type=float, default=plan.rate, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=plan.batch)
    parser.add_argument("--minutes", type=float, default=plan.minutes, help="training time over all sessions")
    parser.add_argument("--decay-minutes", type=float, default=plan.decay_minutes, help="final decay of the rate")
    parser.add_argument("--ema", type=float, default=plan.ema, help="decay of the moving average")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--checkpoint-seconds", type=float, default=plan.checkpoint_seconds)
    parser.add_argument("--max-steps", type=int, default=None)


def read_plan(options: Namespace, plan: Plan) -> Plan:
    """The plan with the command line's changes."""
    changed = {name: getattr(options, name, getattr(plan, name)) for name in Plan.__dataclass_fields__}
    return Plan(**changed)


def command(description: str | None, plan: Plan, train: Callable[[Path, Plan], None]) -> None:
    """The command line of a training step: its plan, changed by options."""
    options = parser(description)
    add_plan_options(options, plan)
    start_logging()
    arguments = options.parse_args()
    train(arguments.run_dir, read_plan(arguments, plan))


def save_atomically(values: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that a kill leaves either the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(values, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_atomically` wrote; only tensors and plain values are accepted."""
    values: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return values


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a checkpoint of weights alone: a trainer begins with them, at step 0."""
    weights = {name: value.float() for name, value in model.state_dict().items()}
    save_atomically({"model": weights, "ema": weights}, path)


class Trainer:
    """Trains `model` on `loss`, resuming from `path` when it exists."""

    def __init__(self, model: nn.Module, plan: Plan, path: Path, cores: Cores | None = None) -> None:
        self.model, self.plan, self.path, self.cores = model, plan, path, cores
        self.parameters = list(model.parameters())
        self.shadow = [p.detach().clone() for p in self.parameters]
        matrices, others = split_parameters(model)
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            Muon(matrices, lr=plan.rate, weight_decay=plan.weight_decay),
            torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
        )
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.step, self.seconds, self.stopped = 0, 0.0, False
        if path.exists():
            self.load(read_checkpoint(path))

    def load(self, values: dict[str, Any]) -> None:
        """Take over a checkpoint's state."""
        self.model.load_state_dict(values["model"])
        names = [name for name, _ in self.model.named_parameters()]
        self.shadow = [values["ema"][name] for name in names]
        if "optimizers" not in values:
            log.info("began with the weights of %s", self.path.name)
            return
        for optimizer, state in zip(self.optimizers, values["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.generator.set_state(values["generator"])
        self.step, self.seconds = values["step"], values["seconds"]
        log.info("resumed %s at step %d, %.1f min", self.path.name, self.step, self.seconds / 60)

    def ema_state(self) -> dict[str, Tensor]:
        """The averaged weights under the model's names."""
        names = [name for name, _ in self.model.named_parameters()]
        return dict(zip(names, self.shadow, strict=True))

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema_state(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        save_atomically(state, self.path)

    def train_step(self, loss: Loss) -> float:
        """One update of weights and average; returns the loss."""
        for optimizer, share in zip(self.optimizers, (1.0, self.plan.vector_rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = share * self.plan.rate_at(self.step, self.seconds / 60)
        value = loss(self.generator)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.shadow, list[Tensor](self.parameters), 1 - self.plan.ema_at(self.step))
        self.step += 1
        return value.item()

    def finished(self) -> bool:
        """Whether the plan is fulfilled or somebody asked to stop."""
        limit = self.plan.max_steps
        return self.stopped or self.seconds >= self.plan.minutes * 60 or (limit is not None and self.step >= limit)

    def _stop(self, signal_number: int, _frame: FrameType | None) -> None:
        log.info("signal %d: saving and leaving", signal_number)
        self.stopped = True

    def run(self, loss: Loss) -> None:
        """Train until the plan ends or a signal arrives; save every few minutes and at the end."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._run(loss)
            self.save()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self, loss: Loss) -> None:
        saved, reported, average = time.monotonic(), time.monotonic(), Average()
        while not self.finished():
            if self.cores is not None:
                self.cores.adapt()
            start = time.monotonic()
            average.add(self.train_step(loss))
            self.seconds += time.monotonic() - start
            if time.monotonic() - reported > 20:
                self.report(average, time.monotonic() - reported)
                reported, average = time.monotonic(), Average()
            if time.monotonic() - saved > self.plan.checkpoint_seconds:
                self.save()
                saved = time.monotonic()

    def report(self, average: "Average", seconds: float) -> None:
        """One line to the log and to the curve, ``<name>.jsonl`` beside the checkpoint."""
        line = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "loss": round(average.value, 5),
            "samples_per_s": round(average.count * self.plan.batch / seconds, 1),
            "rate": self.plan.rate_at(self.step, self.seconds / 60),
            "threads": torch.get_num_threads(),
        }
        log.info("%s", line)
        with self.path.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Average:
    """Running mean of a few numbers."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, value: float) -> None:
        """Count one more."""
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        """The mean so far."""
        return self.total / max(self.count, 1)
