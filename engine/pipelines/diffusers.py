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
from PIL import Image
from torch.nn.attention import sdpa_kernel

from engine.errors import ExtraMissingError, InputError, MemoryExhaustedError, WeightsError
from engine.models.registry import ModelSource
from engine.pipelines.base import Drawing, OnStep, in_turn
from engine.pipelines.enlarge import enlarged
from engine.pipelines.optimisations import preset_for, steps_and_sampler
from engine.pipelines.passes import UPSCALE_STRENGTH, planned_steps
from engine.pipelines.placement import (
    check_attention,
    choose_device,
    choose_dtype,
    free_memory,
    is_out_of_memory,
    use_threads,
)
from engine.sd.attention import KERNELS
from engine.sd.noise import slerp
from engine.settings import EngineSettings
from engine.sources import fitted, opened
from engine.types import ResolvedRequest, Sampler, Variation

SCHEDULERS: Mapping[Sampler, tuple[str, Mapping[str, Any]]] = {
    Sampler.DDIM: ("DDIMScheduler", {}),
    Sampler.EULER: ("EulerDiscreteScheduler", {"use_karras_sigmas": False}),
    Sampler.EULER_ANCESTRAL: ("EulerAncestralDiscreteScheduler", {}),
    Sampler.DPMPP_2M: ("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
    Sampler.DPMPP_2M_KARRAS: ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    Sampler.HEUN: ("HeunDiscreteScheduler", {"use_karras_sigmas": False}),
    Sampler.LCM: ("LCMScheduler", {}),
}
"""Our samplers by the names and options that diffusers knows them under."""

NEEDED = {"prompt", "width", "height", "num_inference_steps", "generator", "callback_on_step_end"}
"""What a pipeline must accept to be a text-to-image model that can be stopped."""
FROM_IMAGES = ({"mask_image"}, {"control_image"}, {"controlnet_conditioning_scale"}, {"image", "strength"})
"""What pipelines accept, any of these together, that can't do without an image, even if its default is None."""


class _Watch:
    """Sees a picture's passes through a pipeline's callback: reports its steps, and takes the time."""

    def __init__(self, on_step: OnStep, *, more: int) -> None:
        """`more`: steps of the pass after the first, if there is one."""
        self._on_step = on_step
        self._done, self._steps, self._more = 0, 0, more
        self._started = self._stepped = time.perf_counter()
        self._denoise = self._decode = 0.0

    def __call__(self, pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
        """After each step; diffusers calls it so."""
        self._steps = pipe.num_timesteps
        self._on_step(self._done + step + 1, self._done + self._steps + self._more)
        self._stepped = time.perf_counter()
        return tensors

    def ended(self) -> None:
        """One pass is over."""
        now = time.perf_counter()
        self._denoise += self._stepped - self._started
        self._decode += now - self._stepped
        self._started = self._stepped = now
        self._done, self._more = self._done + self._steps, 0

    def seconds(self) -> dict[str, float]:
        """Wall time by stage."""
        return {"denoise": self._denoise, "decode": self._decode}


class DiffusersPipeline:
    """A pipeline of diffusers, read from a folder that was fetched before.

    A sampler is used where the model's own scheduler declares it compatible; flow-matching models and others keep
    their own. Requests are drawn one at a time: guidance holds for a whole batch there, and an empty negative prompt
    means something else in company. There are no previews: only the noisy latents can be seen from outside. Variations
    hold for the noise that a picture starts from, not for what some samplers add on the way.
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
        if not _draws_from_text(pipe):
            raise WeightsError(f"{self._source.path} is a {type(pipe).__name__}, which draws no pictures from text.")
        self._own_scheduler = pipe.scheduler
        pipe.set_progress_bar_config(disable=True)
        self._place(pipe)

    def move(self, settings: EngineSettings) -> None:
        """Bring the loaded model to the device of other settings.

        Raises:
            engine.errors.InputError: there is no such device, or the attention kernel can't run on it.
        """
        device = choose_device(settings)
        check_attention(settings, device, self._dtype)
        self._settings, self._device = settings, device
        self._place(self._pipe)

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
            width, height = requests[0].output_size
            raise MemoryExhaustedError(
                f"A picture of {width}x{height} pixels doesn't fit this device's memory; ask for a smaller one."
            ) from error

    def _draw_all(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        places = [[place] for place in range(len(requests))]
        return [self._draw(request, in_turn(on_step, turn, places)) for turn, request in enumerate(requests)]

    def _draw(self, request: ResolvedRequest, on_step: OnStep) -> Drawing:
        """One picture; an enlarged one is drawn over, starting from the picture itself."""
        steps = self._schedule(request)
        watch = _Watch(on_step, more=_refining_steps(steps, UPSCALE_STRENGTH) if request.upscale > 1 else 0)
        if request.image is None:
            with _blended(self._pipe, request.variations):
                image = self._run(self._pipe, request, steps, watch, width=request.width, height=request.height)
        else:
            start = fitted(opened(request.image), request.width, request.height)
            image = self._refine(request, start, request.start_strength or 0.0, steps, watch)
        if request.upscale > 1:
            image = self._refine(request, fitted(image, *request.output_size), UPSCALE_STRENGTH, steps, watch)
        return enlarged(image, request, watch.seconds())

    def _refine(
        self, request: ResolvedRequest, start: Image.Image, strength: float, steps: int, watch: _Watch
    ) -> Image.Image:
        """Draw over an image, by the pipeline that the same networks make for that.

        Raises:
            InputError: there is none, or variations are asked for: the noise is mixed with the image by then.
        """
        if request.image and request.variations:
            raise InputError("This model can't vary a picture that starts from an image.")
        pipe = _image_to_image(self._pipe)
        pipe.set_progress_bar_config(disable=True)
        return self._run(pipe, request, planned_steps(steps, strength), watch, image=start, strength=strength)

    def _run(
        self,
        pipe: Any,  # noqa: ANN401
        request: ResolvedRequest,
        steps: int,
        watch: _Watch,
        **more: Any,  # noqa: ANN401
    ) -> Image.Image:
        """One call of a pipeline."""
        options = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt or None,
            "num_inference_steps": steps,
            "guidance_scale": request.guidance,
            "generator": torch.Generator().manual_seed(request.seed),
            "callback_on_step_end": watch,
            **more,
        }
        accepted = inspect.signature(pipe.__call__).parameters
        if request.negative_prompt and "negative_prompt" not in accepted:
            raise InputError("This model can't be told what to avoid; leave --negative out, and reword a risky prompt.")
        if request.negative_prompt:
            options["true_cfg_scale"] = request.guidance  # models whose guidance is distilled obey it by this alone
        with self._drawing(pipe):
            result = pipe(**{name: value for name, value in options.items() if name in accepted})
        watch.ended()
        image: Image.Image = result.images[0].convert("RGB")
        return image

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
    def _drawing(self, pipe: Any) -> Iterator[None]:  # noqa: ANN401
        """The chosen attention kernel; and whatever happens, offloaded parts are off the device afterwards."""
        kernels = KERNELS.get(self._settings.attention)
        try:
            if kernels is None:
                yield
            else:
                with sdpa_kernel(kernels):
                    yield
        finally:
            pipe.maybe_free_model_hooks()


def _draws_from_text(pipe: Any) -> bool:  # noqa: ANN401
    """Whether a pipeline makes pictures of a prompt alone, and can be stopped."""
    parameters = inspect.signature(pipe.__call__).parameters
    variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named = [parameter for parameter in parameters.values() if parameter.kind not in variadic]
    demanded = {parameter.name for parameter in named if parameter.default is parameter.empty}
    from_images = any(parameters.keys() >= options for options in FROM_IMAGES)
    return parameters.keys() >= NEEDED >= demanded and not from_images


@contextmanager
def _blended(pipe: Any, variations: Sequence[Variation]) -> Iterator[None]:  # noqa: ANN401
    """Have a pipeline start from its noise led towards that of other seeds, in whatever form it keeps latents.

    Noise is scaled or rearranged before a pipeline uses it, neither of which changes an angle. So it is blended in the
    place where pipelines make it.

    Raises:
        InputError: this one makes it elsewhere.
    """
    if not variations:
        yield
        return
    prepare = getattr(pipe, "prepare_latents", None)
    if prepare is None or "generator" not in inspect.signature(prepare).parameters:
        raise InputError("This model can't vary its pictures.")

    def blended(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        call = inspect.signature(prepare).bind(*arguments, **named)
        noise = prepare(*call.args, **call.kwargs)
        for variation in variations:
            call.arguments["generator"] = torch.Generator().manual_seed(variation.seed)
            noise = _lead(noise, prepare(*call.args, **call.kwargs), variation.strength)
        return noise

    pipe.prepare_latents = blended
    try:
        yield
    finally:
        del pipe.prepare_latents


def _lead(start: Any, end: Any, share: float) -> Any:  # noqa: ANN401
    """Latents led towards others; some pipelines give more beside them, which doesn't depend on the noise."""
    if isinstance(start, tuple):
        return (_lead(start[0], end[0], share), *start[1:])
    return slerp(start, end, share).to(start.dtype)


def _image_to_image(pipe: Any) -> Any:  # noqa: ANN401
    """The pipeline of the same networks that starts from an image, found by diffusers' naming.

    Raises:
        InputError: diffusers has none for this model.
    """
    import diffusers

    kind = getattr(diffusers, f"{type(pipe).__name__.removesuffix('Pipeline')}Img2ImgPipeline", None)
    if kind is None:
        raise InputError("This model can neither start from an image nor enlarge a picture.")
    wanted = inspect.signature(kind.__init__).parameters
    given = {**pipe.config, **pipe.components, "requires_safety_checker": False, "add_watermarker": False}
    return kind(**{name: value for name, value in given.items() if name in wanted})


def _refining_steps(steps: int, strength: float) -> int:
    """Steps that image-to-image takes of so many."""
    return int(planned_steps(steps, strength) * strength)


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
