"""Any other text-to-image model, drawn by diffusers: SDXL, Stable Diffusion 3, FLUX and what comes after them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.errors import ExtraMissingError, MemoryExhaustedError, WeightsError
from engine.models.registry import ModelSource
from engine.pipelines.base import Drawing, OnStep
from engine.pipelines.enlarge import enlarged
from engine.pipelines.optimisations import preset_for, steps_and_sampler
from engine.pipelines.placement import (
    check_attention,
    choose_device,
    choose_dtype,
    free_memory,
    is_out_of_memory,
    use_threads,
)
from engine.settings import EngineSettings
from engine.types import ResolvedRequest, Sampler

SCHEDULERS: Mapping[Sampler, tuple[str, Mapping[str, Any]]] = {
    Sampler.DDIM: ("DDIMScheduler", {}),
    Sampler.EULER: ("EulerDiscreteScheduler", {}),
    Sampler.EULER_ANCESTRAL: ("EulerAncestralDiscreteScheduler", {}),
    Sampler.DPMPP_2M: ("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
    Sampler.DPMPP_2M_KARRAS: ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    Sampler.HEUN: ("HeunDiscreteScheduler", {}),
    Sampler.LCM: ("LCMScheduler", {}),
}
"""Our samplers by the names and options that diffusers knows them under."""

KERNELS: Mapping[str, list[SDPBackend]] = {
    "flash": [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "math": [SDPBackend.MATH],
}
"""Attention kernels; the plain one stands in for layers that a chosen one can't take."""

NEEDED = {"prompt", "width", "height", "num_inference_steps", "generator", "callback_on_step_end"}
"""What a pipeline must accept to be a text-to-image model that can be stopped."""


class DiffusersPipeline:
    """A pipeline of diffusers, read from a folder that was fetched before.

    A sampler is used where the model's own scheduler declares it compatible; flow-matching models and others keep
    their own. Requests are drawn one at a time: guidance holds for a whole batch there, and an empty negative prompt
    means something else in company.
    """

    _pipe: Any

    def __init__(self, source: ModelSource, settings: EngineSettings) -> None:
        self._source = source
        self._settings = settings
        self._device = choose_device(settings)
        self._dtype = choose_dtype(settings, self._device)

    def load(self) -> None:
        """Bring the weights into memory.

        Raises:
            engine.errors.WeightsError: files are missing, damaged, or of no text-to-image model.
            engine.errors.InputError: the attention kernel that was asked for can't run here.
            engine.errors.ExtraMissingError: a package that the model needs is not installed.
        """
        check_attention(self._settings, self._device, self._dtype)
        use_threads(self._settings)
        self._pipe = pipe = self._read()
        parameters = inspect.signature(pipe.__call__).parameters
        if not parameters.keys() >= NEEDED:
            raise WeightsError(f"{self._source.path} is a {type(pipe).__name__}, which draws no pictures from text.")
        self._accepted = frozenset(parameters)
        self._own_scheduler = pipe.scheduler
        pipe.set_progress_bar_config(disable=True)
        self._place(pipe)

    def _read(self) -> Any:  # noqa: ANN401  (diffusers is not typed)
        try:
            import diffusers
            import transformers
        except ImportError as error:
            raise ExtraMissingError(
                "This model needs diffusers; run pip install '.[engine]' in Easel's folder."
            ) from error
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        path = self._source.path
        try:
            index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
            checker = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
            return diffusers.DiffusionPipeline.from_pretrained(
                path,
                dtype=self._dtype,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=_accelerated(),
                **checker,  # Easel checks every picture itself
            )
        except ImportError as error:
            raise ExtraMissingError(f"{path.name} needs a package that is not installed: {_line(error)}.") from error
        except (OSError, ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} can't be loaded: {_line(error)}.") from error

    def _place(self, pipe: Any) -> None:  # noqa: ANN401
        """Move the model to the device, or have its parts moved there one at a time."""
        settings = self._settings
        if settings.attention == "xformers":
            pipe.enable_xformers_memory_efficient_attention()
        if settings.attention_slice is not None:
            pipe.enable_attention_slicing(settings.attention_slice)
        if not settings.offload or self._device.type == "cpu":
            pipe.to(self._device)
            return
        if not _accelerated():
            raise ExtraMissingError("Offloading this model needs accelerate; run pip install accelerate.")
        pipe.enable_model_cpu_offload(device=self._device)
        _tile(pipe)

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Draw requests one after the other.

        Out of memory, they are drawn once more with sliced attention and the picture decoded in tiles.

        Raises:
            engine.errors.GenerationCancelled: `on_step` asked for it.
            engine.errors.MemoryExhaustedError: it doesn't fit the device even so.
        """
        try:
            return self._draw_all(requests, on_step)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        free_memory(self._device)
        self._pipe.enable_attention_slicing("max")
        _tile(self._pipe)
        try:
            return self._draw_all(requests, on_step)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            width, height = requests[0].width, requests[0].height
            raise MemoryExhaustedError(
                f"A picture of {width}x{height} pixels doesn't fit this device's memory; ask for a smaller one."
            ) from error

    def _draw_all(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        drawings = []
        for turn, request in enumerate(requests):

            def report(step: int, steps: int, turn: int = turn) -> None:
                on_step(turn * steps + step, len(requests) * steps)

            drawings.append(self._draw(request, report))
        return drawings

    def _draw(self, request: ResolvedRequest, on_step: OnStep) -> Drawing:
        steps = self._schedule(request)
        start = time.perf_counter()
        denoised = start

        def after_step(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
            nonlocal denoised
            on_step(step + 1, pipe.num_timesteps)
            denoised = time.perf_counter()
            return tensors

        options = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt or None,
            "width": request.width,
            "height": request.height,
            "num_inference_steps": steps,
            "guidance_scale": request.guidance,
            "generator": torch.Generator().manual_seed(request.seed),
            "callback_on_step_end": after_step,
        }
        with self._drawing():
            result = self._pipe(**{name: value for name, value in options.items() if name in self._accepted})
        seconds = {"denoise": denoised - start, "decode": time.perf_counter() - denoised}
        return enlarged(result.images[0].convert("RGB"), request, seconds)

    def _schedule(self, request: ResolvedRequest) -> int:
        """Give the pipeline the scheduler of the request; returns its steps."""
        import diffusers

        own = self._own_scheduler
        compatible = {scheduler.__name__ for scheduler in getattr(own, "compatibles", ())}
        if "DDIMScheduler" in compatible:
            compatible.add("LCMScheduler")  # takes the same configurations, though none declares it
        steps, sampler = steps_and_sampler(request, preset_for(request))
        name, options = SCHEDULERS[sampler]
        if name not in compatible:
            self._pipe.scheduler = own
            return request.steps
        self._pipe.scheduler = getattr(diffusers, name).from_config(own.config, **options)
        return steps

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """The chosen attention kernel; and whatever happens, offloaded parts are off the device afterwards."""
        kernels = KERNELS.get(self._settings.attention)
        try:
            if kernels is None:
                yield
            else:
                with sdpa_kernel(kernels):
                    yield
        finally:
            self._pipe.maybe_free_model_hooks()


def _accelerated() -> bool:
    return importlib.util.find_spec("accelerate") is not None


def _tile(pipe: Any) -> None:  # noqa: ANN401
    """Have large pictures decoded in tiles, where the autoencoder can."""
    enable = getattr(getattr(pipe, "vae", None), "enable_tiling", None)
    if enable is not None:
        enable()


def _line(error: BaseException) -> str:
    """The first line of an error's text, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
