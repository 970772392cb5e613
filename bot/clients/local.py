"""The engine in this process, and what only the machine that draws can do: fetch weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.clients.base import EngineClient
from engine.errors import ExtraMissingError, WeightsError
from engine.settings import EngineSettings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Report = Callable[[str, int, int], None]
"""Called with a file's name, and with bytes done and bytes in all."""


@contextmanager
def _needing_the_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraMissingError(
            f"Drawing on this machine needs the package {error.name}: run pip install '.[engine]' in Easel's folder."
        ) from error


def connect(settings: EngineSettings, registry: CollectorRegistry | None = None) -> EngineClient:
    """The engine itself, which has every method of the seam; its metrics are counted in `registry`.

    Raises:
        ExtraMissingError: the `engine` extra is not installed.
    """
    with _needing_the_extra():
        from engine.engine import Engine
        from engine.metrics import Metrics
    return Engine(settings, metrics=Metrics(registry))


def fetch(name: str, settings: EngineSettings, report: Report) -> Path:
    """Download a model or `detoxify` at its pinned revision, verified and resumable; returns its folder.

    Raises:
        ExtraMissingError: the `engine` extra is not installed.
        EngineError: the name is unknown, the download failed, or the disk is full.
    """
    with _needing_the_extra():
        from engine.models import fetch as downloads
    return downloads.fetch(name, settings, report)


def fault(name: str, settings: EngineSettings) -> str:
    """What is wrong with an installed model's files, in a sentence, as far as it shows without loading them; or "".

    Raises:
        ExtraMissingError: the `engine` extra is not installed.
        EngineError: there is no such model.
    """
    with _needing_the_extra():
        from engine.models.registry import resolve
        from engine.models.whole import look_over
    try:
        look_over(resolve(name, settings), settings.models_folder)
    except WeightsError as error:
        return error.sentence
    return ""
