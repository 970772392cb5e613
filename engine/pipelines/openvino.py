"""The step and the decoder compiled by OpenVINO, for CPUs; the one place that knows it.

Conversion runs in a process of its own, once for each set of weights, and what it wrote is read at the next start.
Compiling from that takes seconds and runs in a thread.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
from torch import Tensor, nn

from engine.errors import EngineError
from engine.models.manifest import fingerprint
from engine.pipelines.switching import Graph, Shapes
from engine.sd.checkpoint import Components, load
from engine.sd.hoisting import Hoisted

FORMAT = 1
"""Raised when what is converted changes."""
ROOM = 4 * 2**30
"""Bytes of weights that graphs may hold beside the eager networks' own.

A graph of fixed shapes is faster by a twentieth than one for all, but holds the weights once more. Shapes for which no
room is left are drawn by eager torch.
"""
NICENESS = 5
CONVERSION_TIMEOUT = 1800.0
"""Seconds."""
EXAMPLE_SIDE = 8
COMPILING = threading.Lock()
"""Held in OpenVINO's own code. A thread that comes back from there after Python has ended would abort the process, so
Python waits for it, and no thread goes there any more."""
atexit.register(COMPILING.acquire)


def available() -> bool:
    """Whether the extra `openvino` is installed."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:  # noqa: ANN401  (without types)
    """The package, kept from reporting its use to its makers, which it would do on import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing it now fails, as foreseen
    import openvino

    return openvino


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a model's weights lie, and where what is converted from them is kept."""

    path: Path
    tokenizer: Path | None
    kept_in: Path

    def folder(self) -> Path:
        """The folder of these weights' graphs."""
        files = [self.path] if self.path.is_file() else [*self.path.glob("*/*.safetensors"), *self.path.glob("*/*.bin")]
        return self.kept_in / f"{fingerprint(files)}-{import_openvino().__version__.split('-')[0]}-{FORMAT}"


class OpenVINOForge:
    """Compiles in a thread, in the order of asking."""

    def __init__(self, origin: Origin, *, threads: int, half: bool) -> None:
        """`half` computes in bfloat16 on CPUs that can."""
        self._origin = origin
        self._properties: dict[str, object] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        }
        self._graphs: dict[tuple[str, Shapes], Graph | None] = {}
        self._room = ROOM
        self._wanted: list[tuple[str, Shapes]] = []
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._broken = False

    def ready(self, name: str, shapes: Shapes) -> Graph | None:
        """The compiled graph for inputs of these shapes; None, and it is set to work, where there is none yet."""
        with self._change:
            if (name, shapes) in self._graphs:
                return self._graphs[name, shapes]
            if not self._broken and (name, shapes) not in self._wanted:
                self._wanted.append((name, shapes))
                self._start()
        return None

    def wait(self, timeout: float) -> bool:
        """Whether nothing is left to do after at most so many seconds."""
        with self._change:
            return self._change.wait_for(lambda: self._thread is None, timeout)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="compile", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._change:
                if not self._wanted or self._broken:
                    self._thread = None
                    self._change.notify_all()
                    return
                name, shapes = self._wanted[0]
            try:
                self._compile(name, shapes)
            except (EngineError, OSError, RuntimeError, ValueError, ImportError, subprocess.SubprocessError) as error:
                structlog.get_logger("engine").warning("not compiled, drawing goes on without", reason=str(error))
                self._broken = True
            with self._change:
                self._wanted.pop(0)

    def _compile(self, name: str, shapes: Shapes) -> None:
        started = time.perf_counter()
        folder = self._origin.folder()
        if not (folder / "done.json").is_file():
            convert_apart(self._origin, folder)
        self._room -= (folder / f"{name}.bin").stat().st_size
        with COMPILING:
            graph = self._fixed(folder / f"{name}.xml", shapes) if self._room >= 0 else None
        with self._change:
            self._graphs[name, shapes] = graph
        seconds = round(time.perf_counter() - started, 1)
        structlog.get_logger("engine").info("compiled", graph=name, seconds=seconds, room=graph is not None)

    def _fixed(self, path: Path, shapes: Shapes) -> Graph:
        core = import_openvino().Core()
        model = core.read_model(path)
        model.reshape({number: list(shape) for number, shape in enumerate(shapes)})
        return _callable(core.compile_model(model, "CPU", self._properties))


def _callable(compiled: Any) -> Graph:  # noqa: ANN401  (without types)
    """Takes and gives whatever format the network's own inputs have; numpy, which lies between, knows no bfloat16."""
    request = compiled.create_infer_request()

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        arrays = [each.float().contiguous().numpy() for each in inputs]
        outputs = request.infer(arrays, share_inputs=True, share_outputs=True)
        # The results lie in the request's own memory, which the next call writes over.
        return tuple(torch.from_numpy(array).to(inputs[0].dtype, copy=True) for array in outputs.to_tuple())

    return run


def convert_apart(origin: Origin, folder: Path) -> None:
    """Convert in a process of its own, which takes the memory that it needed with it when it ends.

    Raises:
        EngineError: it failed.
        subprocess.TimeoutExpired: it took too long.
    """
    order = {"path": str(origin.path), "tokenizer": origin.tokenizer and str(origin.tokenizer), "folder": str(folder)}
    done = subprocess.run(  # noqa: S603  (our own interpreter and module)
        [sys.executable, "-m", "engine.pipelines.openvino", json.dumps(order)],
        check=False,
        capture_output=True,
        text=True,
        timeout=CONVERSION_TIMEOUT,
    )
    if done.returncode:
        raise EngineError(f"The conversion for OpenVINO failed: {done.stderr.strip().splitlines()[-1:]}")


class _Shallow(nn.Module):
    """The step on features of an earlier one."""

    def __init__(self, hoisted: Hoisted) -> None:
        super().__init__()
        self.hoisted = hoisted

    def forward(self, x: Tensor, shifts: Tensor, keys_values: Tensor, deep: Tensor) -> Tensor:
        answer, _ = self.hoisted(x, shifts, keys_values, deep)
        return answer  # type: ignore[no-any-return]


class _Full(nn.Module):
    """The whole step."""

    def __init__(self, hoisted: Hoisted) -> None:
        super().__init__()
        self.hoisted = hoisted

    def forward(self, x: Tensor, shifts: Tensor, keys_values: Tensor) -> tuple[Tensor, Tensor]:
        answer, deep = self.hoisted(x, shifts, keys_values)
        return answer, deep


class _Decoder(nn.Module):
    def __init__(self, decode: Callable[[Tensor], Tensor], vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae
        self.decode = decode

    def forward(self, latents: Tensor) -> Tensor:
        return self.decode(latents)


def convert(parts: Components, folder: Path) -> None:
    """Write the graphs of a model into a folder, which is there only when all of them are."""
    draft = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    draft.mkdir(parents=True, exist_ok=True)
    try:
        for name, (module, examples, fixed) in _graphs(parts).items():
            _write(module, examples, fixed, draft / f"{name}.xml")
        (draft / "done.json").write_text("{}")
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


Example = tuple[nn.Module, tuple[Tensor, ...], Iterable[tuple[int, ...]]]


def _graphs(parts: Components) -> dict[str, Example]:
    """Each graph with inputs to trace it with, and with its shapes' fixed sides (-1 for those that vary)."""
    hoisted = Hoisted(parts.unet)
    config = parts.unet.config
    text = parts.text_encoder.config
    x = torch.zeros(2, config.in_channels, EXAMPLE_SIDE, EXAMPLE_SIDE)
    shifts = hoisted.shifts(torch.zeros(2))
    keys_values = hoisted.keys_values(torch.zeros(2, text.max_positions, text.width))
    deep = torch.zeros(2, _deep_channels(parts), EXAMPLE_SIDE, EXAMPLE_SIDE)
    maps = (-1, config.in_channels, -1, -1)
    rows = (-1, shifts.shape[1]), (-1, keys_values.shape[1])
    latents = torch.zeros(1, parts.vae.config.latent_channels, EXAMPLE_SIDE, EXAMPLE_SIDE)
    return {
        "full": (_Full(hoisted), (x, shifts, keys_values), (maps, *rows)),
        "shallow": (_Shallow(hoisted), (x, shifts, keys_values, deep), (maps, *rows, (-1, deep.shape[1], -1, -1))),
        "decoder": (_Decoder(parts.vae.decode_scaled, parts.vae), (latents,), ((-1, latents.shape[1], -1, -1),)),
    }


def _deep_channels(parts: Components) -> int:
    """Channels of the map that enters the last layer of the way up."""
    return int(parts.unet.config.widths[0])


def _write(module: nn.Module, examples: tuple[Tensor, ...], fixed: Iterable[tuple[int, ...]], path: Path) -> None:
    """Convert a module, traced once: a second trace, which would only confirm the first, takes as long again."""
    ov = import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shapes = [ov.PartialShape(list(shape)) for shape in fixed]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's tracer, which OpenVINO uses
        traced = TorchScriptPythonDecoder(module.eval(), example_input=examples, trace_kwargs={"check_trace": False})
        model = ov.convert_model(traced, input=shapes)
    ov.save_model(model, path, compress_to_fp16=False)


def main(order: str) -> None:
    """Entry point of the converting process."""
    os.nice(NICENESS)
    torch.set_num_threads(1)
    wanted = json.loads(order)
    tokenizer = Path(wanted["tokenizer"]) if wanted["tokenizer"] else None
    with torch.no_grad():
        convert(load(Path(wanted["path"]), tokenizer=tokenizer), Path(wanted["folder"]))


if __name__ == "__main__":
    main(sys.argv[1])
