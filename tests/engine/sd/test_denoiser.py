from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.sd.config import Prediction
from engine.sd.denoiser import Conditioning, Denoiser, FeatureCache, predict_x0
from engine.sd.samplers import SAMPLERS, Query, sample
from tests.engine.sd.conftest import Pair
from tests.engine.sd.siblings import relative_error

pytestmark = pytest.mark.usefixtures("without_gradients")


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def query(
    batch: int = 2, *, sigma: float = 3.0, timestep: float = 600.0, progress: float = 0.5, seed: int = 1
) -> Query:
    return Query(x=noise(batch, 4, 8, 8, seed=seed) * sigma, sigma=sigma, timestep=timestep, progress=progress)


def conditioning(*scales: float, interval: tuple[float, float] = (0.0, 1.0), seed: int = 2) -> Conditioning:
    shape = (len(scales), 77, 64)
    return Conditioning(
        positive=noise(*shape, seed=seed), negative=noise(*shape, seed=seed + 1), scales=scales, interval=interval
    )


class Batches:
    """Counts the samples of each pass through a layer."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self.seen: list[int] = []
        self._hook = layer.register_forward_hook(lambda _, inputs, __: self.seen.append(len(inputs[0])))

    def __enter__(self) -> list[int]:
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_clean_latents_behind_an_output(prediction: Prediction) -> None:
    x0, n, sigma = noise(2, 4, 8, 8, seed=1), noise(2, 4, 8, 8, seed=2), 2.5
    alpha = 1 / math.sqrt(2.5**2 + 1)
    velocity = alpha * n - alpha * 2.5 * x0
    output = n if prediction == "epsilon" else velocity
    assert relative_error(predict_x0(output, x0 + sigma * n, sigma, prediction), x0) < 1e-6


def test_guidance_is_that_of_the_paper(pair: Pair) -> None:
    asked, wanted = query(), conditioning(7.5, 3.0)
    denoiser = Denoiser(pair.ours.unet, pair.ours.prediction)
    times = torch.tensor([asked.timestep] * 2)
    scaled = asked.x / math.hypot(asked.sigma, 1)
    with_prompt, without = (
        pair.theirs.unet(scaled, times, context).sample for context in (wanted.positive, wanted.negative)
    )
    scales = torch.tensor(wanted.scales)[:, None, None, None]
    output = without + scales * (with_prompt - without)
    expected = predict_x0(output, asked.x, asked.sigma, pair.ours.prediction)
    assert relative_error(denoiser(asked, wanted), expected) < 1e-5


@pytest.mark.parametrize(
    ("wanted", "batch"),
    [
        (conditioning(7.5, 2.0), 4),
        (conditioning(1.0, 0.0), 2),
        (conditioning(1.0, 5.0), 3),
        (conditioning(7.5, 2.0, interval=(0.6, 1.0)), 2),
        (conditioning(7.5, 2.0, interval=(0.5, 0.6)), 4),
        (conditioning(7.5, 2.0, interval=(0.0, 0.5)), 2),
    ],
    ids=["all", "none", "some", "too early", "just in", "too late"],
)
def test_only_what_is_guided_is_computed_twice(pair: Pair, wanted: Conditioning, batch: int) -> None:
    with Batches(pair.ours.unet.conv_in) as seen:
        Denoiser(pair.ours.unet, pair.ours.prediction)(query(), wanted)
    assert seen == [batch]


def test_each_sample_has_its_own_guidance(pair: Pair) -> None:
    denoiser, asked, mixed = Denoiser(pair.ours.unet, pair.ours.prediction), query(), conditioning(1.0, 6.0)
    together = denoiser(asked, mixed)
    for i, scale in enumerate(mixed.scales):
        alone = Conditioning(positive=mixed.positive[i : i + 1], negative=mixed.negative[i : i + 1], scales=(scale,))
        one = Query(x=asked.x[i : i + 1], sigma=asked.sigma, timestep=asked.timestep, progress=asked.progress)
        assert relative_error(denoiser(one, alone), together[i : i + 1]) < 1e-5


def test_queries_of_several_runs_are_answered_together(pair: Pair) -> None:
    denoiser = Denoiser(pair.ours.unet, pair.ours.prediction)
    queries = [query(1), query(2, sigma=0.4, timestep=77.0, seed=8), query(1, progress=0.9)]
    wanted = [conditioning(7.5), conditioning(1.0, 4.0, seed=5), conditioning(5.0, interval=(0.0, 0.8), seed=9)]
    with Batches(pair.ours.unet.conv_in) as seen:
        together = denoiser.join(queries, wanted)
    assert seen == [6]
    for asked, prompt, answer in zip(queries, wanted, together, strict=True):
        assert relative_error(answer, denoiser(asked, prompt)) < 1e-5


def denoise_all(pair: Pair, cache: FeatureCache | None) -> tuple[Tensor, Any]:
    plan = SAMPLERS["ddim"].plan(pair.ours.schedule, 9)
    denoiser, wanted = Denoiser(pair.ours.unet, pair.ours.prediction, cache), conditioning(1.0)
    with Batches(pair.ours.unet.mid_block) as deep:
        x = sample(
            SAMPLERS["ddim"].run,
            lambda asked: denoiser(asked, wanted),
            noise(1, 4, 8, 8, seed=1) * plan.initial_scale,
            plan,
            [torch.Generator()],
        )
    return x, len(deep)


def test_feature_reuse_is_exact_at_interval_one(pair: Pair) -> None:
    plain, passes = denoise_all(pair, None)
    cached, cached_passes = denoise_all(pair, FeatureCache(interval=1))
    assert torch.equal(plain, cached)
    assert passes == cached_passes == 9


def test_feature_reuse_runs_the_deep_blocks_every_third_step(pair: Pair) -> None:
    plain, _ = denoise_all(pair, None)
    cached, passes = denoise_all(pair, FeatureCache(interval=3))
    assert passes == 3
    assert 0 < relative_error(cached, plain) < 0.5


def test_features_are_made_anew_when_the_batch_changes() -> None:
    cache = FeatureCache(interval=4)
    assert cache.recall(2) is None
    cache.keep(torch.zeros(2, 3))
    assert cache.recall(2) is not None
    assert cache.recall(1) is None


def test_half_precision_networks_keep_float32_latents(pair: Pair) -> None:
    half = type(pair.ours.unet)(pair.ours.unet.config).requires_grad_(False).eval()
    half.load_state_dict(pair.ours.unet.state_dict())
    answer = Denoiser(half.to(torch.bfloat16), pair.ours.prediction)(query(), conditioning(4.0, 1.0))
    assert answer.dtype == torch.float32
    exact = Denoiser(pair.ours.unet, pair.ours.prediction)(query(), conditioning(4.0, 1.0))
    assert relative_error(answer, exact) < 0.1
