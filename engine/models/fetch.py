"""`easel fetch`: bring a model onto this machine, whole and verified, or say in one sentence why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import FetchError, StorageError, UnknownModelError
from engine.models.download import Arrived, Downloader, RemoteFile, verify
from engine.models.hub import Hub, is_commit
from engine.models.manifest import FILE_NAME, FileRecord, Manifest, sha256_of
from engine.models.recipes import CLIP_TOKENIZER, DETOXIFY, KNOWN_MODELS, Recipe
from engine.models.registry import (
    CLIP_TOKENIZER_NAME,
    DETOXIFY_NAME,
    EMOJI,
    EMOJI_FOLDER,
    SINGLE_FILES,
    hub_recipe,
    known_models,
    model_folder,
)
from engine.settings import EngineSettings

RESERVE = 64 * 2**20
"""Bytes of the disk that a download leaves free."""
LOCK_SECONDS = 5.0

Report = Callable[[str, int, int], None]
"""Called with the file being fetched, and with bytes done and bytes in all of the whole model."""


def fetch(name: str, settings: EngineSettings, report: Report, *, downloader: Downloader | None = None) -> Path:
    """Fetch or repair a model by its short name or hub id, `detoxify`, or the vocabulary for a single file's path.

    What is there and sound stays; a download that was cut off goes on where it ended. Returns the model's folder.

    Raises:
        UnknownModelError: the name is none of these.
        FetchError: the server refuses or can't be reached, or sends something else than what was pinned.
        StorageError: the disk is full or can't be written.
    """
    if name == EMOJI:
        return EMOJI_FOLDER
    recipe, folder = _recipe(name, settings)
    with _locked(folder):
        if not _sound(folder, recipe, report):
            _fetch(recipe, folder, settings, report, downloader or Downloader())
    return folder


def _recipe(name: str, settings: EngineSettings) -> tuple[Recipe, Path]:
    """How to fetch what a name stands for, and where to."""
    if name == DETOXIFY_NAME:
        return DETOXIFY, settings.models_folder / DETOXIFY_NAME
    if name == CLIP_TOKENIZER_NAME or _is_single_file(name):
        return CLIP_TOKENIZER, settings.models_folder / CLIP_TOKENIZER_NAME
    if name in KNOWN_MODELS:
        return KNOWN_MODELS[name].recipe, model_folder(name, settings)
    recipe = hub_recipe(name)
    if recipe is None:
        known = ", ".join((*known_models(), DETOXIFY_NAME))
        raise UnknownModelError(
            f"There is nothing to fetch for {name[:100]!r}; known are {known}, and a hub id like owner/name will do."
        )
    return recipe, model_folder(name, settings)


def _is_single_file(name: str) -> bool:
    path = Path(name).expanduser()
    return path.suffix in SINGLE_FILES and path.is_file()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process fetches a model at a time."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise FetchError(f"{folder.name} is being fetched by another process already.") from error
    except OSError as error:
        raise StorageError(f"{folder} can't be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def _sound(folder: Path, recipe: Recipe, report: Report) -> bool:
    """Whether everything was fetched before and still has its content; asks no network."""
    manifest = Manifest.read(folder)
    if manifest is None or manifest.repo != recipe.repo or not manifest.complete(folder):
        return False
    if manifest.revision != recipe.revision and is_commit(recipe.revision):
        return False
    total, done = sum(record.size for record in manifest.files.values()), 0
    for path, record in manifest.files.items():
        report(path, done, total)
        if sha256_of(folder / path) != record.sha256:
            return False
        done += record.size
    report("", total, total)
    return True


def _fetch(recipe: Recipe, folder: Path, settings: EngineSettings, report: Report, downloader: Downloader) -> None:
    hub = Hub(recipe, settings, downloader)
    manifest = Manifest.read(folder)
    if manifest is not None and manifest.revision != hub.revision:
        (folder / FILE_NAME).unlink()
    files = [*hub.files(), *_web_files(recipe)]
    records, missing = _already_there(files, folder)
    _need_space(missing, folder)
    total = sum(file.size for file in files)
    done = total - sum(file.size for file in missing)
    for file in missing:
        sha256 = downloader.fetch(file, folder / file.path, _progress(report, file, done, total))
        records[file.path] = FileRecord(size=file.size, sha256=sha256)
        done += file.size
    report("", total, total)
    Manifest(repo=recipe.repo, revision=hub.revision, licence=hub.licence, files=records).write(folder)


def _progress(report: Report, file: RemoteFile, before: int, total: int) -> Arrived:
    return lambda arrived: report(file.path, before + arrived, total)


def _already_there(files: Iterable[RemoteFile], folder: Path) -> tuple[dict[str, FileRecord], list[RemoteFile]]:
    """The records of files that are there and right, and the files that must come."""
    records: dict[str, FileRecord] = {}
    missing: list[RemoteFile] = []
    for file in files:
        path = folder / file.path
        try:
            records[file.path] = FileRecord(size=file.size, sha256=verify(path, file))
        except (FetchError, OSError):
            missing.append(file)
    return records, missing


def _need_space(missing: Iterable[RemoteFile], folder: Path) -> None:
    """Refuse before the first byte what the disk can't hold."""
    partial = sum(path.stat().st_size for path in folder.rglob("*.part"))
    needed = sum(file.size for file in missing) - partial
    free = shutil.disk_usage(folder).free
    if needed > 0 and needed + RESERVE > free:
        raise StorageError(
            f"{folder} needs {needed / 1e9:.1f} GB more, and its disk has {max(free - RESERVE, 0) / 1e9:.1f} GB free."
        )


def _web_files(recipe: Recipe) -> list[RemoteFile]:
    return [RemoteFile(url=file.url, path=file.path, size=file.size, sha256=file.sha256) for file in recipe.extra]
