"""Parity of the networks with diffusers and transformers on equal random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn.attention import sdpa_kernel
from torch.overrides import TorchFunctionMode

from engine.sd.attention import KERNELS, AttentionSettings, Backend, attend
from engine.sd.checkpoint import Placement, load
from engine.sd.config import UNetConfig
from engine.sd.hoisting import Hoisted, pack_projections
from engine.sd.layers import Conv2d, Embedding, Linear
from engine.sd.unet import UNet
from tests.engine.sd.conftest import Pair
from tests.engine.sd.siblings import relative_error

pytestmark = pytest.mark.usefixtures("without_gradients")


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet_inputs(batch: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    times = torch.tensor([999.0, 500.5, 1.0])[:batch]
    return noise(batch, 4, height, width), times, noise(batch, 77, 64, seed=2)


def test_text_encoder(pair: Pair) -> None:
    ids = torch.randint(0, 500, (2, 77), generator=torch.Generator().manual_seed(1))
    assert relative_error(pair.ours.text_encoder(ids), pair.theirs.text_encoder(ids)[0]) < 1e-5


@pytest.mark.parametrize("size", [(16, 24), (18, 21)], ids=["even", "odd on the way down"])
def test_unet(pair: Pair, size: tuple[int, int]) -> None:
    inputs = unet_inputs(3, *size)
    assert relative_error(pair.ours.unet(*inputs), pair.theirs.unet(*inputs).sample) < 1e-4


def test_autoencoder_decodes(pair: Pair) -> None:
    latents = noise(2, 4, 8, 12)
    assert relative_error(pair.ours.vae.decode(latents), pair.theirs.vae.decode(latents).sample) < 1e-4


def test_autoencoder_encodes(pair: Pair) -> None:
    mean, log_variance = pair.ours.vae.encode(pixels := noise(2, 3, 64, 96).clamp(-1, 1))
    theirs = pair.theirs.vae.encode(pixels).latent_dist
    assert relative_error(mean, theirs.mean) < 1e-4
    assert relative_error(log_variance, theirs.logvar) < 1e-4


def test_other_shapes_of_the_same_family() -> None:
    """Two levels that both attend, one layer each, heads of two widths, a deeper autoencoder with more channels."""
    torch.manual_seed(5)
    theirs = UNet2DConditionModel(
        in_channels=16,
        out_channels=16,
        block_out_channels=(64, 96),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        attention_head_dim=[4, 6],
        layers_per_block=1,
        cross_attention_dim=32,
        use_linear_projection=True,
    ).eval()
    unet = UNet(UNetConfig.from_dict(theirs.config)).eval()
    unet.load_state_dict(theirs.state_dict(), strict=True)
    inputs = noise(2, 16, 8, 8), torch.tensor([3.0, 700.0]), noise(2, 12, 32, seed=2)
    assert relative_error(unet(*inputs), theirs(*inputs).sample) < 1e-4


@pytest.mark.parametrize(
    "settings",
    [AttentionSettings(slice_size=1), AttentionSettings(slice_size=3), AttentionSettings(backend="math")],
    ids=["slices of 1", "slices of 3", "math"],
)
def test_other_ways_to_attend_change_nothing(pair: Pair, settings: AttentionSettings) -> None:
    other = load(pair.folder, Placement(attention=settings))
    inputs = unet_inputs(2, 16, 16)
    assert relative_error(other.unet(*inputs), pair.ours.unet(*inputs)) < 1e-5


@pytest.mark.parametrize("backend", sorted(KERNELS))
def test_whatever_is_chosen_serves_every_thread(backend: Backend) -> None:
    query, key, value = (noise(2, 3, 5, 8, seed=seed) for seed in range(3))
    expected = attend(query, key, value, AttentionSettings(backend="math"))
    assert relative_error(attend(query, key, value, AttentionSettings(backend=backend)), expected) < 1e-5
    with sdpa_kernel(KERNELS[backend]):
        for shaped in ((query, key, value), (query[0], key[0], value[0])):  # no fast kernel takes the latter
            assert torch.isfinite(F.scaled_dot_product_attention(*shaped)).all()


def hoisted_inputs(hoisted: Hoisted, batch: int, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, times, context = unet_inputs(batch, side, side)
    return x, hoisted.shifts(times), hoisted.keys_values(context)


def test_what_is_hoisted_out_of_the_loop_changes_nothing(pair: Pair) -> None:
    unet = load(pair.folder).unet
    hoisted, inputs = Hoisted(unet), unet_inputs(3, 16, 24)
    plain = unet(*inputs)
    for pack in (False, True):
        if pack:
            pack_projections(unet)
        x, times, context = inputs
        answer, _ = hoisted(x, hoisted.shifts(times), hoisted.keys_values(context))
        assert relative_error(answer, plain) < 1e-5


def test_deep_features_of_the_same_step_change_nothing(pair: Pair) -> None:
    hoisted = Hoisted(pair.ours.unet)
    inputs = hoisted_inputs(hoisted, 2, 16)
    answer, deep = hoisted(*inputs)
    again, same = hoisted(*inputs, deep)
    assert torch.equal(again, answer)
    assert same is deep


def test_deep_features_hold_most_of_the_work() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        hoisted = Hoisted(UNet(replace(UNetConfig(), widths=(32, 64, 96, 96)), AttentionSettings(backend="math")))
        inputs = (
            torch.zeros(1, 4, 32, 32),
            hoisted.shifts(torch.zeros(1)),
            hoisted.keys_values(torch.zeros(1, 77, 768)),
        )
        _, deep = hoisted(*inputs)
        with FlopCounterMode(display=False) as whole:
            hoisted(*inputs)
        with FlopCounterMode(display=False) as shallow:
            hoisted(*inputs, deep)
    assert shallow.get_total_flops() < 0.2 * whole.get_total_flops()


class Drawn(TorchFunctionMode):
    """Notes which functions of `torch.nn.init` draw random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_):
            self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_networks_without_memory_draw_no_first_weights(pair: Pair) -> None:
    before = torch.random.get_rng_state()
    for ours in (pair.ours.unet, pair.ours.vae, pair.ours.text_encoder):
        with torch.device("meta"), Drawn() as drawn:
            built = type(ours)(ours.config)  # type: ignore[arg-type]
        assert drawn.names == []
        shapes = {name: weight.shape for name, weight in built.state_dict().items()}
        assert shapes == {name: weight.shape for name, weight in ours.state_dict().items()}
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("ours", "theirs", "arguments"),
    [(Linear, nn.Linear, (3, 4)), (Conv2d, nn.Conv2d, (1, 2, 3)), (Embedding, nn.Embedding, (5, 6))],
)
def test_layers_with_memory_draw_what_torch_draws(
    ours: type[nn.Module], theirs: type[nn.Module], arguments: tuple[int, ...]
) -> None:
    weights = []
    for kind in (ours, theirs):
        torch.manual_seed(3)
        weights.append(kind(*arguments).state_dict())
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
