"""Our own Stable Diffusion as a pipeline: noise, prompts, schedule, denoising, decoding."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from engine.errors import MemoryExhaustedError, WeightsError
from engine.models.registry import CLIP_TOKENIZER_NAME, ModelSource
from engine.pipelines.base import Drawing, OnStep
from engine.pipelines.conversion import as_safetensors
from engine.pipelines.enlarge import enlarged
from engine.pipelines.optimisations import (
    Preset,
    SkipInitialisation,
    channels_last,
    preset_for,
    steps_and_sampler,
    use_attention,
)
from engine.pipelines.placement import (
    check_attention,
    choose_device,
    choose_dtype,
    free_memory,
    is_out_of_memory,
    use_threads,
)
from engine.sd.attention import AttentionSettings
from engine.sd.checkpoint import Components, Placement, load
from engine.sd.denoiser import Conditioning, Denoiser, FeatureCache
from engine.sd.samplers import SAMPLERS, Sampler, draw_noise, sample
from engine.sd.schedule import SamplingPlan
from engine.settings import EngineSettings
from engine.types import ResolvedRequest

REMEMBERED_PROMPTS = 256
"""Embeddings kept: 0.2 MB each in float32 for Stable Diffusion 1.x."""


class Embeddings:
    """The most recently used prompts' embeddings; a prompt is encoded alone, so that company changes nothing."""

    def __init__(self, encode: Callable[[str], Tensor], size: int = REMEMBERED_PROMPTS) -> None:
        self._encode = encode
        self._size = size
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def missing(self, texts: Sequence[str]) -> bool:
        """Whether the text encoder is needed for any of these."""
        return any(text not in self._kept for text in texts)

    def __call__(self, text: str) -> Tensor:
        """[tokens, width] of a text."""
        if text not in self._kept:
            self._kept[text] = self._encode(text)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]


class NativePipeline:
    """Stable Diffusion 1.x, 2.x and Turbo on `engine.sd`."""

    _parts: Components

    def __init__(self, source: ModelSource, settings: EngineSettings) -> None:
        self._source = source
        self._settings = settings
        self._attention = AttentionSettings(backend=settings.attention, slice_size=settings.attention_slice)
        self._device = choose_device(settings)
        self._dtype = choose_dtype(settings, self._device)
        self._embeddings = Embeddings(self._encode)

    def load(self) -> None:
        """Bring the weights into memory.

        Raises:
            engine.errors.WeightsError: files are missing, truncated or of the wrong shape.
            engine.errors.InputError: the attention kernel that was asked for can't run here.
            engine.errors.ExtraMissingError: it needs a package that is not installed.
        """
        check_attention(self._settings, self._device, self._dtype)
        use_threads(self._settings)
        resting = torch.device("cpu") if self._settings.offload else self._device
        folder = self._settings.models_folder
        path = self._source.path
        with SkipInitialisation():
            self._parts = load(
                as_safetensors(path, folder / "converted") if path.is_file() else path,
                Placement(device=resting, dtype=self._dtype),
                tokenizer=_tokenizer_for(path, folder) if path.is_file() else None,
            )
        # Only the UNet's kernel is chosen by the operator: flash can't take the autoencoder's one wide head.
        use_attention(self._parts.unet, self._attention)
        channels_last(self._parts.unet)
        channels_last(self._parts.vae)

    @torch.inference_mode()
    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Draw requests that agree in all but prompt, negative prompt, guidance and seed, as one batch.

        Out of memory, they are drawn once more, one at a time and with sliced attention.

        Raises:
            engine.errors.GenerationCancelled: `on_step` asked for it.
            engine.errors.MemoryExhaustedError: it doesn't fit the device even so.
        """
        try:
            return self._draw_groups(requests, _comparable(requests), on_step)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        free_memory(self._device)
        return self._draw_frugally(requests, on_step)

    def _draw_frugally(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        use_attention(self._parts.unet, replace(self._attention, slice_size=1))
        try:
            return self._draw_groups(requests, [[i] for i in range(len(requests))], on_step)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            width, height = self._drawn_size(requests[0])
            raise MemoryExhaustedError(
                f"A picture of {width}x{height} pixels doesn't fit this device's memory; ask for a smaller one."
            ) from error
        finally:
            use_attention(self._parts.unet, self._attention)

    def _draw_groups(
        self, requests: Sequence[ResolvedRequest], groups: Sequence[Sequence[int]], on_step: OnStep
    ) -> list[Drawing]:
        """Draw some of the requests at a time, and give back the drawings in their order."""
        drawings: dict[int, Drawing] = {}
        for turn, group in enumerate(groups):

            def report(step: int, steps: int, turn: int = turn) -> None:
                on_step(turn * steps + step, len(groups) * steps)

            drawings |= zip(group, self._draw_batch([requests[i] for i in group], report), strict=True)
        return [drawings[i] for i in range(len(requests))]

    def _draw_batch(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """The five steps from requests to pictures."""
        seconds: dict[str, float] = {}
        preset = preset_for(requests[0])
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        noise = self._noise(generators, self._drawn_size(requests[0]))
        with self._timing(seconds, "text"):
            conditioning = self._prompts(requests, preset)
        plan, sampler = self._schedule(requests[0], preset)
        cache = FeatureCache(preset.reuse) if preset.reuse > 1 else None
        denoise = Denoiser(self._parts.unet, self._parts.prediction, cache)
        with self._timing(seconds, "denoise"), self._at_work(self._parts.unet):
            latents = sample(
                sampler.run,
                lambda query: denoise(query, conditioning),
                noise * plan.initial_scale,
                plan,
                generators,
                lambda step, steps, _: on_step(step, steps),
            )
        with self._timing(seconds, "decode"):
            images = self._decode(latents)
        return [enlarged(image, request, seconds) for image, request in zip(images, requests, strict=True)]

    def _drawn_size(self, request: ResolvedRequest) -> tuple[int, int]:
        """Width and height in pixels that the model itself draws."""
        native = self._source.info.native
        return (native, native) if self._source.native_only else (request.width, request.height)

    def _noise(self, generators: Sequence[torch.Generator], size: tuple[int, int]) -> Tensor:
        """[batch, channels, height, width] of unit noise, the same whatever the device and the company."""
        width, height = size
        config = self._parts.vae.config
        shape = (config.latent_channels, height // config.factor, width // config.factor)
        return draw_noise(generators, shape, self._device)

    def _encode(self, text: str) -> Tensor:
        """[tokens, width] of one text."""
        ids = torch.tensor(self._parts.tokenizer([text]), device=self._device)
        embedding: Tensor = self._parts.text_encoder(ids)[0]
        return embedding

    def _prompts(self, requests: Sequence[ResolvedRequest], preset: Preset) -> Conditioning:
        """What the pictures should and shouldn't show."""
        wanted = [request.prompt for request in requests]
        unwanted = [request.negative_prompt for request in requests]
        if self._embeddings.missing([*wanted, *unwanted]):
            with self._at_work(self._parts.text_encoder):
                self._embed([*wanted, *unwanted])
        return Conditioning(
            positive=self._embed(wanted),
            negative=self._embed(unwanted),
            scales=tuple(request.guidance for request in requests),
            interval=preset.guidance_interval,
        )

    def _embed(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self._embeddings(text) for text in texts])

    def _schedule(self, request: ResolvedRequest, preset: Preset) -> tuple[SamplingPlan, Sampler]:
        """The times to visit, and the way between them."""
        steps, name = steps_and_sampler(request, preset)
        sampler = SAMPLERS[name]
        return sampler.plan(self._parts.schedule, steps), sampler

    def _decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of [batch, channels, height, width] latents; one at a time, for the memory."""
        vae = self._parts.vae
        scaled = latents.to(self._dtype) / vae.config.scaling_factor
        with self._at_work(vae):
            return [_to_image(vae.decode(scaled[i : i + 1])[0]) for i in range(len(scaled))]

    @contextmanager
    def _at_work(self, network: nn.Module) -> Iterator[None]:
        """With offloading, a network is on the device only inside."""
        if not self._settings.offload:
            yield
            return
        network.to(self._device)
        try:
            yield
        finally:
            network.to("cpu")

    @contextmanager
    def _timing(self, seconds: dict[str, float], stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds[stage] = time.perf_counter() - start


def _comparable(requests: Sequence[ResolvedRequest]) -> list[list[int]]:
    """The groups that may share a batch without changing each other's picture.

    Reused features are computed anew when guidance sets in or ends, so that whoever is guided mustn't be together with
    who isn't.
    """
    everyone = list(range(len(requests)))
    if preset_for(requests[0]).reuse == 1:
        return [everyone]
    guided = [i for i in everyone if requests[i].guidance > 1]
    return [group for group in (guided, [i for i in everyone if i not in guided]) if group]


def _tokenizer_for(path: Path, models: Path) -> Path:
    """The folder of a single file's vocabulary: beside it, or the one fetched for all such files."""
    for folder in (path.parent / "tokenizer", models / CLIP_TOKENIZER_NAME / "tokenizer"):
        if folder.is_dir():
            return folder
    raise WeightsError(
        f"{path.name} holds no vocabulary, as single files don't; run easel fetch {CLIP_TOKENIZER_NAME}."
    )


def _to_image(pixels: Tensor) -> Image.Image:
    """[3, height, width] in -1..1 -> RGB."""
    levels = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round()
    return Image.fromarray(levels.to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy())
