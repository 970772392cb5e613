"""Our own Stable Diffusion as a pipeline: noise, prompts, schedule, denoising, decoding."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from engine.errors import MemoryExhaustedError
from engine.models.registry import ModelSource
from engine.models.whole import vocabulary
from engine.pipelines.base import Drawing, OnStep, in_turn
from engine.pipelines.compiling import make_forge
from engine.pipelines.conversion import as_safetensors
from engine.pipelines.enlarge import enlarged
from engine.pipelines.native_stepper import NativeStepper
from engine.pipelines.openvino import Origin
from engine.pipelines.optimisations import (
    Preset,
    int8_weights,
    optimise,
    preset_for,
    use_attention,
)
from engine.pipelines.passes import Pass, noise_source, route
from engine.pipelines.placement import (
    check_attention,
    check_int8,
    choose_device,
    choose_dtype,
    free_memory,
    is_out_of_memory,
    use_threads,
)
from engine.pipelines.previews import PreviewMap
from engine.pipelines.stepping import Painting
from engine.pipelines.switching import SwitchingDecoder, SwitchingNetwork
from engine.sd.attention import AttentionSettings
from engine.sd.checkpoint import Components, Placement, load
from engine.sd.denoiser import Conditioning, Denoiser, FeatureCache, Network
from engine.sd.hoisting import Hoisted
from engine.sd.noise import NoiseSource, draw_noise
from engine.sd.original import stated_prediction
from engine.sd.samplers import Denoise, Run, drive
from engine.sd.tiling import decode_tiled
from engine.settings import EngineSettings
from engine.sources import fitted, opened
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
        self._preview_map: PreviewMap | None = None

    def load(self) -> None:
        """Bring the weights into memory.

        Raises:
            engine.errors.WeightsError: files are missing, truncated or of the wrong shape.
            engine.errors.InputError: the attention kernel that was asked for can't run here.
            engine.errors.ExtraMissingError: it needs a package that is not installed.
        """
        check_attention(self._settings, self._device, self._dtype)
        check_int8(self._settings, self._dtype)
        use_threads(self._settings)
        resting = torch.device("cpu") if self._settings.offload else self._device
        folder = self._settings.models_folder
        path = self._source.path
        self._origin = Origin(
            path=as_safetensors(path, folder / "converted") if path.is_file() else path,
            tokenizer=vocabulary(path, folder) if path.is_file() else None,
            kept_in=folder / "openvino",
        )
        self._parts = load(
            self._origin.path,
            Placement(device=resting, dtype=self._dtype),
            tokenizer=self._origin.tokenizer,
            prediction=stated_prediction(path) if path.is_file() else None,  # beside a conversion there is nothing
        )
        # Only the UNet's kernel is chosen by the operator: flash can't take the autoencoder's one wide head.
        use_attention(self._parts.unet, self._attention)
        self._packed = optimise(self._parts, self._device, self._dtype)
        if self._settings.int8:
            int8_weights(self._parts.unet)
        self._set_to_work()

    def _set_to_work(self) -> None:
        """Choose what evaluates the networks: themselves, until something compiled from them is ready."""
        self._network: Network = Hoisted(self._parts.unet)
        self._decoder: Callable[[Tensor], Tensor] = self._parts.vae.decode_scaled
        self._forge = make_forge(self._settings, self._parts, self._device, self._dtype, self._origin)
        if self._forge is not None:
            self._network = SwitchingNetwork(self._network, self._forge)
            self._decoder = SwitchingDecoder(self._decoder, self._forge)

    def compiled(self, timeout: float) -> bool:
        """Whether everything is compiled that was asked for so far, after waiting for at most so many seconds."""
        return self._forge is None or self._forge.wait(timeout)

    def move(self, settings: EngineSettings) -> None:
        """Bring the loaded weights to the device of other settings.

        Raises:
            engine.errors.InputError: there is no such device, or the attention kernel can't run on it.
        """
        device = choose_device(settings)
        check_attention(settings, device, self._dtype)
        self._settings, self._device = settings, device
        self._embeddings = Embeddings(self._encode)
        self._attention = AttentionSettings(backend=settings.attention, slice_size=settings.attention_slice)
        if self._packed and device.type != "cpu":
            self.load()  # the weights are laid out for the CPU
            return
        resting = torch.device("cpu") if settings.offload else device
        for network in (self._parts.text_encoder, self._parts.unet, self._parts.vae):
            network.to(resting)
        use_attention(self._parts.unet, self._attention)
        self._set_to_work()

    @torch.inference_mode()
    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Draw requests of one shape as one batch.

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
            width, height = requests[0].output_size
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
            drawn = self._draw_batch([requests[i] for i in group], in_turn(on_step, turn, groups))
            drawings |= zip(group, drawn, strict=True)
        return [drawings[i] for i in range(len(requests))]

    def _draw_batch(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """From requests to pictures: noise, prompts, schedule, denoising, decoding."""
        painting = self.begin(requests, on_step)
        with self._timing(painting.seconds, "denoise"), self._at_work(self._parts.unet):
            latents = drive(painting.run, self._denoise(painting))
        return self.finish(painting, latents)

    def begin(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> Painting:
        """Prompts and schedule of requests of one shape, and their queries, none of them asked yet."""
        seconds: dict[str, float] = {}
        preset = preset_for(requests[0])
        with self._timing(seconds, "text"):
            conditioning = self._prompts(requests, preset)
        passes = route(requests[0], preset, self._parts.schedule, self._drawn_size(requests[0]))
        return Painting(
            requests=requests,
            conditioning=conditioning,
            times=[time for each in passes for time in each.plan.timesteps],
            run=self._paint(requests, passes, on_step),
            seconds=seconds,
        )

    def finish(self, painting: Painting, latents: Tensor) -> list[Drawing]:
        """Decode what a painting's queries ended with."""
        with self._timing(painting.seconds, "decode"):
            images = self._decode(latents)
        pairs = zip(images, painting.requests, strict=True)
        return [enlarged(image, request, painting.seconds) for image, request in pairs]

    def stepper(self) -> NativeStepper | None:
        """For drawing step by step; None with offloading, where the network would come and go at each."""
        return None if self._settings.offload else NativeStepper(self, self._device)

    def _paint(self, requests: Sequence[ResolvedRequest], passes: Sequence[Pass], on_step: OnStep) -> Run:
        """The queries of a batch's passes, one after the other; ends with the last pass's latents."""
        sources = [noise_source(request) for request in requests]
        latents = self._start(requests, passes[0].size)
        done, steps = 0, sum(each.plan.steps for each in passes)

        def report(step: int, _: int, x0: Tensor) -> None:
            on_step(done + step, steps, lambda: dict(enumerate(self._preview(x0))))

        for number, each in enumerate(passes):
            if latents is not None and number:
                latents = self._encode_images([fitted(image, *each.size) for image in self._decode(latents)])
            x = self._noise(sources, each.size) * each.plan.initial_scale
            x = x if latents is None else x + latents
            latents = yield from each.sampler.run(x, each.plan, sources, report)
            done += each.plan.steps
        return cast("Tensor", latents)

    def _denoise(self, painting: Painting) -> Denoise:
        """Answers a batch's queries; where features are reused, those of each size of latents are kept apart."""
        reuse = preset_for(painting.requests[0]).reuse

        def denoiser() -> Denoiser:
            made = self.denoiser(FeatureCache(reuse) if reuse > 1 else None)
            made.prepare(painting.times)
            return made

        denoisers: defaultdict[torch.Size, Denoiser] = defaultdict(denoiser)
        return lambda query: denoisers[query.x.shape](query, painting.conditioning)

    def denoiser(self, cache: FeatureCache | None = None) -> Denoiser:
        """Answers queries by the loaded network; arguments as of `Denoiser`."""
        return Denoiser(self._parts.unet, self._parts.prediction, cache, self._network)

    def _start(self, requests: Sequence[ResolvedRequest], size: tuple[int, int]) -> Tensor | None:
        """Latents of the images to start from, or None where pictures start from noise."""
        images = [fitted(opened(request.image), *size) for request in requests if request.image]
        return self._encode_images(images) if images else None

    def _drawn_size(self, request: ResolvedRequest) -> tuple[int, int]:
        """Width and height in pixels that the model itself draws."""
        native = self._source.info.native
        return (native, native) if self._source.native_only else (request.width, request.height)

    def _noise(self, sources: Sequence[NoiseSource], size: tuple[int, int]) -> Tensor:
        """[batch, channels, height, width] of unit noise, the same whatever the device and the company."""
        width, height = size
        config = self._parts.vae.config
        shape = (config.latent_channels, height // config.factor, width // config.factor)
        return draw_noise(sources, shape, self._device)

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

    def _encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        """[batch, channels, height, width] latents of pictures of one size, one at a time, for the memory.

        They are the mean of what the autoencoder holds possible: nothing is drawn, so that no seed is needed.
        """
        with self._at_work(self._parts.vae):
            return torch.cat([self._encode_pixels(_to_pixels(image)[None]) for image in images])

    def _encode_pixels(self, pixels: Tensor) -> Tensor:
        vae = self._parts.vae
        mean, _ = vae.encode(pixels.to(self._device, self._dtype))
        return mean.float() * vae.config.scaling_factor

    def _preview(self, latents: Tensor) -> list[Image.Image]:
        """Small pictures of latents; the map to them is fitted when somebody first looks."""
        if self._preview_map is None:
            config = self._parts.vae.config
            with self._at_work(self._parts.vae):
                self._preview_map = PreviewMap(
                    self._encode_pixels, channels=config.latent_channels, factor=config.factor
                )
        return self._preview_map(latents)

    def _decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of [batch, channels, height, width] latents; one at a time, for the memory."""
        vae = self._parts.vae
        latents = latents.to(self._dtype)
        with self._at_work(vae):
            pixels = [decode_tiled(self._decoder, latent[None], vae.config.factor) for latent in latents]
            return [_to_image(each[0]) for each in pixels]

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


def _to_pixels(image: Image.Image) -> Tensor:
    """RGB -> [3, height, width] in -1..1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def _to_image(pixels: Tensor) -> Image.Image:
    """[3, height, width] in -1..1 -> RGB."""
    levels = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round()
    return Image.fromarray(levels.to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy())
