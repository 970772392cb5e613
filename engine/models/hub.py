"""The model hub: what a repository holds at one commit, and which of it a pipeline needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from engine.errors import FetchError
from engine.models.download import Downloader, RemoteFile
from engine.models.recipes import Recipe
from engine.settings import EngineSettings

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(?P<half>\.fp16)?(?P<shard>-\d{5}-of-\d{5})?\.safetensors")
"""Published weights; not those that only training needs (`non_ema`), nor other frameworks'."""
SMALL_FILES = (".json", ".txt", ".model", ".jinja")
UNUSED_PARTS = {"safety_checker", "image_encoder"}
"""Parts that no picture here passes through; Easel checks pictures itself."""
MODEL_INDEX = "model_index.json"


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit, which names its content."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


class Hub:
    """One repository of the hub at one commit, as the hub lists it."""

    def __init__(self, recipe: Recipe, settings: EngineSettings, downloader: Downloader) -> None:
        self._recipe = recipe
        self._base = settings.hub_url.rstrip("/")
        self._token = settings.hub_token.get_secret_value() if settings.hub_token else None
        self._downloader = downloader
        url = f"{self._base}/api/models/{recipe.repo}/revision/{recipe.revision}?blobs=true"
        listing = downloader.get_json(url, self._token)
        self.revision = str(listing.get("sha", ""))
        if not is_commit(self.revision) or (is_commit(recipe.revision) and self.revision != recipe.revision):
            raise FetchError(f"The hub answered for another commit of {recipe.repo} than was asked for.")
        card = listing.get("cardData")
        self.licence = str(card.get("license", "")) if isinstance(card, dict) else ""
        self._listed = {file.path: file for file in map(self._remote, listing.get("siblings", ())) if file}

    def _remote(self, sibling: Any) -> RemoteFile | None:  # noqa: ANN401  (whatever a server sends)
        """A listed file, or None for what can't be one of a model's."""
        if not isinstance(sibling, dict) or not isinstance(sibling.get("rfilename"), str):
            return None
        path, lfs = sibling["rfilename"], sibling.get("lfs") or {}
        if not _is_tame(path) or not isinstance(sibling.get("size"), int):
            return None
        listed, pinned = lfs.get("sha256"), self._recipe.sha256.get(path)
        if listed and pinned and listed != pinned:
            raise FetchError(f"The hub lists another content of {path} than was pinned.")
        return RemoteFile(
            url=f"{self._base}/{self._recipe.repo}/resolve/{self.revision}/{path}",
            path=path,
            size=sibling["size"],
            sha256=pinned or listed,
            git_sha1=None if lfs else sibling.get("blobId"),
            token=self._token,
        )

    def files(self) -> list[RemoteFile]:
        """The files to fetch, small ones first."""
        paths = self._recipe.only or self._pipeline_files()
        for path in (*paths, *self._recipe.sha256):
            if path not in self._listed:
                raise FetchError(f"{self._recipe.repo} has no {path}.")
        return sorted((_plain_name(self._listed[path]) for path in paths), key=lambda file: file.size)

    def _pipeline_files(self) -> Sequence[str]:
        """What a pipeline in the diffusers layout is made of: its index, and small files and weights of each part."""
        repo = self._recipe.repo
        if MODEL_INDEX not in self._listed:
            raise FetchError(f"{repo} is no text-to-image model in the diffusers layout: it has no {MODEL_INDEX}.")
        index = self._downloader.get_json(self._listed[MODEL_INDEX].url, self._token)
        parts = [
            name
            for name, value in index.items()
            if isinstance(value, list) and len(value) == 2 and value[1] and name not in UNUSED_PARTS
        ]
        return [MODEL_INDEX, *(path for part in parts for path in self._part_files(part))]

    def _part_files(self, part: str) -> list[str]:
        own = [path for path in self._listed if PurePosixPath(path).parent == PurePosixPath(part)]
        small = [path for path in own if path.endswith(SMALL_FILES) and "fp16" not in path]
        weights = choose_weights([PurePosixPath(path).name for path in own])
        if not weights and any(path.endswith((".bin", ".safetensors", ".ckpt")) for path in own):
            raise FetchError(
                f"{self._recipe.repo} has no safetensors weights of its {part}, and Easel loads no pickles."
            )
        return [*small, *(f"{part}/{name}" for name in weights)]


def choose_weights(names: Iterable[str]) -> list[str]:
    """The weight files of a part to fetch: one in half precision if there is one, else the whole in full precision.

    Half precision is what a GPU computes in, costs a CPU nothing that can be seen, and is half the download.
    """
    matches = [match for name in names if (match := WEIGHTS.fullmatch(name))]
    half = [match[0] for match in matches if match["half"] and not match["shard"]]
    single = [match[0] for match in matches if not match["half"] and not match["shard"]]
    shards = [match[0] for match in matches if not match["half"] and match["shard"]]
    return half[:1] or single[:1] or sorted(shards)


def _plain_name(file: RemoteFile) -> RemoteFile:
    """The same file, stored under the name that loaders look for first."""
    return replace(file, path=file.path.replace(".fp16.", "."))


def _is_tame(path: str) -> bool:
    """Whether a path from the network stays in the folder that it is joined to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in path
