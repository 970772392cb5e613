from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from engine.errors import GenerationCancelled, InputError, MemoryExhaustedError, WeightsError
from engine.models.registry import ModelSource, resolve
from engine.pipelines.base import Look
from engine.pipelines.factory import make
from engine.pipelines.native import Embeddings, NativePipeline
from engine.sd.unet import UNet
from engine.settings import EngineSettings
from engine.types import NoteCode, Quality, Sampler
from tests.engine.pipelines.conftest import Sibling, ask, ignore_steps, psnr
from tests.engine.sd.original_layout import single_file
from tests.engine.sd.siblings import write_tokenizer

PARITY = 60.0
"""Decibels between the same picture made in two ways."""


def loaded(folder: Path, settings: EngineSettings, **changes: object) -> NativePipeline:
    settings = settings.model_copy(update=changes)
    pipeline = make(resolve(str(folder), settings), settings)
    assert isinstance(pipeline, NativePipeline)
    pipeline.load()
    return pipeline


@pytest.fixture(scope="module")
def pipeline(sd1: Sibling, tmp_path_factory: pytest.TempPathFactory) -> NativePipeline:
    home = tmp_path_factory.mktemp("home")
    return loaded(sd1.folder, EngineSettings(home=home, device="cpu", threads=1, compile="off"))


@pytest.fixture
def fresh(sd1: Sibling, settings: EngineSettings) -> NativePipeline:
    """One of its own, for tests that tamper with it."""
    return loaded(sd1.folder, settings)


def reference(sibling: Sibling, steps: int, seed: int, guidance: float, *, size: int) -> Image.Image:
    """The same picture by diffusers, from the same noise."""
    side = size // 8
    noise = torch.randn(4, side, side, generator=torch.Generator().manual_seed(seed))[None]
    options = {"negative_prompt": "cat", "guidance_scale": guidance, "height": size, "width": size}
    picture: Image.Image = sibling.theirs("a red apple", num_inference_steps=steps, latents=noise, **options).images[0]
    return picture


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_draws_what_diffusers_draws(family: str, settings: EngineSettings, request: pytest.FixtureRequest) -> None:
    sibling: Sibling = request.getfixturevalue(family)
    ours = loaded(sibling.folder, settings)
    wanted = ask(negative_prompt="cat", steps=8, sampler=Sampler.DDIM)
    (drawing,) = ours.draw([wanted], ignore_steps)
    assert psnr(drawing.image, reference(sibling, 8, seed=7, guidance=5.0, size=64)) >= PARITY


@pytest.mark.parametrize("sampler", list(Sampler))
def test_a_request_draws_the_same_alone_and_in_company(pipeline: NativePipeline, sampler: Sampler) -> None:
    company = [
        ask("a red apple", steps=3, sampler=sampler),
        ask("the cat", steps=3, sampler=sampler, seed=2**64 - 1, guidance=1.0, negative_prompt="an apple"),
    ]
    together = pipeline.draw(company, ignore_steps)
    for request, drawing in zip(company, together, strict=True):
        (alone,) = pipeline.draw([request], ignore_steps)
        assert psnr(alone.image, drawing.image) >= PARITY


@pytest.mark.parametrize("quality", [Quality.BALANCED, Quality.FAST])
def test_presets_too_draw_the_same_alone_and_in_company(pipeline: NativePipeline, quality: Quality) -> None:
    requests = [
        ask("a red apple", steps=9, quality=quality),
        ask("the cat", steps=9, quality=quality, guidance=1.0, seed=1),
    ]
    together = pipeline.draw(requests, ignore_steps)
    for request, drawing in zip(requests, together, strict=True):
        (alone,) = pipeline.draw([request], ignore_steps)
        assert psnr(alone.image, drawing.image) >= PARITY


def test_seed_prompt_and_negative_prompt_each_change_the_picture(pipeline: NativePipeline) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 8}, {"prompt": "the cat"}, {"negative_prompt": "cat"}]
    drawings = pipeline.draw([ask(**change) for change in changes], ignore_steps)
    assert len({drawing.image.tobytes() for drawing in drawings}) == len(changes)


def test_drawing_leaves_global_randomness_alone(pipeline: NativePipeline) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = pipeline.draw([ask(sampler=Sampler.EULER_ANCESTRAL)], ignore_steps)[0].image
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert pipeline.draw([ask(sampler=Sampler.EULER_ANCESTRAL)], ignore_steps)[0].image.tobytes() == first.tobytes()


def test_every_step_is_reported(pipeline: NativePipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.draw([ask(), ask(seed=8)], lambda step, steps, _=None, /: seen.append((step, steps)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_presets_take_fewer_steps_and_evaluations(pipeline: NativePipeline) -> None:
    full = evaluations(pipeline, Quality.EXACT)
    balanced = evaluations(pipeline, Quality.BALANCED)
    fast = evaluations(pipeline, Quality.FAST)
    assert full == (24, 48)  # steps, and rows through the whole network: both halves of guidance at each
    assert balanced == (20, 31)
    assert fast[0] == 20
    assert fast[1] < balanced[1] / 2


def evaluations(pipeline: NativePipeline, quality: Quality) -> tuple[int, int]:
    """Steps taken, and rows that went through the deepest block."""
    rows = []
    steps = []
    block = pipeline._parts.unet.mid_block
    handle = block.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    pipeline.draw([ask(steps=24, quality=quality)], lambda step, *_: steps.append(step))
    handle.remove()
    return len(steps), sum(rows)


def test_few_step_requests_keep_their_sampler_whatever_the_quality(pipeline: NativePipeline) -> None:
    exact, fast = (
        pipeline.draw([ask(quality=quality, sampler=Sampler.LCM)], ignore_steps)[0].image.tobytes()
        for quality in (Quality.EXACT, Quality.FAST)
    )
    assert exact == fast


def test_stops_between_two_steps(pipeline: NativePipeline) -> None:
    seen = []

    def stop_at_two(step: int, _: int, look: Look | None = None, /) -> None:
        seen.append(step)
        if step == 2:
            raise GenerationCancelled

    with pytest.raises(GenerationCancelled):
        pipeline.draw([ask()], stop_at_two)
    assert seen == [1, 2]
    assert pipeline.draw([ask()], ignore_steps)[0].image.size == (64, 64)


def test_stages_are_timed(pipeline: NativePipeline) -> None:
    (drawing,) = pipeline.draw([ask()], ignore_steps)
    assert drawing.seconds.keys() == {"text", "denoise", "decode"}
    assert all(seconds > 0 for seconds in drawing.seconds.values())


def test_odd_and_oblong_sizes_come_as_asked(pipeline: NativePipeline) -> None:
    (drawing,) = pipeline.draw([ask(width=72, height=136)], ignore_steps)
    assert drawing.image.size == (72, 136)
    assert drawing.notes == ()


def test_a_model_of_one_size_is_drawn_there_and_enlarged(sd1: Sibling, settings: EngineSettings) -> None:
    source = resolve(str(sd1.folder), settings)
    one_size = ModelSource(info=source.info, path=source.path, kind="native", native_only=True)
    pipeline = NativePipeline(one_size, settings)
    pipeline.load()
    side = source.info.native
    (native,) = pipeline.draw([ask(width=side, height=side)], ignore_steps)
    (large,) = pipeline.draw([ask(width=2 * side, height=2 * side)], ignore_steps)
    assert native.notes == ()
    assert [(note.code, note.detail) for note in large.notes] == [(NoteCode.UPSCALED, f"{side}x{side}")]
    assert large.image.size == (2 * side, 2 * side)
    assert psnr(large.image.resize(native.image.size), native.image) > 30


# Memory.


class Hungry:
    """Fails like a full device whenever more than `rows` rows go through at once, or while heads aren't sliced."""

    def __init__(self, unet: UNet, rows: int, *, needs_slices: bool = False) -> None:
        self.failures = 0
        self._rows, self._needs_slices = rows, needs_slices
        self.layer: Any = next(module for module in unet.modules() if hasattr(module, "to_q"))
        first: Any = unet.conv_in
        first.register_forward_pre_hook(self._check)

    def _check(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        unsliced = self.layer.attention.slice_size is None
        if len(arguments[0]) > self._rows or (self._needs_slices and unsliced):
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")


def test_out_of_memory_is_tried_again_one_at_a_time_in_slices(fresh: NativePipeline) -> None:
    requests = [ask(), ask("the cat", seed=8)]
    plenty = fresh.draw(requests, ignore_steps)
    hungry = Hungry(fresh._parts.unet, rows=2, needs_slices=True)
    seen: list[tuple[int, int]] = []
    scarce = fresh.draw(requests, lambda step, steps, _=None, /: seen.append((step, steps)))
    assert hungry.failures == 1
    assert seen[-1] == (8, 8)
    for one, other in zip(plenty, scarce, strict=True):
        assert psnr(one.image, other.image) >= PARITY
    assert hungry.layer.attention.slice_size is None


def test_out_of_memory_even_so_is_one_sentence(fresh: NativePipeline) -> None:
    Hungry(fresh._parts.unet, rows=0)
    with pytest.raises(MemoryExhaustedError, match="64x64 pixels doesn't fit"):
        fresh.draw([ask()], ignore_steps)


def test_a_fault_that_is_no_want_of_memory_is_not_tried_again(fresh: NativePipeline) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a fault")

    fresh._parts.unet.conv_in.register_forward_pre_hook(break_down)
    with pytest.raises(RuntimeError, match="a fault"):
        fresh.draw([ask()], ignore_steps)


def test_offloading_draws_the_same(pipeline: NativePipeline, sd1: Sibling, settings: EngineSettings) -> None:
    offloading = loaded(sd1.folder, settings, offload=True)
    ours, theirs = (each.draw([ask()], ignore_steps)[0].image for each in (offloading, pipeline))
    assert ours.tobytes() == theirs.tobytes()


def test_attention_slices_and_kernels_draw_the_same(
    pipeline: NativePipeline, sd1: Sibling, settings: EngineSettings
) -> None:
    (plain,) = pipeline.draw([ask()], ignore_steps)
    for changes in ({"attention_slice": 3}, {"attention": "math"}):
        (drawing,) = loaded(sd1.folder, settings, **changes).draw([ask()], ignore_steps)
        assert psnr(plain.image, drawing.image) >= PARITY


def test_half_precision_draws_nearly_the_same(pipeline: NativePipeline, sd1: Sibling, settings: EngineSettings) -> None:
    (plain,) = pipeline.draw([ask(guidance=1.0)], ignore_steps)
    (half,) = loaded(sd1.folder, settings, precision="bfloat16").draw([ask(guidance=1.0)], ignore_steps)
    assert psnr(plain.image, half.image) > 25


# Prompts.


def test_prompts_are_encoded_once(fresh: NativePipeline) -> None:
    runs: list[int] = []
    fresh._parts.text_encoder.register_forward_pre_hook(lambda *_: runs.append(1))
    fresh.draw([ask(), ask(seed=8)], ignore_steps)
    assert len(runs) == 2  # the prompt and the empty one
    fresh.draw([ask(seed=9)], ignore_steps)
    assert len(runs) == 2


def test_the_least_recently_used_embedding_goes_first() -> None:
    encoded: list[str] = []

    def encode(text: str) -> torch.Tensor:
        encoded.append(text)
        return torch.zeros(1)

    embeddings = Embeddings(encode, size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        embeddings(text)
    assert encoded == ["a", "b", "c", "b"]
    assert embeddings.missing(["c"])
    assert not embeddings.missing(["a", "b"])


# Loading.


def test_a_truncated_weight_file_is_one_sentence(sd1: Sibling, settings: EngineSettings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd1.folder, tmp_path / "broken"))
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="truncated or damaged"):
        loaded(folder, settings)


def test_a_missing_part_is_one_sentence(sd1: Sibling, settings: EngineSettings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd1.folder, tmp_path / "broken"))
    shutil.rmtree(folder / "vae")
    with pytest.raises(WeightsError, match="vae"):
        loaded(folder, settings)


def test_a_model_that_was_not_fetched_says_how_to(settings: EngineSettings) -> None:
    with pytest.raises(WeightsError, match="run easel fetch sd15"):
        make(resolve("sd15", settings), settings)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"attention": "xformers"}, "needs an NVIDIA GPU"),
        ({"attention": "efficient"}, "needs an NVIDIA GPU"),
    ],
)
def test_a_kernel_that_cannot_run_is_one_sentence(
    sd1: Sibling, settings: EngineSettings, changes: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        loaded(sd1.folder, settings, **changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_one_sentence(sd1: Sibling, settings: EngineSettings) -> None:
    with pytest.raises(InputError, match="EASEL_DEVICE is cuda"):
        loaded(sd1.folder, settings, device="cuda")


def test_what_stands_beside_a_ckpt_holds_for_its_conversion(
    sd2: Sibling, settings: EngineSettings, tmp_path: Path
) -> None:
    path = tmp_path / "finetune.ckpt"
    torch.save({"state_dict": single_file(sd2.theirs, second=True)}, path)
    write_tokenizer(tmp_path / "tokenizer", pad="!")
    assert loaded(path, settings)._parts.prediction == "epsilon"
    path.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    pipeline = loaded(path, settings)
    assert pipeline._origin.path.suffix == ".safetensors"
    assert pipeline._parts.prediction == "v_prediction"


def test_a_single_file_without_a_vocabulary_says_how_to_get_it(settings: EngineSettings, tmp_path: Path) -> None:
    path = tmp_path / "lonely.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="run easel fetch clip-tokenizer"):
        loaded(path, settings)


def test_a_single_file_uses_the_fetched_vocabulary(settings: EngineSettings, tmp_path: Path) -> None:
    write_tokenizer(settings.models_folder / "clip-tokenizer" / "tokenizer")
    path = tmp_path / "empty.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"empty\.safetensors"):  # got past the vocabulary, to the weights
        loaded(path, settings)
