from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.registry import resolve
from engine.pipelines.factory import make
from engine.pipelines.native import NativePipeline
from engine.pipelines.previews import PreviewMap, probes
from engine.settings import EngineSettings


def patches(factor: int, channels: int) -> Tensor:
    """An orthonormal basis of a patch of pixels: an autoencoder that is linear."""
    generator = torch.Generator().manual_seed(5)
    basis: Tensor = torch.linalg.qr(torch.randn(3 * factor * factor, channels, generator=generator)).Q.T
    return basis


def encode(pixels: Tensor, basis: Tensor, factor: int) -> Tensor:
    return torch.einsum("cp,bphw->bchw", basis, F.pixel_unshuffle(pixels, factor))


@pytest.mark.parametrize(("factor", "size"), [(8, (32, 64)), (16, (16, 32)), (4, (32, 64))])
def test_a_linear_autoencoder_is_seen_through(factor: int, size: tuple[int, int]) -> None:
    """48 channels hold every colour of a 4 x 4 patch; larger patches lose detail that a preview doesn't show."""
    basis = patches(factor, 48)
    look = PreviewMap(lambda pixels: encode(pixels, basis, factor), channels=48, factor=factor)
    pixels = F.interpolate(probes(3)[1:], size=(128, 256), mode="bilinear")
    shown = look(encode(pixels, basis, factor))
    scale = 64 / max(shown[0].size)
    assert scale >= 1
    for picture, true in zip(shown, pixels, strict=True):
        small = F.interpolate(true[None], size=picture.size[::-1], mode="area")[0].permute(1, 2, 0)
        error = np.asarray(picture, np.float64) / 127.5 - 1 - small.numpy()
        assert np.sqrt((error**2).mean()) < 0.25
    assert size[0] <= shown[0].height <= 64


def test_the_bundled_models_pictures_are_recognised(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = EngineSettings(home=tmp_path_factory.mktemp("home"), device="cpu", threads=1, compile="off")
    pipeline = make(resolve("emoji", settings), settings)
    assert isinstance(pipeline, NativePipeline)
    pipeline.load()
    with torch.inference_mode():
        pixels = probes(60)[-2:]
        latents = pipeline._encode_pixels(pixels)
        looks = pipeline._preview(latents)
    assert {look.size for look in looks} == {(32, 32)}
    small = F.interpolate(pixels, size=(32, 32), mode="area").permute(0, 2, 3, 1).numpy()
    shown = np.stack([np.asarray(look, np.float64) / 127.5 - 1 for look in looks])
    for one, other in ((0, 1), (1, 0)):
        own, strange = (np.corrcoef(shown[one].ravel(), small[which].ravel())[0, 1] for which in (one, other))
        assert own > 0.8
        assert own > strange + 0.3


def test_probes_are_the_same_every_time() -> None:
    assert torch.equal(probes(2), probes(2))
    assert probes(2).shape == (2, 3, 128, 128)
