"""Parity at the published widths of Stable Diffusion 1.5 and 2.1: gigabytes of random weights, so not by default."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import nn

from engine.sd.clip import CLIPTextModel
from engine.sd.config import TextConfig, UNetConfig, VAEConfig
from engine.sd.unet import UNet
from engine.sd.vae import AutoencoderKL
from tests.engine.sd.siblings import FULL, Family, reference_text, reference_unet, reference_vae, relative_error

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_gradients")]
VOCABULARY = 49408


@pytest.fixture(params=["sd1", "sd2"])
def family(request: pytest.FixtureRequest) -> Family:
    torch.manual_seed(3)
    chosen: Family = request.param
    return chosen


def adopt(module: type[nn.Module], config: Any, theirs: Any, prefix: str = "") -> Any:
    """Our network around the very tensors of theirs."""
    with torch.device("meta"):
        ours = module(config)
    state = {key if key.startswith(prefix) else prefix + key: weight for key, weight in theirs.state_dict().items()}
    ours.load_state_dict(state, strict=True, assign=True)
    return ours


def plain(config: Any) -> dict[str, Any]:
    """A configuration as it would be read from its file."""
    read: dict[str, Any] = json.loads(config.to_json_string())
    return read


def test_unet(family: Family) -> None:
    theirs = reference_unet(family, FULL[family])
    config = UNetConfig.from_dict(plain(theirs.config) if hasattr(theirs.config, "to_json_string") else theirs.config)
    x, times = torch.randn(1, 4, 16, 16), torch.tensor([601.0])
    context = torch.randn(1, 77, config.context_dim)
    expected = theirs(x, times, context).sample
    assert relative_error(adopt(UNet, config, theirs)(x, times, context), expected) < 1e-4
    if family == "sd1":
        assert asdict(config) == asdict(UNetConfig())


def test_text_encoder(family: Family) -> None:
    theirs = reference_text(family, FULL[family], VOCABULARY)
    config = TextConfig.from_dict(plain(theirs.config))
    ids = torch.randint(0, VOCABULARY, (1, 77))
    ours = adopt(CLIPTextModel, config, theirs, "text_model.")
    assert relative_error(ours(ids), theirs(ids)[0]) < 1e-5
    if family == "sd1":
        assert config == TextConfig()


def test_autoencoder() -> None:
    theirs = reference_vae(FULL["sd1"])
    config = VAEConfig.from_dict(theirs.config)
    ours = adopt(AutoencoderKL, config, theirs)
    latents, pixels = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 64, 64) * 2 - 1
    assert config == VAEConfig()
    assert relative_error(ours.decode(latents), theirs.decode(latents).sample) < 1e-4
    assert relative_error(ours.encode(pixels)[0], theirs.encode(pixels).latent_dist.mean) < 1e-4
