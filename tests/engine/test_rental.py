"""What renting costs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from engine.rental import GPU, PRICES, Meter, RentalSettings, gpu_named, price_of


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
    ],
)
def test_a_driver_s_name_finds_its_price(device: str, name: str) -> None:
    assert gpu_named(device, RentalSettings()) == GPU(name=name, dollars_an_hour=PRICES[name])


def test_a_gpu_without_a_price_counts_as_the_dearest_that_was_asked_for() -> None:
    settings = RentalSettings(gpus=("L4", "H100!"))
    assert gpu_named("NVIDIA B900", settings) == GPU(name="NVIDIA B900", dollars_an_hour=3.95)


def test_a_gpu_by_modal_s_name_has_a_price() -> None:
    settings = RentalSettings()
    assert [price_of(name, settings) for name in ("A10", "A100", "A100-40GB", "H100!")] == [1.10, 2.50, 2.10, 3.95]


@pytest.mark.parametrize("gpu", ["B900", "A10:2", "any", "A", ""])
def test_a_gpu_without_a_price_is_refused(gpu: str) -> None:
    """Its pictures would count as free, and no budget would ever be spent."""
    with pytest.raises(ValidationError, match=r"price|pattern"):
        RentalSettings(gpus=("A10", gpu))


def test_no_more_containers_are_kept_than_there_may_be() -> None:
    with pytest.raises(ValidationError, match="GPU_CONTAINERS_KEPT"):
        RentalSettings(gpu_containers=2, gpu_containers_kept=3)


def test_a_price_of_one_s_own_will_do() -> None:
    assert price_of("B900", RentalSettings(gpus=("B900",), prices={"B900": 9.0})) == 9.0


def test_all_costs_together_are_the_container_s_life() -> None:
    clock = Clock()
    meter = Meter(GPU(name="A10", dollars_an_hour=3600.0), wait_after=60.0, monotonic=clock)
    clock.time += 8  # loading
    begun = meter.now()
    clock.time += 3
    first = meter.read(begun, 1)
    clock.time += 40  # nobody asks
    begun = meter.now()
    clock.time += 4
    second = meter.read(begun, 2)
    assert (first[0].gpu_seconds, first[0].idle_seconds) == (3.0, 68.0)
    assert (second[0].gpu_seconds, second[0].idle_seconds) == (2.0, 20.0)
    assert sum(cost.dollars for cost in first + second) == pytest.approx(8 + 3 + 40 + 4 + 60)


def test_a_container_that_loads_before_it_counts_has_cost_that_too() -> None:
    clock = Clock()
    since = clock.time
    clock.time += 12
    meter = Meter(GPU(name="A10", dollars_an_hour=3600.0), wait_after=0.0, since=since, monotonic=clock)
    begun = meter.now()
    clock.time += 3
    (cost,) = meter.read(begun, 1)
    assert (cost.gpu_seconds, cost.idle_seconds, cost.dollars) == (3.0, 12.0, 15.0)


def test_batches_that_overlap_share_their_time() -> None:
    clock = Clock()
    meter = Meter(GPU(name="A10", dollars_an_hour=3600.0), wait_after=0.0, monotonic=clock)
    begun = meter.now()
    clock.time += 5
    first = meter.read(begun, 1)
    clock.time += 1
    second = meter.read(begun, 1)
    assert (first[0].dollars, second[0].dollars) == (5.0, 1.0)
