"""From a sampler's query to an answer: the network, the prompts and the guidance between them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.sd.config import Prediction
from engine.sd.hoisting import Hoisted
from engine.sd.samplers import Query
from engine.sd.unet import UNet

REMEMBERED_TIMES = 1024
"""Timesteps whose projections are kept: 75 kB each in float32 for Stable Diffusion 1.x."""


@dataclass(frozen=True, kw_only=True, eq=False)
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


def predict_x0(output: Tensor, x: Tensor, sigma: float, prediction: Prediction) -> Tensor:
    """The clean latents that a network's output stands for, where x = x_0 + sigma n.

    A network that predicts epsilon answers n; one that predicts v answers alpha n - sqrt(1 - alpha^2) x_0 (Salimans
    and Ho 2022, arXiv 2202.00512, appendix D), with alpha = 1 / sqrt(sigma^2 + 1).
    """
    if prediction == "epsilon":
        return torch.sub(x, output, alpha=sigma)
    return torch.sub(x / (sigma**2 + 1), output, alpha=sigma / math.hypot(sigma, 1))


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


class Network(Protocol):
    """Whatever evaluates a UNet: `Hoisted` itself, or something compiled from it."""

    def __call__(
        self, x: Tensor, shifts: Tensor, keys_values: Tensor, deep: Tensor | None = None, /
    ) -> tuple[Tensor, Tensor]:
        """As `Hoisted.forward`."""


@dataclass(frozen=True, kw_only=True)
class _Company:
    """A batch as the network sees it: the guided samples without their prompt, then all samples with theirs."""

    rows: list[int]
    """The guided samples."""
    everyone: bool
    """Whether all are guided."""
    keys_values: Tensor
    scales: Tensor
    """[guided, 1, 1, 1]."""


class Denoiser:
    """Answers samplers' queries by classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).

    The network runs once for all samples, those that are guided being in the batch twice: without their prompt first.
    """

    def __init__(
        self, unet: UNet, prediction: Prediction, cache: FeatureCache | None = None, network: Network | None = None
    ) -> None:
        """`cache` reuses deep features between steps; it serves one sampler's run, so that `join` can't take it.

        `network` evaluates the UNet faster than it does itself.
        """
        self.unet = unet
        self.prediction: Prediction = prediction
        self.cache = cache
        self._hoisted = Hoisted(unet)
        self._network: Network = network or self._hoisted
        self._shifts: OrderedDict[float, Tensor] = OrderedDict()
        self._prompts: WeakKeyDictionary[Conditioning, tuple[Tensor, Tensor]] = WeakKeyDictionary()
        self._company: tuple[list[tuple[Conditioning, list[int]]], _Company] | None = None

    def prepare(self, timesteps: Iterable[float]) -> None:
        """Compute what depends on timesteps alone, for all of a plan's in one product."""
        self._times(list(timesteps))

    def __call__(self, query: Query, conditioning: Conditioning) -> Tensor:
        """Predicted clean latents [batch, channels, height, width] in float32."""
        return self._answer([query], [conditioning], self.cache)[0]

    def join(self, queries: Sequence[Query], conditionings: Sequence[Conditioning]) -> list[Tensor]:
        """Answer several samplers' queries, of equal latent size but each at its own time, by one forward pass."""
        return self._answer(queries, conditionings, None)

    def _answer(
        self, queries: Sequence[Query], conditionings: Sequence[Conditioning], cache: FeatureCache | None
    ) -> list[Tensor]:
        guided = [c.guided(query.progress) for query, c in zip(queries, conditionings, strict=True)]
        company = self._assemble(list(zip(conditionings, guided, strict=True)), queries[0].x.device)
        sizes = [len(query.x) for query in queries]
        times = [query.timestep for query, size in zip(queries, sizes, strict=True) for _ in range(size)]
        scaled = torch.cat([query.x / math.hypot(query.sigma, 1) for query in queries])
        output = self._guide(scaled, times, company, cache)
        return [
            predict_x0(part, query.x, query.sigma, self.prediction)
            for part, query in zip(torch.split(output, sizes), queries, strict=True)
        ]

    def _assemble(self, parts: list[tuple[Conditioning, list[int]]], device: torch.device) -> _Company:
        """The batch's prompts and scales; from one step to the next it is mostly the same."""
        if self._company and len(self._company[0]) == len(parts):
            before = self._company[0]
            if all(old[0] is new[0] and old[1] == new[1] for old, new in zip(before, parts, strict=True)):
                return self._company[1]
        rows: list[int] = []
        scales: list[float] = []
        without: list[Tensor] = []
        wanted: list[Tensor] = []
        offset = 0
        for conditioning, guided in parts:
            positive, negative = self._project(conditioning)
            wanted.append(positive)
            if guided:
                without.append(negative[guided])
            rows += [offset + i for i in guided]
            scales += [conditioning.scales[i] for i in guided]
            offset += len(conditioning.scales)
        company = _Company(
            rows=rows,
            everyone=len(rows) == offset,
            keys_values=torch.cat([*without, *wanted]),
            scales=torch.tensor(scales, dtype=torch.float32, device=device)[:, None, None, None],
        )
        self._company = (parts, company)
        return company

    def _project(self, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """Keys and values of prompts and of negative prompts, computed once for each conditioning."""
        known = self._prompts.get(conditioning)
        if known is None:
            texts = torch.cat([conditioning.positive, conditioning.negative]).to(self.unet.dtype)
            positive, negative = self._hoisted.keys_values(texts).chunk(2)
            known = self._prompts[conditioning] = (positive, negative)
        return known

    def _times(self, timesteps: Sequence[float]) -> list[Tensor]:
        """[shift width] of each timestep."""
        missing = [time for time in dict.fromkeys(timesteps) if time not in self._shifts]
        if missing:
            device = self.unet.time_embedding.linear_1.weight.device
            shifts = self._hoisted.shifts(torch.tensor(missing, dtype=torch.float32, device=device))
            self._shifts.update(zip(missing, shifts, strict=True))
        found = [self._shifts[time] for time in timesteps]
        while len(self._shifts) > REMEMBERED_TIMES:
            self._shifts.popitem(last=False)
        return found

    def _guide(self, x: Tensor, times: Sequence[float], company: _Company, cache: FeatureCache | None) -> Tensor:
        """The network's output on variance-preserving latents, pushed away from that without the prompt."""
        rows = company.rows
        batch = torch.cat([x if company.everyone else x[rows], x]) if rows else x
        shifts = torch.stack(self._times([*(times[i] for i in rows), *times]))
        output = self._predict(batch, shifts, company.keys_values, cache)
        without, wanted = output[: len(rows)], output[len(rows) :]
        if company.everyone:
            return torch.lerp(without, wanted, company.scales)
        if rows:
            wanted[rows] = torch.lerp(without, wanted[rows], company.scales)
        return wanted

    def _predict(self, x: Tensor, shifts: Tensor, keys_values: Tensor, cache: FeatureCache | None) -> Tensor:
        x = x.to(self.unet.dtype).contiguous(memory_format=torch.channels_last)
        deep = None if cache is None else cache.recall(len(x))
        output, features = self._network(x, shifts, keys_values, deep)
        if cache is not None and deep is None:
            cache.keep(features)
        return output.float()
