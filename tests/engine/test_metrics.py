from __future__ import annotations

import re

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from engine.metrics import GPU, Metrics, read_gpus
from engine.types import Cached, Layer


def scrape(metrics: Metrics) -> dict[str, float]:
    """Samples by name and labels, as a scraper reads them."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_what_happens_is_counted() -> None:
    metrics = Metrics()
    metrics.stage("denoise", 2.0)
    metrics.stage("denoise", 0.2)
    metrics.cache_hit(Cached.FINISHED)
    metrics.cache_hit(Cached.UNMARKED)
    metrics.cache_miss()
    metrics.refused(Layer.KEYWORDS)
    found = scrape(metrics)
    assert found['easel_stage_seconds_count{stage="denoise"}'] == 2
    assert found['easel_stage_seconds_sum{stage="denoise"}'] == pytest.approx(2.2)
    assert found['easel_stage_seconds_bucket{le="1.0",stage="denoise"}'] == 1
    assert found['easel_cache_hits_total{tier="finished"}'] == 1
    assert found['easel_cache_hits_total{tier="unmarked"}'] == 1
    assert found["easel_cache_misses_total"] == 1
    assert found['easel_refusals_total{layer="keywords"}'] == 1


def test_memory_is_that_of_this_process() -> None:
    assert 10**7 < scrape(Metrics())["easel_process_memory_bytes"] < 10**12


def test_gpus_are_read_at_each_scrape() -> None:
    states = iter([0.25, 0.75])

    def gpus() -> tuple[GPU, ...]:
        return (GPU(index=0, utilisation=next(states), memory_used=2**30, memory_total=2**34),)

    metrics = Metrics(gpus=gpus)
    first, second = scrape(metrics), scrape(metrics)
    assert first['easel_gpu_utilisation_ratio{gpu="0"}'] == 0.25
    assert second['easel_gpu_utilisation_ratio{gpu="0"}'] == 0.75
    assert second['easel_gpu_memory_used_bytes{gpu="0"}'] == 2**30
    assert second['easel_gpu_memory_total_bytes{gpu="0"}'] == 2**34


def test_without_a_gpu_nothing_is_said_of_gpus() -> None:
    assert not [name for name in scrape(Metrics(gpus=tuple)) if "gpu" in name]


def test_reading_gpus_works_on_every_machine() -> None:
    for gpu in read_gpus():
        assert 0 <= gpu.utilisation <= 1
        assert 0 < gpu.memory_used <= gpu.memory_total


def test_a_registry_is_passed_in_and_the_global_one_left_alone() -> None:
    registry = CollectorRegistry()
    assert Metrics(registry).registry is registry
    assert b"easel" not in generate_latest(REGISTRY)
    Metrics()  # a second one doesn't collide


def test_names_carry_their_units_and_a_help_text() -> None:
    text = generate_latest(Metrics().registry).decode()
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert all(name.startswith("easel_") for name, _ in families)
    assert all(re.search(rf"^# HELP {name} \S", text, re.MULTILINE) for name, _ in families)
