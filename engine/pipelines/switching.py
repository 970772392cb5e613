"""Serving by eager torch until something compiled for these shapes is ready, and by that from then on.

Compiling takes from seconds to minutes, which nobody who waits for a picture should pay. So whoever asks first is
served as if there were no compiler, and the compiling happens beside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.sd.denoiser import Network

Shapes = tuple[torch.Size, ...]
PATIENCE = 40
"""Steps drawn before anything is compiled, so that a process that draws one picture doesn't begin to."""
Graph = Callable[..., tuple[Tensor, ...]]
"""Tensors in, tensors out; always the same operations for the same shapes."""


class Forge(Protocol):
    """Makes fast graphs, by their names, in the background."""

    def ready(self, name: str, shapes: Shapes) -> Graph | None:
        """The compiled graph for inputs of these shapes; None, and it is set to work, where there is none yet."""

    def wait(self, timeout: float) -> bool:
        """Whether nothing is left to do after at most so many seconds; for benchmarks and tests."""


class SwitchingNetwork:
    """`engine.sd.denoiser.Network`, compiled as soon as it can be."""

    def __init__(self, eager: Network, forge: Forge, patience: int = PATIENCE) -> None:
        self._eager = eager
        self._forge = forge
        self._patience = patience

    def __call__(
        self, x: Tensor, shifts: Tensor, keys_values: Tensor, deep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `engine.sd.hoisting.Hoisted.forward`; the steps with features given are a graph of their own."""
        inputs = (x, shifts, keys_values) if deep is None else (x, shifts, keys_values, deep)
        self._patience -= 1
        if self._patience >= 0:
            return self._eager(*inputs)
        graph = self._forge.ready("full" if deep is None else "shallow", tuple(each.shape for each in inputs))
        if graph is None:
            return self._eager(*inputs)
        results = graph(*inputs)
        return results[0], results[1] if deep is None else deep


class SwitchingDecoder:
    """`AutoencoderKL.decode_scaled`, compiled as soon as it can be."""

    def __init__(self, eager: Callable[[Tensor], Tensor], forge: Forge, patience: int = PATIENCE // 20) -> None:
        self._eager = eager
        self._forge = forge
        self._patience = patience

    def __call__(self, latents: Tensor) -> Tensor:
        """[batch, channels, h, w] -> [batch, 3, h*f, w*f]."""
        self._patience -= 1
        graph = None if self._patience >= 0 else self._forge.ready("decoder", (latents.shape,))
        return self._eager(latents) if graph is None else graph(latents)[0]
