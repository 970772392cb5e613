"""Where log lines go: to `logs/easel.log` in the home folder, and for a server to standard error as well."""

from __future__ import annotations

import logging
from enum import Enum
from logging.handlers import RotatingFileHandler
from typing import NoReturn

import structlog

from bot.settings import Settings

FILE_BYTES = 10_000_000
OLD_FILES = 3
QUIET = ("httpx", "httpcore", "urllib3", "aiosqlite", "asyncio", "PIL", "matplotlib", "filelock")
"""Libraries whose chatter helps nobody; their warnings are kept."""


def mute() -> None:
    """Drop every line until `configure` has been called: standard output belongs to the command's answer."""
    structlog.configure(processors=[_drop])


def _drop(_: object, __: str, ___: object) -> NoReturn:
    raise structlog.DropEvent


def configure(settings: Settings, *, console: bool = False) -> None:
    """Set up structlog and the standard library's logging as the settings say; the last call counts.

    Every line carries what is bound at the time, such as the job. If the folder can't be written, warnings go to
    standard error: whoever opens the database next says what is wrong with the folder.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _plain_enums,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if settings.log_json else _plain(),
        ],
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in _handlers(settings, console=console):
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _plain_enums(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """`finished` instead of `<Cached.FINISHED: 'finished'>`."""
    return {name: value.value if isinstance(value, Enum) else value for name, value in event.items()}


def _plain() -> structlog.typing.Processor:
    """`time level event key=value`, without colours: it goes to a file."""
    return structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "logger", "event"], drop_missing=True)


def _handlers(settings: Settings, *, console: bool) -> list[logging.Handler]:
    handlers: list[logging.Handler] = [logging.StreamHandler()] if console else []
    folder = settings.home / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(folder / "easel.log", maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8")
    except OSError:
        if not handlers:
            handlers = [logging.StreamHandler()]
            handlers[0].setLevel(logging.WARNING)
    else:
        handlers.append(file)
    return handlers
