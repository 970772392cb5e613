"""What holds for every test."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

gc.disable()

# Where nothing else is set up, a traceback is printed as Python does it: in Rich's colours it takes half a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_collection_finish() -> None:
    """What collecting has made stays to the end: the garbage collector never looks at it, and forks share it."""
    gc.freeze()
    gc.enable()


def _of_the_process() -> dict[str, object]:
    """What all tests of a process have in common and of which they are the only ones to change it."""
    root = logging.getLogger()
    own = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest.")]
    environment = {name: value for name, value in os.environ.items() if name.startswith(("EASEL_", "MODAL_"))}
    lines = structlog.get_config()
    return {"handlers": own, "level": root.level, "log lines": lines, "environment": environment, "folder": Path.cwd()}


@pytest.fixture
def leaves_no_trace() -> Iterator[None]:
    """A test that changes what the next one finds would make that one fail, but only where both share a process."""
    before = _of_the_process()
    yield
    assert _of_the_process() == before


@pytest.fixture(autouse=True)
def interruptible(leaves_no_trace: None) -> Iterator[None]:
    """Ctrl-C means the same in every test: shells start background commands with it ignored, and tests handle it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undo what setting up Easel's log files changes."""
    root = logging.getLogger()
    handlers, level, lines = root.handlers[:], root.level, structlog.get_config()
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.configure(**lines)
