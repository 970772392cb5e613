"""Numbers for Prometheus: how long stages take, what the cache answers, what is refused, what memory and GPUs do.

Memory and GPUs are read when somebody asks, not before; the rest is counted as it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.types import Cached, Layer

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Upper bounds of the histogram's buckets: a cache look-up takes milliseconds, a picture on a CPU minutes."""


@dataclass(frozen=True, kw_only=True)
class GPU:
    """What one GPU is doing."""

    index: int
    utilisation: float
    """Share of the last sample period in which a kernel ran, 0 to 1."""
    memory_used: int
    """Bytes."""
    memory_total: int
    """Bytes."""


def read_gpus() -> tuple[GPU, ...]:
    """Every NVIDIA GPU of this machine; none where there is no driver, or nvidia-ml-py is not installed."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        rates = [pynvml.nvmlDeviceGetUtilizationRates(handle) for handle in handles]
        memories = [pynvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles]
    except pynvml.NVMLError:
        return ()
    return tuple(
        GPU(index=index, utilisation=rate.gpu / 100, memory_used=int(memory.used), memory_total=int(memory.total))
        for index, (rate, memory) in enumerate(zip(rates, memories, strict=True))
    )


class _Machine(Collector):
    """Memory of this process and state of the GPUs at the moment of a scrape."""

    def __init__(self, gpus: Callable[[], tuple[GPU, ...]]) -> None:
        self._gpus = gpus
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "easel_process_memory_bytes", "Resident memory of this process.", value=self._process.memory_info().rss
        )
        gpus = self._gpus()
        if not gpus:
            return
        utilisation = GaugeMetricFamily(
            "easel_gpu_utilisation_ratio", "Share of time the GPU computes.", labels=["gpu"]
        )
        used = GaugeMetricFamily("easel_gpu_memory_used_bytes", "Memory of the GPU in use.", labels=["gpu"])
        total = GaugeMetricFamily("easel_gpu_memory_total_bytes", "Memory of the GPU.", labels=["gpu"])
        for gpu in gpus:
            label = [str(gpu.index)]
            utilisation.add_metric(label, gpu.utilisation)
            used.add_metric(label, gpu.memory_used)
            total.add_metric(label, gpu.memory_total)
        yield from (utilisation, used, total)


class Metrics:
    """The engine's numbers, in a registry of their own or in one that is passed in."""

    def __init__(
        self, registry: CollectorRegistry | None = None, *, gpus: Callable[[], tuple[GPU, ...]] = read_gpus
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._stages = Histogram(
            "easel_stage_seconds", "Seconds by stage of a picture.", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._hits = Counter("easel_cache_hits", "Answers of the cache, by tier.", ["tier"], registry=self.registry)
        self._misses = Counter("easel_cache_misses", "Pictures the cache didn't hold.", registry=self.registry)
        self._refusals = Counter("easel_refusals", "Pictures refused, by layer.", ["layer"], registry=self.registry)
        self.registry.register(_Machine(gpus))

    def stage(self, stage: str, seconds: float) -> None:
        """A stage of a picture, such as `denoise`, took this long."""
        self._stages.labels(stage).observe(seconds)

    def cache_hit(self, tier: Cached) -> None:
        """The cache answered."""
        self._hits.labels(tier.value).inc()

    def cache_miss(self) -> None:
        """The cache had no answer."""
        self._misses.inc()

    def refused(self, layer: Layer) -> None:
        """A layer of safety refused a picture."""
        self._refusals.labels(layer.value).inc()
