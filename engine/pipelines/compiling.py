"""Which compiler, if any, makes a model's graphs on this machine."""

from __future__ import annotations

import torch

from engine.pipelines import openvino
from engine.pipelines.switching import Forge, Graph
from engine.sd.checkpoint import Components
from engine.sd.hoisting import Hoisted
from engine.settings import EngineSettings


def make_forge(
    settings: EngineSettings, parts: Components, device: torch.device, dtype: torch.dtype, origin: openvino.Origin
) -> Forge | None:
    """OpenVINO's on a CPU that has it, CUDA graphs on an NVIDIA GPU, else none."""
    if settings.compile == "off" or settings.attention != "auto" or settings.attention_slice or settings.offload:
        return None
    if device.type == "cpu" and not settings.int8 and dtype in (torch.float32, torch.bfloat16) and openvino.available():
        return openvino.OpenVINOForge(origin, threads=torch.get_num_threads(), half=dtype == torch.bfloat16)
    if device.type == "cuda":
        from engine.pipelines.cuda import CudaForge

        hoisted, vae = Hoisted(parts.unet), parts.vae
        functions: dict[str, Graph] = {
            "full": hoisted,
            "shallow": hoisted,
            "decoder": lambda latents: (vae.decode_scaled(latents),),
        }
        return CudaForge(functions, device, dtype)
    return None
