"""The step and the decoder as CUDA graphs, first of eager torch's kernels, then of the compiler's.

A step of Stable Diffusion 1.x launches some thousand kernels, which at small sizes takes the host longer than the GPU
takes to run them; a graph launches them all at once. Capturing one costs a few steps' time and happens when a shape is
first drawn. torch's compiler takes minutes, so it runs in a thread, and its graph follows when it is done; what it
finds is kept on disk by torch for the next start.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import structlog
import torch
from torch import Tensor

from engine.pipelines.switching import Graph, Shapes

KEPT = 8
"""Captured graphs, the most recently used. They share their memory."""
WARM_UP = 3
COMPILER_MODE = "max-autotune-no-cudagraphs"

Pool = Any
"""What torch calls a handle of memory that graphs share; it has no name for the type."""
Key = tuple[str, Shapes]


class CudaForge:
    """Captures graphs when they are asked for, and compiles them in a thread."""

    def __init__(self, functions: Mapping[str, Graph], device: torch.device, dtype: torch.dtype) -> None:
        """`functions` are the eager ones by name; their inputs are of the given format."""
        self._functions = functions
        self._device, self._dtype = device, dtype
        self._pool = torch.cuda.graph_pool_handle()
        self._replays: OrderedDict[Key, Graph] = OrderedDict()
        self._compiled: dict[Key, Graph] = {}
        self._queue: list[Key] = []
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def ready(self, name: str, shapes: Shapes) -> Graph | None:
        """The captured graph for inputs of these shapes, of compiled kernels as soon as there are any."""
        key = name, shapes
        with self._change:
            compiled = self._compiled.pop(key, None)
        if compiled is not None or key not in self._replays:
            self._replays[key] = capture(compiled or self._functions[name], self._examples(shapes), self._pool)
            if len(self._replays) > KEPT:
                self._replays.popitem(last=False)
            if compiled is None:
                self._order(key)
        self._replays.move_to_end(key)
        return self._replays[key]

    def wait(self, timeout: float) -> bool:
        """Whether nothing is left to do after at most so many seconds."""
        with self._change:
            return self._change.wait_for(lambda: self._thread is None, timeout)

    def _examples(self, shapes: Shapes) -> list[Tensor]:
        made = [torch.zeros(shape, device=self._device, dtype=self._dtype) for shape in shapes]
        return [each.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each for each in made]

    def _order(self, key: Key) -> None:
        with self._change:
            self._queue.append(key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="compile", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._change:
                if not self._queue:
                    self._thread = None
                    self._change.notify_all()
                    return
                name, shapes = self._queue.pop(0)
            try:
                compiled = self._compile(name, shapes)
            except RuntimeError as error:  # torch's compiler has no narrower name for its failures
                structlog.get_logger("engine").warning("not compiled, drawing goes on without", reason=str(error))
                continue
            with self._change:
                self._compiled[name, shapes] = compiled

    def _compile(self, name: str, shapes: Shapes) -> Graph:
        compiled: Graph = torch.compile(self._functions[name], dynamic=False, mode=COMPILER_MODE)
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.inference_mode(), torch.cuda.stream(side):
            compiled(*self._examples(shapes))
            side.synchronize()
        return compiled


def capture(function: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor], pool: Pool) -> Graph:
    """A CUDA graph of a function on inputs of these shapes: it copies its inputs in, runs, and copies results out."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        outputs = function(*inputs)

    def replay(*given: Tensor) -> tuple[Tensor, ...]:
        for target, source in zip(inputs, given, strict=True):
            target.copy_(source)
        graph.replay()
        return tuple(each.clone() for each in outputs)

    return replay
