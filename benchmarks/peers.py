"""diffusers on the same weights and the same noise, in the ways in which people run it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from engine.bench import Loop
from engine.pipelines.openvino import import_openvino
from engine.sd.checkpoint import Placement

Peer = Literal["diffusers", "diffusers-tuned", "diffusers-compiled", "diffusers-openvino"]
"""Eager; eager with channels last and fused QKV; that compiled by Inductor with frozen weights; and by OpenVINO."""


def pipeline(folder: Path, placement: Placement, *, whole: bool) -> Any:  # noqa: ANN401  (without types)
    """Diffusers' pipeline of a folder, and only its UNet and scheduler where latents are all that is wanted."""
    import diffusers

    logging.getLogger("diffusers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="diffusers")
    if whole:
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(
            folder, torch_dtype=placement.dtype, local_files_only=True
        )
    else:
        pipe = diffusers.StableDiffusionPipeline(
            unet=diffusers.UNet2DConditionModel.from_pretrained(
                folder / "unet", torch_dtype=placement.dtype, local_files_only=True
            ),
            scheduler=diffusers.DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
            vae=diffusers.AutoencoderKL(norm_num_groups=2, block_out_channels=(4,) * 4, layers_per_block=1),
            text_encoder=None,
            tokenizer=None,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(placement.device)


def prepare(pipe: Any, peer: Peer, batch: int, latents: Tensor, context: Tensor) -> None:  # noqa: ANN401
    """Change the UNet as the peer's name says."""
    if peer in ("diffusers-tuned", "diffusers-compiled"):
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.fuse_qkv_projections(vae=False)
    if peer == "diffusers-compiled":
        import torch._inductor.config as inductor

        inductor.freezing = True
        pipe.unet = torch.compile(pipe.unet, fullgraph=True)
    elif peer == "diffusers-openvino":
        _compile_by_openvino(pipe.unet, batch, latents, context)


def _compile_by_openvino(unet: Any, batch: int, latents: Tensor, context: Tensor) -> None:  # noqa: ANN401
    """Let diffusers' own graph, of fixed shapes, answer in the UNet's place."""
    ov = import_openvino()

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = unet

        def forward(self, x: Tensor, time: Tensor, prompt: Tensor) -> Tensor:
            return self.unet(x, time, prompt, return_dict=False)[0]  # type: ignore[no-any-return]

    x = latents.expand(batch, -1, -1, -1).clone()
    prompt = context.expand(batch, -1, -1).clone()
    example = x, torch.tensor(1.0), prompt
    with torch.no_grad():
        model = ov.convert_model(Step(), example_input=example, input=[list(each.shape) for each in example])
    properties = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = ov.Core().compile_model(model, "CPU", properties).create_infer_request()

    def answer(sample: Tensor, time: Tensor, encoder_hidden_states: Tensor, **_: object) -> tuple[Tensor]:
        inputs = [sample.contiguous().numpy(), time.float().numpy(), encoder_hidden_states.numpy()]
        outputs = request.infer(inputs, share_inputs=True, share_outputs=True)
        return (torch.from_numpy(outputs.to_tuple()[0]).clone(),)

    unet.forward = answer


def latents_of(pipe: Any, loop: Loop) -> Callable[[], Tensor]:  # noqa: ANN401
    """The peer's denoising loop, as a function that draws it once."""

    def run() -> Tensor:
        result: Tensor = pipe(
            prompt_embeds=loop.positive,
            negative_prompt_embeds=loop.negative,
            latents=loop.noise.clone(),
            num_inference_steps=loop.steps,
            guidance_scale=loop.guidance,
            output_type="latent",
        ).images
        return result

    return run
