"""From a model's source to the pipeline that draws it; importing this loads neither torch nor diffusers."""

from __future__ import annotations

from engine.errors import WeightsError
from engine.models.registry import EMOJI, ModelSource, resolve
from engine.pipelines.base import Pipeline
from engine.settings import EngineSettings


def make(source: ModelSource, settings: EngineSettings) -> Pipeline:
    """Build the unloaded pipeline of a model.

    Raises:
        WeightsError: the model is not on this machine.
    """
    if not source.info.installed:
        source = resolve(source.info.name, settings)  # it may have been fetched since
    if not source.info.installed:
        if source.info.name == EMOJI:
            raise WeightsError("The bundled model's files are missing from this installation; install Easel again.")
        raise WeightsError(f"{source.info.name} is not on this machine yet; run easel fetch {source.info.name}.")
    if source.kind == "native":
        from engine.pipelines.native import NativePipeline

        return NativePipeline(source, settings)
    from engine.pipelines.diffusers import DiffusersPipeline

    return DiffusersPipeline(source, settings)
