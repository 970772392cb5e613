"""Which models can draw: from a name to its weights on this machine, without loading them or asking the network."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import UnknownModelError
from engine.models.manifest import Manifest, fingerprint
from engine.models.recipes import KNOWN_MODELS, KnownModel, Recipe
from engine.plain_unet import PLAIN_UNET
from engine.settings import EngineSettings
from engine.types import SIZE_STEP, ModelInfo, Sampler

EMOJI = "emoji"
DETOXIFY_NAME = "detoxify"
CLIP_TOKENIZER_NAME = "clip-tokenizer"
"""Names of fetched folders that are no models."""
EMOJI_FOLDER = Path(__file__).parent / EMOJI
SINGLE_FILES = (".safetensors", ".ckpt")
UNFETCHED = "unfetched"
"""Revision of a model of which nothing is on this machine."""

SMALLEST_SIDE, LARGEST_SIDE = 64, 2048
"""Bounds of a request's width and height."""
DEFAULT_NATIVE = 1024
"""Side of models that don't say theirs: those of today are trained at a megapixel."""
SINGLE_FILE_NATIVE, SINGLE_FILE_LARGE = 512, 768
HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?", re.ASCII)

NATIVE_PARTS = {
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
}
"""What `engine.sd` implements: these parts and no others, by the names of their classes."""
IGNORED_PARTS = {"scheduler", "safety_checker", "feature_extractor", "image_encoder"}
"""Parts that our own pipeline replaces or does without."""
PLAIN_BLOCKS = {"CrossAttnDownBlock2D", "DownBlock2D"}
Kind = Literal["native", "diffusers"]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model as far as it can be known without loading it."""

    info: ModelInfo
    path: Path
    """Folder in the diffusers layout, or a single file in the original layout."""
    kind: Kind
    """Who draws: our own Stable Diffusion, or diffusers."""
    reading: str = ""
    """What sets its pictures apart from those of versions of the engine that read its files otherwise."""
    native_only: bool = False
    """The model draws at its native size alone; other sizes are enlarged from it."""


def known_models() -> tuple[str, ...]:
    """The short names, the bundled model's first."""
    return (EMOJI, *KNOWN_MODELS)


def resolve(name: str, settings: EngineSettings) -> ModelSource:
    """Find a model by its short name, its hub id (`owner/name`, `owner/name@commit`), or a path to folder or file.

    Reads a few small files at most. A model that still has to be fetched resolves too, with `installed` false.

    Raises:
        UnknownModelError: the name is none of these.
        StorageError: a local model can't be read.
    """
    if name == EMOJI:
        return _emoji()
    if name in KNOWN_MODELS:
        return _known(KNOWN_MODELS[name], settings)
    path = Path(name).expanduser()
    if path.exists():
        return _local(name, path)
    if recipe := hub_recipe(name):
        return _hub(name, recipe, settings)
    raise UnknownModelError(
        f"There is no model {name[:100]!r}; known are {', '.join(known_models())}, "
        "and a hub id like owner/name or the path of a folder or file will do."
    )


def hub_recipe(name: str) -> Recipe | None:
    """How to fetch what a hub id names, or None where the name is no hub id."""
    match = HUB_ID.fullmatch(name)
    if match is None or set(match["repo"].split("/")) & {".", ".."}:
        return None
    if not match["revision"]:
        known = _known_repository(match["repo"])
        if known:
            return known.recipe
    return Recipe(repo=match["repo"], revision=match["revision"] or "main")


def _known_repository(repo: str) -> KnownModel | None:
    return next((model for model in KNOWN_MODELS.values() if model.repo == repo), None)


def model_folder(name: str, settings: EngineSettings) -> Path:
    """Where a fetched model lies."""
    return settings.models_folder / name.replace("/", "--")


def _emoji() -> ModelSource:
    installed = (EMOJI_FOLDER / "model_index.json").is_file()
    info = ModelInfo(
        name=EMOJI,
        title="Emoji",
        revision=fingerprint(_content(EMOJI_FOLDER)) if installed else UNFETCHED,
        licence="MIT",
        note="Drawn by the small bundled model, which knows little beyond emoji.",
        native=128,
        default_side=256,
        min_side=128,
        max_side=512,
        square_only=True,
        steps=20,
        guidance=2.5,
        sampler=Sampler.DPMPP_2M_KARRAS,
        installed=installed,
    )
    return ModelSource(info=info, path=EMOJI_FOLDER, kind="native", native_only=True)


def _known(model: KnownModel, settings: EngineSettings) -> ModelSource:
    folder = model_folder(model.info.name, settings)
    manifest = Manifest.read(folder)
    installed = manifest is not None and manifest.revision == model.info.revision and manifest.complete(folder)
    info = model.info.model_copy(update={"installed": installed})
    if model.file:
        return ModelSource(info=info, path=folder / model.file, kind="native")
    return _folder(info, folder)


def _hub(name: str, recipe: Recipe, settings: EngineSettings) -> ModelSource:
    folder = model_folder(name, settings)
    manifest = Manifest.read(folder)
    if manifest is None or not manifest.complete(folder):
        info = _generic_info(name, recipe.repo, UNFETCHED, DEFAULT_NATIVE).model_copy(update={"installed": False})
    else:
        info = _generic_info(name, recipe.repo, manifest.revision, _native_side(folder), licence=manifest.licence)
    if known := _known_repository(recipe.repo):
        facts = {"name": name, "revision": info.revision, "installed": info.installed}
        info = known.info.model_copy(update=facts)
    return _folder(info, folder)


def _local(name: str, path: Path) -> ModelSource:
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UnknownModelError(f"{path} is no model: a folder in the diffusers layout has a model_index.json.")
        info = _generic_info(name, path.resolve().name, f"local-{fingerprint(_content(path))}", _native_side(path))
        return _folder(info, path)
    if path.suffix not in SINGLE_FILES:
        raise UnknownModelError(f"{path} is no model: a single file must end in {' or '.join(SINGLE_FILES)}.")
    native = SINGLE_FILE_LARGE if str(SINGLE_FILE_LARGE) in path.stem else SINGLE_FILE_NATIVE
    info = _generic_info(name, path.stem, f"local-{fingerprint(_with_config(path))}", native)
    return ModelSource(info=info, path=path, kind="native")


def _folder(info: ModelInfo, folder: Path) -> ModelSource:
    """A model in the diffusers layout."""
    kind = _kind(folder)
    return ModelSource(info=info, path=folder, kind=kind, reading=_padding(folder) if kind == "native" else "")


def _padding(folder: Path) -> str:
    """Whether two files name different padding tokens; the second, which is right, was not always read."""
    tokenizer = folder / "tokenizer"
    config, special = _read_json(tokenizer / "tokenizer_config.json"), _read_json(tokenizer / "special_tokens_map.json")
    overruled = "added_tokens_decoder" not in config and "pad_token" in special
    return "padding" if overruled and special["pad_token"] != config.get("pad_token") else ""


def _generic_info(name: str, title: str, revision: str, native: int, *, licence: str = "") -> ModelInfo:
    """What may be said of a model that nobody described: it draws best around its native size."""
    return ModelInfo(
        name=name,
        title=title,
        revision=revision,
        licence=licence or "unknown",
        native=native,
        default_side=native,
        min_side=max(SMALLEST_SIDE, native // 2 // SIZE_STEP * SIZE_STEP),
        max_side=min(LARGEST_SIDE, native * 2),
    )


def _with_config(path: Path) -> list[Path]:
    """A single file, and the `.yaml` of its name, which may say what it predicts."""
    beside = path.with_suffix(".yaml")
    return [path, beside] if beside.is_file() else [path]


def _content(folder: Path) -> list[Path]:
    """The files that decide what a model draws."""
    suffixes = (".json", ".txt", ".model", ".safetensors", ".bin")
    return [path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file()]


def _read_json(path: Path) -> dict[str, Any]:
    """A parsed object, or an empty one: what is damaged is reported by whoever loads the model."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _kind(folder: Path) -> Kind:
    """Our own Stable Diffusion wherever it implements every part of the model; else diffusers."""
    index = _read_json(folder / "model_index.json")
    parts = {
        name: value[1]
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] and name not in IGNORED_PARTS
    }
    plain = parts.keys() == NATIVE_PARTS.keys() and all(parts[name] in NATIVE_PARTS[name] for name in parts)
    native = index.get("_class_name") == "StableDiffusionPipeline" and plain and _plain_unet(folder)
    return "native" if native else "diffusers"


def _plain_unet(folder: Path) -> bool:
    """Whether the UNet is of Stable Diffusion's kind and takes latents, a timestep and a prompt, and nothing else."""
    config = _read_json(folder / "unet" / "config.json")
    return (
        set(config.get("down_block_types", ())) <= PLAIN_BLOCKS
        and all(config.get(name, value) == value for name, value in PLAIN_UNET.items())
        and config.get("in_channels") == config.get("out_channels")
    )


def _native_side(folder: Path) -> int:
    """The side in pixels that the configuration names: latents' side times the autoencoder's factor."""
    denoiser = _read_json(folder / "unet" / "config.json") or _read_json(folder / "transformer" / "config.json")
    widths = _read_json(folder / "vae" / "config.json").get("block_out_channels")
    side: object = denoiser.get("sample_size")
    side = side[0] if isinstance(side, list) and side else side
    if not isinstance(side, int) or not isinstance(widths, list) or not widths:
        return DEFAULT_NATIVE
    pixels: int = side * 2 ** (len(widths) - 1)
    return min(max(pixels, SMALLEST_SIDE), LARGEST_SIDE)
