"""What holds for every test."""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
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
