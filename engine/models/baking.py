"""What goes into a machine's image: packages, and models by shell commands, so that new code builds nothing anew."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePosixPath

from engine.models.recipes import Recipe

HUB = "https://huggingface.co"
PINS = "constraints.txt"


def packages(folder: Path, *extras: str) -> list[str]:
    """What Easel and some of its extras need; nothing where its folder has no pyproject.toml, as in a container."""
    project = folder / "pyproject.toml"
    if not project.exists():
        return []
    described = tomllib.loads(project.read_text("utf-8"))["project"]
    return sorted({*described["dependencies"]}.union(*(described["optional-dependencies"][extra] for extra in extras)))


def pinned(folder: Path, package: str) -> str:
    """A package with the version that is pinned, if one is."""
    pins = folder / PINS
    lines = pins.read_text("utf-8").splitlines() if pins.exists() else []
    return next((line for line in lines if line.startswith(f"{package}==")), package)


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
