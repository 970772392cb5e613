"""Bringing a model into a machine's image, by shell commands alone, so that a change of Easel builds nothing anew."""

from __future__ import annotations

from pathlib import PurePosixPath

from engine.models.recipes import Recipe

HUB = "https://huggingface.co"


def commands(recipe: Recipe, folder: PurePosixPath) -> tuple[str, ...]:
    """One command for each file that a recipe names: fetch it at its pinned revision, and check what came."""
    files = [
        (f"{HUB}/{recipe.repo}/resolve/{recipe.revision}/{path}", path, recipe.sha256[path]) for path in recipe.only
    ]
    files += [(file.url, file.path, file.sha256) for file in recipe.extra]
    return tuple(
        f"curl -fsSL --create-dirs -o {folder / path} {url} && echo '{sha256}  {folder / path}' | sha256sum --check"
        for url, path, sha256 in files
    )
