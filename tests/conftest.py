"""What holds for every test."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from slipcover import pytest_plugin as coverage

if coverage._slipcover_instance is not None:
    # Workers aren't told of `immediate`. Without it, probes that have done their work are taken out by swapping code
    # under every running frame, which reads the frames' locals; OpenVINO's converter doesn't survive that.
    coverage._slipcover_instance.immediate = True


def pytest_collection_finish() -> None:
    """What collecting has made stays to the end, and is looked at by the garbage collector no more."""
    gc.freeze()


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C means the same in every test: shells start background commands with it ignored, and tests handle it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
