"""Train text encoder and UNet together on the cached latents by v-prediction, with freshly drawn captions."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.sd.schedule import NoiseSchedule
from training.emoji.cores import Cores, mixed_precision
from training.emoji.examples import Examples, load_examples
from training.emoji.guide import Guide
from training.emoji.models import Painter, load_tokenizer, schedule_config
from training.emoji.paths import parser, start_logging
from training.emoji.train_text import load_text_encoder
from training.emoji.trainer import Plan, Trainer, add_plan_options, read_checkpoint, read_plan

log = logging.getLogger(__name__)

PLAN = Plan(rate=4e-3, batch=64, minutes=1_000, ema=0.995)
CHECKPOINT = "denoiser.pt"
GAMMA = 5.0
FOCUS = 2.0
GUIDE_WEIGHT = 0.1


def loss_weight(alpha_bar: Tensor) -> Tensor:
    """Weight of the squared error of v: min(SNR + 1, gamma) of the clean latents' error, in units of v's.

    Hang et al. 2023 (arXiv 2303.09556) with SNR + 1 instead of SNR, because at pure noise, where the caption
    alone says what to draw, their weight would vanish.
    """
    return (1 / (1 - alpha_bar)).clamp(max=GAMMA) * (1 - alpha_bar)


def draw_timesteps(count: int, steps: int, focus: float, generator: torch.Generator) -> Tensor:
    """[count] timesteps, of density t^(focus - 1): where noise is high, the caption decides the picture."""
    return (torch.rand(count, generator=generator).pow(1 / focus) * steps).long().clamp(max=steps - 1)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the networks learn from; `alphas` is alpha_bar [train_steps]."""

    examples: Examples
    alphas: Tensor
    batch: int
    focus: float


def velocity_loss(model: Painter, task: Task, generator: torch.Generator) -> Tensor:
    """Loss of one batch in terms of v (Salimans and Ho 2022, arXiv 2202.00512, appendix D)."""
    chosen, ids = task.examples.draw(task.batch, generator)
    latents = task.examples.latents[chosen]
    timesteps = draw_timesteps(task.batch, len(task.alphas), task.focus, generator)
    noise = torch.randn(latents.shape, generator=generator)
    alpha_bar = task.alphas[timesteps][:, None, None, None]
    signal, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    guide = Guide(model.unet)
    with guide, mixed_precision():
        velocity = model.unet(signal * latents + sigma * noise, timesteps, model.text_encoder(ids))
    error = (velocity.float() - (signal * noise - sigma * latents)).square()
    weighted: Tensor = (error * loss_weight(alpha_bar)).mean()
    return weighted + GUIDE_WEIGHT * guide.loss()


def load_painter(run_dir: Path) -> Painter:
    """The averaged networks of the last checkpoint, in float32."""
    model = Painter(load_tokenizer(run_dir))
    model.load_state_dict(read_checkpoint(run_dir / CHECKPOINT)["ema"])
    return model.eval().requires_grad_(False)


def train(run_dir: Path, plan: Plan, focus: float = FOCUS) -> None:
    """Train until the plan's minutes are used up; begins with the text encoder that ``train_text`` made."""
    torch.manual_seed(plan.seed)
    examples = load_examples(run_dir)
    model = Painter(examples.tokenizer)
    if not (run_dir / CHECKPOINT).exists():
        model.text_encoder.load_state_dict(load_text_encoder(run_dir))
    log.info("%.2f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    alphas = torch.from_numpy(NoiseSchedule(schedule_config()).alphas_cumprod).float()
    task = Task(examples=examples, alphas=alphas, batch=plan.batch, focus=focus)
    Trainer(model, plan, run_dir / CHECKPOINT, Cores()).run(lambda generator: velocity_loss(model, task, generator))


def main() -> None:
    """Entry point."""
    options = parser(__doc__)
    add_plan_options(options, PLAN)
    options.add_argument("--focus", type=float, default=FOCUS, help="timesteps' density rises as t^(focus - 1)")
    start_logging()
    arguments = options.parse_args()
    train(arguments.run_dir, read_plan(arguments, PLAN), arguments.focus)


if __name__ == "__main__":
    main()
