"""Models on their way to the volume."""

from __future__ import annotations

from pathlib import Path

from engine.models import fetch as models
from engine.models.registry import DETOXIFY_NAME, resolve
from engine.settings import EngineSettings

CHECKPOINT = ".ckpt"
CONVERTED = "converted"


def download(name: str, settings: EngineSettings, report: models.Report) -> Path:
    """Fetch a model at its pinned revision, verified, and turn what is not in safetensors into it; returns its path.

    Raises:
        EngineError: the name is unknown, the download failed, or the disk is full.
    """
    folder = models.fetch(name, settings, report)
    if name == DETOXIFY_NAME:
        return folder
    path = resolve(name, settings).path
    if path.suffix != CHECKPOINT:
        return path
    from engine.pipelines.conversion import as_safetensors

    return as_safetensors(path, settings.models_folder / CONVERTED)
