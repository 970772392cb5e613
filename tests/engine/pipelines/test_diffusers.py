from __future__ import annotations

import inspect
import json
import shutil
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from engine.errors import GenerationCancelled, InputError, MemoryExhaustedError, WeightsError
from engine.models.registry import ModelSource, resolve
from engine.pipelines.base import Look
from engine.pipelines.diffusers import NEEDED, SCHEDULERS, DiffusersPipeline, _draws_from_text
from engine.pipelines.factory import make
from engine.settings import EngineSettings
from engine.types import NoteCode, Quality, Sampler
from tests.engine.pipelines.conftest import Sibling, ask, ignore_steps, psnr
from tests.engine.sd.siblings import reference_tokenizer, vocabulary

PARITY = 60.0
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own


def text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(vocabulary()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=32,
        bos_token_id=len(vocabulary()) - 2,
        eos_token_id=len(vocabulary()) - 1,
    )


def save_small_sdxl(folder: Path) -> None:
    """A Stable Diffusion XL of random weights, the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            transformer_layers_per_block=1,
            attention_head_dim=(2, 4),
            cross_attention_dim=64,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=80,
        )
        vae = AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=64,
        )
        pipeline = StableDiffusionXLPipeline(
            unet=unet,
            vae=vae,
            text_encoder=CLIPTextModel(text_config()),
            text_encoder_2=CLIPTextModelWithProjection(text_config()),
            tokenizer=reference_tokenizer(),
            tokenizer_2=reference_tokenizer(pad="!"),
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
            ),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder)


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdxl") / "small-sdxl"
    save_small_sdxl(folder)
    return folder


def loaded(folder: Path, settings: EngineSettings, **changes: object) -> DiffusersPipeline:
    settings = settings.model_copy(update=changes)
    pipeline = make(resolve(str(folder), settings), settings)
    assert isinstance(pipeline, DiffusersPipeline)
    pipeline.load()
    return pipeline


@pytest.fixture(scope="module")
def pipeline(sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> DiffusersPipeline:
    return loaded(sdxl, EngineSettings(home=tmp_path_factory.mktemp("home"), device="cpu", threads=1))


@pytest.fixture
def fresh(sdxl: Path, settings: EngineSettings) -> DiffusersPipeline:
    """One of its own, for tests that tamper with it."""
    return loaded(sdxl, settings)


def test_draws_the_same_alone_and_in_company(pipeline: DiffusersPipeline) -> None:
    requests = [ask(), ask("the cat", seed=2**64 - 1, guidance=1.0, negative_prompt="and"), ask(seed=8)]
    together = pipeline.draw(requests, ignore_steps)
    assert len({drawing.image.tobytes() for drawing in together}) == 3
    for request, drawing in zip(requests, together, strict=True):
        (alone,) = pipeline.draw([request], ignore_steps)
        assert alone.image.tobytes() == drawing.image.tobytes()


def test_steps_are_reported_over_the_whole_batch(pipeline: DiffusersPipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.draw([ask(steps=2), ask(steps=2, seed=8)], lambda step, steps, _=None, /: seen.append((step, steps)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_stops_between_two_steps_and_draws_again(pipeline: DiffusersPipeline) -> None:
    def stop(step: int, _: int, look: Look | None = None, /) -> None:
        if step == 2:
            raise GenerationCancelled

    with pytest.raises(GenerationCancelled):
        pipeline.draw([ask()], stop)
    assert pipeline.draw([ask()], ignore_steps)[0].image.size == (64, 64)


@pytest.mark.parametrize("sampler", list(Sampler))
def test_every_sampler_that_the_model_takes_is_used(pipeline: DiffusersPipeline, sampler: Sampler) -> None:
    (drawing,) = pipeline.draw([ask(sampler=sampler, steps=3)], ignore_steps)
    name, options = SCHEDULERS[sampler]
    assert type(pipeline._pipe.scheduler).__name__ == name
    assert all(pipeline._pipe.scheduler.config[key] == value for key, value in options.items())
    assert drawing.seconds.keys() == {"denoise", "decode"}


def test_a_model_with_a_scheduler_of_its_own_keeps_it(fresh: DiffusersPipeline) -> None:
    class Own(EulerDiscreteScheduler):  # type: ignore[misc]
        _compatibles: list[str] = []  # noqa: RUF012  (as flow-matching schedulers declare)

    fresh._own_scheduler = Own.from_config(fresh._own_scheduler.config)
    seen: list[int] = []
    fresh.draw([ask(steps=21, quality=Quality.FAST)], lambda *report: seen.append(report[1]))
    assert type(fresh._pipe.scheduler) is Own
    assert seen[-1] == 21


def test_faster_qualities_take_fewer_steps(pipeline: DiffusersPipeline) -> None:
    seen: list[int] = []
    pipeline.draw([ask(steps=22, quality=Quality.BALANCED)], lambda *report: seen.append(report[1]))
    assert seen[-1] == 20


def test_settings_for_small_devices_draw_the_same(
    pipeline: DiffusersPipeline, sdxl: Path, settings: EngineSettings
) -> None:
    (plain,) = pipeline.draw([ask()], ignore_steps)
    for changes in ({"attention_slice": 1}, {"attention": "math"}, {"attention": "flash"}, {"offload": True}):
        (drawing,) = loaded(sdxl, settings, **changes).draw([ask()], ignore_steps)
        assert psnr(plain.image, drawing.image) >= PARITY, changes


def test_global_randomness_is_left_alone(pipeline: DiffusersPipeline) -> None:
    before = torch.random.get_rng_state()
    pipeline.draw([ask(sampler=Sampler.EULER_ANCESTRAL)], ignore_steps)
    assert torch.equal(before, torch.random.get_rng_state())


class Distilled(StableDiffusionXLPipeline):  # type: ignore[misc]  # diffusers tells no types
    """Takes options as FLUX does, where `guidance_scale` alone leads nothing away."""

    seen: ClassVar[list[tuple[object, float]]] = []

    def __call__(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        true_cfg_scale: float = 1.0,
        width: int = 64,
        height: int = 64,
        num_inference_steps: int = 2,
    ) -> Any:
        self.seen.append((negative_prompt, true_cfg_scale))
        return super().__call__(prompt, width=width, height=height, num_inference_steps=num_inference_steps)


class Deaf(StableDiffusionXLPipeline):  # type: ignore[misc]
    def __call__(self, prompt: str, guidance_scale: float = 1.0) -> Any:
        return super().__call__(prompt)


def test_a_model_with_distilled_guidance_is_led_away_all_the_same(fresh: DiffusersPipeline) -> None:
    fresh._pipe.__class__ = Distilled
    fresh.draw([ask(negative_prompt="blurry", guidance=2.0), ask()], ignore_steps)
    assert Distilled.seen == [("blurry", 2.0), (None, 1.0)]


def test_a_model_that_can_t_be_led_away_draws_nothing_that_should_be(fresh: DiffusersPipeline) -> None:
    fresh._pipe.__class__ = Deaf
    with pytest.raises(InputError, match="can't be told what to avoid"):
        fresh.draw([ask(negative_prompt="nsfw")], ignore_steps)


def test_out_of_memory_is_tried_again_with_less(fresh: DiffusersPipeline) -> None:
    failures: list[int] = []

    def fail_once(*_: object) -> None:
        if not failures:
            failures.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory.")

    fresh._pipe.unet.register_forward_pre_hook(fail_once)
    assert fresh.draw([ask()], ignore_steps)[0].image.size == (64, 64)


def test_out_of_memory_even_so_is_one_sentence(fresh: DiffusersPipeline) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    fresh._pipe.unet.register_forward_pre_hook(fail)
    with pytest.raises(MemoryExhaustedError, match="64x64 pixels doesn't fit"):
        fresh.draw([ask()], ignore_steps)


def test_a_picture_of_another_size_is_enlarged(fresh: DiffusersPipeline) -> None:
    original = fresh._pipe.image_processor.postprocess

    def smaller(*arguments: Any, **options: Any) -> list[Image.Image]:
        return [picture.resize((32, 32)) for picture in original(*arguments, **options)]

    fresh._pipe.image_processor.postprocess = smaller
    (drawing,) = fresh.draw([ask()], ignore_steps)
    assert drawing.image.size == (64, 64)
    assert [note.code for note in drawing.notes] == [NoteCode.UPSCALED]


def test_stable_diffusion_with_a_checker_of_its_own_goes_without_it(
    sd1: Sibling, settings: EngineSettings, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sd1.folder, tmp_path / "checked"))
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    (folder / "model_index.json").write_text(json.dumps(index))
    source = resolve(str(folder), settings)
    pipeline = DiffusersPipeline(ModelSource(info=source.info, path=folder, kind="diffusers"), settings)
    pipeline.load()
    assert pipeline._pipe.safety_checker is None
    assert pipeline.draw([ask()], ignore_steps)[0].image.size == (64, 64)


# Faults.


def test_pickled_weights_are_not_loaded(sdxl: Path, settings: EngineSettings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sdxl, tmp_path / "pickled"))
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(WeightsError, match="can't be loaded"):
        loaded(folder, settings)


def test_a_missing_part_is_one_sentence(sdxl: Path, settings: EngineSettings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sdxl, tmp_path / "broken"))
    shutil.rmtree(folder / "vae")
    with pytest.raises(WeightsError, match="can't be loaded") as caught:
        loaded(folder, settings)
    assert "\n" not in str(caught.value)


def test_a_truncated_weight_file_is_one_sentence(sdxl: Path, settings: EngineSettings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sdxl, tmp_path / "broken"))
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="can't be loaded"):
        loaded(folder, settings)


def test_a_pipeline_that_draws_nothing_from_text_is_one_sentence(
    sdxl: Path, settings: EngineSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "unconditional"
    folder.mkdir()
    shutil.copytree(sdxl / "unet", folder / "unet")
    shutil.copytree(sdxl / "scheduler", folder / "scheduler")
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="DDPMPipeline, which draws no pictures from text"):
        loaded(folder, settings)


@pytest.mark.parametrize("kind", ["StableDiffusionInpaintPipeline", "StableDiffusionImg2ImgPipeline"])
def test_a_pipeline_that_draws_over_images_is_one_sentence(
    sd1: Sibling, settings: EngineSettings, tmp_path: Path, kind: str
) -> None:
    folder = Path(shutil.copytree(sd1.folder, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": kind}))
    with pytest.raises(WeightsError, match=f"{kind}, which draws no pictures from text"):
        loaded(folder, settings)


def accepting(required: set[str], optional: set[str]) -> object:
    """Something that is called with such options by name, and with more."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, kind) for name in sorted(required)]
    parameters += [inspect.Parameter(name, kind, default=None) for name in sorted(optional - required)]
    parameters.append(inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD))

    def draw(**_: object) -> None: ...

    described: Any = draw
    described.__signature__ = inspect.Signature(parameters)
    return types.SimpleNamespace(__call__=described)


@pytest.mark.parametrize(
    ("required", "optional", "draws"),
    [
        (set(), set(), True),
        ({"prompt"}, {"image"}, True),
        (set(), {"strength"}, True),
        ({"image"}, set(), False),
        ({"prompt", "controls"}, set(), False),
        (set(), {"mask_image"}, False),
        (set(), {"control_image"}, False),
        (set(), {"image", "strength"}, False),
        (set(), {"image", "controlnet_conditioning_scale"}, False),
    ],
)
def test_what_a_pipeline_accepts_tells_whether_text_is_enough(
    required: set[str], optional: set[str], draws: bool
) -> None:
    assert _draws_from_text(accepting(required, NEEDED | optional)) == draws


def test_a_pipeline_that_diffusers_does_not_know_is_one_sentence(settings: EngineSettings, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "PipelineOfTomorrow"}))
    with pytest.raises(WeightsError, match="can't be loaded"):
        loaded(tmp_path, settings)
