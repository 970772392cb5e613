"""Where a model's numbers live and in what format, according to the settings and to what this machine has."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable, Mapping

import torch

from engine.errors import DeviceMissingError, ExtraMissingError, InputError
from engine.settings import EngineSettings

HALF = (torch.float16, torch.bfloat16)
GPU_KERNELS = ("efficient", "xformers")


_THERE: Mapping[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}
"""Only who is asked for is asked: a process that has once looked for a GPU can't be kept in a memory snapshot."""


def choose_device(settings: EngineSettings) -> torch.device:
    """The device that was asked for; `auto` takes a GPU where there is one.

    Raises:
        DeviceMissingError: the device is not there.
    """
    if settings.device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if _THERE[name]()))
    if not _THERE[settings.device]():
        raise DeviceMissingError(
            f"EASEL_DEVICE is {settings.device}, but torch finds no such device here; use auto or cpu."
        )
    return torch.device(settings.device)


def choose_dtype(settings: EngineSettings, device: torch.device) -> torch.dtype:
    """The format that was asked for; `auto` is float16 on a GPU and float32 on a CPU."""
    if settings.precision == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    formats = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return formats[settings.precision]


def check_attention(settings: EngineSettings, device: torch.device, dtype: torch.dtype) -> None:
    """See that the attention kernel that was asked for can run.

    Raises:
        InputError: it can't run on this device or in this precision.
        ExtraMissingError: xformers is not installed.
    """
    kernel = settings.attention
    if kernel in GPU_KERNELS and device.type != "cuda":
        raise InputError(f"EASEL_ATTENTION is {kernel}, which needs an NVIDIA GPU; use auto.")
    if kernel == "flash" and device.type == "cuda" and dtype not in HALF:
        raise InputError("EASEL_ATTENTION is flash, which on a GPU needs half precision; use auto.")
    if kernel == "xformers" and importlib.util.find_spec("xformers") is None:
        raise ExtraMissingError(
            "EASEL_ATTENTION is xformers, which is not installed; run pip install '.[gpu]' in Easel's folder."
        )


def check_int8(settings: EngineSettings, dtype: torch.dtype) -> None:
    """See that weights can be held in 8 bits, where that was asked for.

    Raises:
        InputError: the precision is not a half one.
        ExtraMissingError: torchao is not installed.
    """
    if not settings.int8:
        return
    if dtype not in HALF:
        raise InputError("EASEL_INT8 needs half precision; set EASEL_PRECISION to float16 or bfloat16.")
    if importlib.util.find_spec("torchao") is None:
        raise ExtraMissingError("EASEL_INT8 needs torchao; run pip install '.[int8]' in Easel's folder.")


def use_threads(settings: EngineSettings) -> None:
    """Let torch compute with as many CPU threads as were asked for."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch gave up for want of memory; a CPU's allocator says so in words alone."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free_memory(device: torch.device) -> None:
    """Give back what is held but not used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
