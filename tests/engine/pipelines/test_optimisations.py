from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch

from engine.errors import InputError
from engine.models.registry import resolve
from engine.pipelines.native import NativePipeline
from engine.pipelines.optimisations import (
    PRESETS,
    channels_last,
    fold_scaling,
    pack_qkv,
    preset_for,
    steps_and_sampler,
    use_attention,
)
from engine.sd.attention import AttentionSettings
from engine.sd.checkpoint import load
from engine.sd.hoisting import Hoisted, pack_projections
from engine.settings import EngineSettings
from engine.types import Quality, Sampler
from tests.engine.pipelines.conftest import Sibling, ask, ignore_steps, psnr

EQUAL = 1e-5
"""Largest difference over largest value between exact ways of computing the same in float32."""


def evaluate(sibling: Sibling, change: object) -> tuple[torch.Tensor, torch.Tensor]:
    """What a UNet answers before and after a change."""
    unet = load(sibling.folder).unet
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 77, unet.config.context_dim, generator=generator)
    times = torch.tensor([999.0, 20.0])
    with torch.inference_mode():
        before = unet(x, times, context)
        assert callable(change)
        change(unet)
        return before, unet(x, times, context)


def test_channels_last_is_exact(sd1: Sibling) -> None:
    before, after = evaluate(sd1, channels_last)
    assert (before - after).abs().max() <= EQUAL * before.abs().max()


def test_a_start_does_not_load_the_compiler(sd1: Sibling) -> None:
    script = f"""
import sys
from engine.errors import InputError
from engine.models.registry import resolve
from engine.pipelines.factory import make
from engine.sd.hoisting import Hoisted, pack_projections
from engine.settings import EngineSettings
settings = EngineSettings(device="cpu", threads=1)
make(resolve({str(sd1.folder)!r}, settings), settings).load()
print("torch._dynamo" in sys.modules, "diffusers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("slice_size", [1, 3, 1000])
def test_sliced_attention_is_exact(sd1: Sibling, slice_size: int) -> None:
    before, after = evaluate(sd1, lambda unet: use_attention(unet, AttentionSettings(slice_size=slice_size)))
    assert (before - after).abs().max() <= EQUAL * before.abs().max()


def test_attention_is_chosen_for_every_layer_of_the_unet_alone(sd1: Sibling, settings: EngineSettings) -> None:
    settings = settings.model_copy(update={"attention": "math", "attention_slice": 2})
    pipeline = NativePipeline(resolve(str(sd1.folder), settings), settings)
    pipeline.load()
    chosen = {
        part: {module.attention for module in network.modules() if hasattr(module, "attention")}
        for part, network in (("unet", pipeline._parts.unet), ("vae", pipeline._parts.vae))
    }
    assert chosen == {"unet": {AttentionSettings(backend="math", slice_size=2)}, "vae": {AttentionSettings()}}


def test_joined_and_folded_weights_are_exact(sd1: Sibling) -> None:
    plain, other = load(sd1.folder), load(sd1.folder)
    pack_projections(other.unet)
    pack_qkv(other.unet)
    fold_scaling(other.vae)
    generator = torch.Generator().manual_seed(3)
    x, latents = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    context = torch.randn(2, 77, plain.unet.config.context_dim, generator=generator)
    times = torch.tensor([999.0, 20.0])
    with torch.inference_mode():
        hoisted = Hoisted(other.unet)
        before = plain.unet(x, times, context)
        after, _ = hoisted(x, hoisted.shifts(times), hoisted.keys_values(context))
        pixels, folded = plain.vae.decode_scaled(latents), other.vae.decode_scaled(latents)
        unfolded = other.vae.decode(latents / other.vae.config.scaling_factor)
    assert (before - after).abs().max() <= EQUAL * before.abs().max()
    for each in (folded, unfolded):
        assert (pixels - each).abs().max() <= EQUAL * pixels.abs().max()


def test_a_pipeline_with_everything_exact_switched_on_is_exact(sd1: Sibling, settings: EngineSettings) -> None:
    pipeline = NativePipeline(resolve(str(sd1.folder), settings), settings)
    pipeline.load()
    plain = load(sd1.folder)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 77, plain.unet.config.context_dim, generator=generator)
    times = torch.tensor([999.0, 20.0])
    with torch.inference_mode():
        hoisted = Hoisted(pipeline._parts.unet)
        before = plain.unet(x, times, context)
        after, _ = hoisted(x, hoisted.shifts(times), hoisted.keys_values(context))
    assert (before - after).abs().max() <= EQUAL * before.abs().max()


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs the extra int8")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_weights_in_eight_bits_draw_nearly_the_same(sd1: Sibling, settings: EngineSettings) -> None:
    half = settings.model_copy(update={"precision": "bfloat16"})
    pictures = []
    for int8 in (False, True):
        pipeline = NativePipeline(resolve(str(sd1.folder), half), half.model_copy(update={"int8": int8}))
        pipeline.load()
        kinds = {type(module.weight.data).__name__ for module in pipeline._parts.unet.modules() if has_weights(module)}
        assert any("Int8" in kind for kind in kinds) == int8
        pictures.append(pipeline.draw([ask(guidance=1.0)], ignore_steps)[0].image)
    assert psnr(*pictures) > 25


def has_weights(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)


def test_eight_bits_need_half_precision(sd1: Sibling, settings: EngineSettings) -> None:
    settings = settings.model_copy(update={"int8": True})
    with pytest.raises(InputError, match="EASEL_INT8 needs half precision"):
        NativePipeline(resolve(str(sd1.folder), settings), settings).load()


def test_every_quality_has_its_preset() -> None:
    assert set(PRESETS) == set(Quality)


def test_exact_changes_nothing() -> None:
    request = ask(steps=50, sampler=Sampler.HEUN)
    assert steps_and_sampler(request, preset_for(request)) == (50, Sampler.HEUN)
    assert preset_for(request).guidance_interval == (0.0, 1.0)


@pytest.mark.parametrize("quality", [Quality.BALANCED, Quality.FAST])
def test_approximations_cap_the_steps_and_never_add_any(quality: Quality) -> None:
    for steps, taken in ((50, 20), (12, 12)):
        request = ask(steps=steps, quality=quality)
        assert steps_and_sampler(request, preset_for(request)) == (taken, Sampler.DPMPP_2M_KARRAS)


@pytest.mark.parametrize("options", [{"steps": 4}, {"steps": 30, "sampler": Sampler.LCM}])
def test_models_made_for_few_steps_are_drawn_as_they_are(options: dict[str, object]) -> None:
    request = ask().model_copy(update={"quality": Quality.FAST, **options})
    assert preset_for(request) == PRESETS[Quality.EXACT]
