"""Layers in oneDNN's own layout answer as the plain ones do."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from engine.sd import onednn
from engine.sd.hoisting import Hoisted, pack_projections
from engine.sd.layers import Conv2d, Linear
from engine.sd.unet import GEGLU
from tests.engine.sd.conftest import Pair
from tests.engine.sd.siblings import relative_error

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.usefixtures("without_gradients"),
    pytest.mark.skipif(not onednn.available(CPU, torch.float32), reason="needs torch with oneDNN on an x86 processor"),
]
EQUAL = 1e-5


def packed(layer: nn.Module) -> nn.Module:
    holder = nn.Sequential(copy.deepcopy(layer)).requires_grad_(False)
    done: list[int] = []
    onednn.pack(holder, lambda: done.append(1))
    assert done == [1]
    assert type(holder[0]) is not type(layer)
    return holder[0]


def test_only_float32_on_a_cpu_is_packed() -> None:
    assert not onednn.available(CPU, torch.bfloat16)
    assert not onednn.available(torch.device("cuda"), torch.float32)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    layer = Linear(320, 256, bias=bias)
    ours = packed(layer)
    x, plus = torch.randn(2, 9, 320), torch.randn(2, 9, 256)
    assert relative_error(ours(x), layer(x)) < EQUAL
    assert relative_error(ours(x, plus=plus), layer(x) + plus) < EQUAL


def test_geglu() -> None:
    layer = GEGLU(256, 512)
    x = torch.randn(2, 7, 256)
    assert relative_error(packed(layer)(x), layer(x)) < EQUAL


@pytest.mark.parametrize("outputs", [128, 96, 192], ids=["one layout", "two layouts", "both"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_convolution_of_maps_of_every_size(outputs: int, kernel: int, stride: int) -> None:
    layer = Conv2d(1024, outputs, kernel, stride=stride, padding=kernel // 2)
    ours = packed(layer)
    for number, side in ((1, 4), (2, 8), (1, 12), (3, 8), (1, 8), (1, 5)):
        x = torch.randn(number, 1024, side, side)
        expected = layer(x)
        assert relative_error(ours(x), expected) < EQUAL
        assert relative_error(ours(x, plus=torch.ones_like(expected)), expected + 1) < EQUAL


def test_layouts_for_sizes_are_bounded() -> None:
    ours = packed(Conv2d(1024, 96, 1))
    for side in range(2, 12):
        ours(torch.randn(1, 1024, side, side))
    assert len(ours._layouts) == 4  # type: ignore[arg-type]


def test_layouts_differ_by_the_number_of_maps_up_to_that_of_threads() -> None:
    """With AVX2, oneDNN lays weights out otherwise where there are fewer maps than threads."""
    ours, threads = packed(Conv2d(128, 128, 3, padding=1)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for number in (1, 2, 3, 8):
            ours(torch.randn(number, 128, 8, 8))
    finally:
        torch.set_num_threads(threads)
    assert list(ours._layouts) == [(1, 8, 8), (2, 8, 8)]  # type: ignore[arg-type]


def test_small_layers_stay_as_they_are() -> None:
    network = nn.Sequential(Linear(8, 8), Conv2d(8, 8, 3), nn.LayerNorm(8)).requires_grad_(False)
    before = list(network)
    onednn.pack(network, lambda: None)
    assert all(one is other for one, other in zip(before, network, strict=True))


def test_a_whole_network(pair: Pair) -> None:
    plain, other = (copy.deepcopy(pair.ours.unet) for _ in range(2))
    pack_projections(other)
    onednn.pack(other, lambda: None)
    x, times = torch.randn(2, 4, 16, 24), torch.tensor([999.0, 3.0])
    context = torch.randn(2, 77, plain.config.context_dim)
    answers = []
    for unet in (plain, other):
        hoisted = Hoisted(unet)
        answers.append(hoisted(x, hoisted.shifts(times), hoisted.keys_values(context))[0])
    for one, two in pairwise(answers):
        assert relative_error(two, one) < EQUAL
