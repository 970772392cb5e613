"""Draw prompts with an exported folder, by the engine's own samplers: a sheet of prompts x seeds."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from engine.sd.checkpoint import Components, load
from engine.sd.denoiser import Conditioning, Denoiser
from engine.sd.noise import draw_noise
from engine.sd.samplers import SAMPLERS, Query, sample
from training.emoji.data import Pixels
from training.emoji.export import TARGET
from training.emoji.models import LATENT_CHANNELS, LATENT_SIZE
from training.emoji.paths import parser, start_logging
from training.emoji.pictures import save_grid, to_pixels

log = logging.getLogger(__name__)

PROMPTS = (
    "a red apple",
    "pizza",
    "rocket",
    "dog face",
    "red heart",
    "grinning face",
    "house",
    "blue car",
    "cat with heart eyes",
    "tree",
    "guitar",
    "crown",
)
STEPS = 20
GUIDANCE = 2.5
SAMPLER = "dpmpp_2m_karras"


def draw(
    model: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    sampler: str = SAMPLER,
) -> Pixels:
    """One picture per prompt and seed: uint8 [N, 128, 128, 3]."""
    with torch.no_grad():
        positive = model.text_encoder(torch.tensor(model.tokenizer(prompts)))
        negative = model.text_encoder(torch.tensor(model.tokenizer([""]))).expand_as(positive)
        conditioning = Conditioning(positive=positive, negative=negative, scales=(guidance,) * len(prompts))
        denoiser, way = Denoiser(model.unet, model.prediction), SAMPLERS[sampler]
        plan = way.plan(model.schedule, steps)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = draw_noise(generators, (LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE), positive.device)

        def denoise(query: Query) -> torch.Tensor:
            return denoiser(query, conditioning)

        latents = sample(way.run, denoise, noise * plan.initial_scale, plan, generators)
        return to_pixels(model.vae.decode(latents / model.vae.config.scaling_factor))


def main() -> None:
    """Entry point: write the sheet."""
    options = parser(__doc__)
    options.add_argument("--model", type=Path, default=TARGET, help="a diffusers folder")
    options.add_argument("--output", type=Path, default=Path("emoji.png"))
    options.add_argument("--prompts", nargs="*", default=list(PROMPTS))
    options.add_argument("--seeds", type=int, default=4, help="pictures per prompt, seeds 0, 1, ...")
    options.add_argument("--across", type=int, default=1, help="prompts in a row; they divide into it without rest")
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--guidance", type=float, default=GUIDANCE)
    options.add_argument("--threads", type=int, default=2)
    start_logging()
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    prompts = [prompt for prompt in arguments.prompts for _ in range(arguments.seeds)]
    seeds = list(range(arguments.seeds)) * len(arguments.prompts)
    model = load(arguments.model)
    pictures = draw(model, prompts, seeds, steps=arguments.steps, guidance=arguments.guidance)
    save_grid(pictures, arguments.seeds * arguments.across, arguments.output)
    log.info("%d pictures in %s", len(pictures), arguments.output)


if __name__ == "__main__":
    main()
