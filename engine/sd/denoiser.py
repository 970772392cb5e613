"""From a sampler's query to an answer: the network, the prompts and the guidance between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.sd.config import Prediction
from engine.sd.samplers import Query
from engine.sd.unet import UNet


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a batch of samples should and shouldn't show."""

    positive: Tensor
    """[batch, tokens, width] of the prompts."""
    negative: Tensor
    """[batch, tokens, width] of the negative prompts."""
    scales: tuple[float, ...]
    """Guidance scale of each sample; at most 1 means none, which halves its work."""
    interval: tuple[float, float] = (0.0, 1.0)
    """Share of the steps, from and up to, in which guidance is applied (Kynkäänniemi et al. 2024, arXiv 2404.07724)."""

    def guided(self, progress: float) -> list[int]:
        """The samples that are guided at this point of the way."""
        begin, end = self.interval
        return [i for i, scale in enumerate(self.scales) if scale > 1 and begin <= progress < end]


def predict_x0(output: Tensor, x: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
    """The clean latents that a network's output stands for, where x = x_0 + sigma n.

    A network that predicts epsilon answers n; one that predicts v answers alpha n - sqrt(1 - alpha^2) x_0 (Salimans
    and Ho 2022, arXiv 2202.00512, appendix D), with alpha = 1 / sqrt(sigma^2 + 1).
    """
    if prediction == "epsilon":
        return x - sigma * output
    square = sigma**2 + 1
    return x / square - output * (sigma / square.sqrt())


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """One number per sample, shaped to multiply [batch, channels, height, width]."""
    return torch.tensor(values, dtype=torch.float32).to(like.device, non_blocking=True)[:, None, None, None]


class FeatureCache:
    """Deep features of the last full evaluation, good for `interval` evaluations (DeepCache, arXiv 2312.00858).

    It serves one sampler's run. With an interval of 1 nothing is reused and the result is exact.
    """

    def __init__(self, interval: int = 3) -> None:
        self.interval = interval
        self._features: Tensor | None = None
        self._left = 0

    def recall(self, batch: int) -> Tensor | None:
        """Features for a batch of this size, or None when they have to be computed anew."""
        if self._left < 1 or self._features is None or len(self._features) != batch:
            return None
        self._left -= 1
        return self._features

    def keep(self, features: Tensor) -> None:
        """Remember fresh features."""
        self._features, self._left = features, self.interval - 1


class Denoiser:
    """Answers samplers' queries by classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).

    The network runs once for all samples, those that are guided being in the batch twice: without their prompt first.
    """

    def __init__(self, unet: UNet, prediction: Prediction, cache: FeatureCache | None = None) -> None:
        """`cache` reuses deep features between steps; it serves one sampler's run, so that `join` can't take it."""
        self.unet = unet
        self.prediction: Prediction = prediction
        self.cache = cache

    def __call__(self, query: Query, conditioning: Conditioning) -> Tensor:
        """Predicted clean latents [batch, channels, height, width] in float32."""
        return self._answer([query], [conditioning], self.cache)[0]

    def join(self, queries: Sequence[Query], conditionings: Sequence[Conditioning]) -> list[Tensor]:
        """Answer several samplers' queries, of equal latent size but each at its own time, by one forward pass."""
        return self._answer(queries, conditionings, None)

    def _answer(
        self, queries: Sequence[Query], conditionings: Sequence[Conditioning], cache: FeatureCache | None
    ) -> list[Tensor]:
        sizes = [len(query.x) for query in queries]
        times = [query.timestep for query, size in zip(queries, sizes, strict=True) for _ in range(size)]
        x = torch.cat([query.x for query in queries])
        sigma = _column([query.sigma for query, size in zip(queries, sizes, strict=True) for _ in range(size)], x)
        scaled = x / (sigma**2 + 1).sqrt()
        output = self._guide(scaled, times, [query.progress for query in queries], conditionings, cache)
        return list(torch.split(predict_x0(output, x, sigma, self.prediction), sizes))

    def _guide(
        self,
        x: Tensor,
        times: list[float],
        progress: list[float],
        conditionings: Sequence[Conditioning],
        cache: FeatureCache | None,
    ) -> Tensor:
        """The network's output on variance-preserving latents, pushed away from that without the prompt."""
        rows, scales, negatives, offset = [], [], [], 0
        for conditioning, now in zip(conditionings, progress, strict=True):
            chosen = conditioning.guided(now)
            rows += [offset + i for i in chosen]
            scales += [conditioning.scales[i] for i in chosen]
            negatives += [conditioning.negative[i] for i in chosen]
            offset += len(conditioning.scales)
        contexts = [*(negative[None] for negative in negatives), *(c.positive for c in conditionings)]
        batch = torch.cat([*(x[i : i + 1] for i in rows), x])
        output = self._predict(batch, [*(times[i] for i in rows), *times], torch.cat(contexts), cache)
        without, wanted = output[: len(rows)], list(output[len(rows) :])
        for row, scale, plain in zip(rows, scales, without, strict=True):
            wanted[row] = plain + scale * (wanted[row] - plain)
        return torch.stack(wanted)

    def _predict(self, x: Tensor, times: list[float], context: Tensor, cache: FeatureCache | None) -> Tensor:
        inputs = (
            x.to(self.unet.dtype),
            torch.tensor(times, dtype=torch.float32).to(x.device, non_blocking=True),
            context.to(self.unet.dtype),
        )
        deep = None if cache is None else cache.recall(len(x))
        if cache is not None and deep is None:
            deep = self.unet.deep_features(*inputs)
            cache.keep(deep)
        output: Tensor = self.unet(*inputs, deep)
        return output.float()
