from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from engine.errors import FetchError, StorageError
from engine.models import fetch as fetching
from engine.models.download import Downloader
from engine.models.recipes import CLIP_TOKENIZER, DETOXIFY, KNOWN_MODELS, Recipe
from engine.settings import EngineSettings
from tests.engine.models.repository import FOLDER, REPO, UNET, WEIGHTS, stored
from tests.fakes.hub import COMMIT, FakeHub, Fault

# Disks.


def test_what_does_not_fit_is_refused_before_the_first_byte(hub: FakeHub, get: Callable[..., Path]) -> None:
    hub.sizes[UNET] = 10**18
    with pytest.raises(StorageError, match="GB free"):
        get()
    assert hub.requests("tokenizer/vocab.json") == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond this, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_one_sentence_and_the_part_stays(hub: FakeHub, get: Callable[..., Path]) -> None:
    with file_size_limit(1_500_000), pytest.raises(StorageError, match="can't be written"):
        get()
    hub.seen.clear()
    get()
    assert [seen.range for seen in hub.requests(UNET) if seen.path.startswith("/store/")] == ["bytes=1500000-"]


def test_a_home_that_cannot_be_written_is_one_sentence(settings: EngineSettings, get: Callable[..., Path]) -> None:
    settings.home.joinpath("models").touch()
    with pytest.raises(StorageError, match="can't be written"):
        get()


def test_two_do_not_fetch_the_same_at_once(
    settings: EngineSettings, get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LOCK_SECONDS", 0.0)
    folder = settings.models_folder / FOLDER
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(FetchError, match="another process"):
        get()


# Detoxify and vocabularies.


def test_detoxify_is_a_checkpoint_from_elsewhere_and_a_vocabulary(
    hub: FakeHub, get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {name: name.encode() for name in DETOXIFY.only}
    hub.repos |= {"bert/base": small, "store/release": {"toxic.ckpt": WEIGHTS}}
    (checkpoint,) = DETOXIFY.extra
    release = replace(
        checkpoint,
        url=f"{hub.url}/store/store/release/toxic.ckpt",
        size=len(WEIGHTS),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )
    recipe = Recipe(repo="bert/base", revision=COMMIT, only=DETOXIFY.only, extra=(release,))
    monkeypatch.setattr(fetching, "DETOXIFY", recipe)
    hub.faults["toxic.ckpt"].append(Fault(cut_after=1_000_000))
    folder = get("detoxify")
    assert folder.name == "detoxify"
    assert stored(folder) == {*DETOXIFY.only, "toxic_original-c1212f89.ckpt"}
    assert (folder / checkpoint.path).read_bytes() == WEIGHTS


def test_a_single_file_gets_its_vocabulary(
    hub: FakeHub, get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = Recipe(repo=REPO, revision=COMMIT, only=CLIP_TOKENIZER.only)
    monkeypatch.setattr(fetching, "CLIP_TOKENIZER", recipe)
    path = tmp_path / "mine.safetensors"
    path.touch()
    assert stored(get(str(path))) == {"tokenizer/vocab.json", "tokenizer/merges.txt"}


def test_pins_are_whole_digests_and_commits() -> None:
    recipes = [DETOXIFY, CLIP_TOKENIZER, *(known.recipe for known in KNOWN_MODELS.values())]
    for recipe in recipes:
        assert len(recipe.revision) == 40
        assert all(len(digest) == 64 and int(digest, 16) for digest in recipe.sha256.values())
        assert all(file.path.split("-")[-1].split(".")[0] == file.sha256[:8] for file in recipe.extra)


# The downloader by itself.


def test_only_web_addresses_are_opened() -> None:
    with pytest.raises(FetchError, match="no web address"):
        Downloader().get_json("file:///etc/passwd")


def test_a_listing_that_breaks_off_is_asked_for_again(hub: FakeHub) -> None:
    hub.repos["a/b"] = {"list.json": b'{"files": 3}'}
    hub.faults["list.json"].append(Fault(cut_after=5))
    assert Downloader(pause=lambda _: None).get_json(f"{hub.url}/a/b/resolve/main/list.json") == {"files": 3}


@pytest.mark.parametrize("content", [b"<html>", b"[]"])
def test_an_answer_that_is_no_json_object_is_one_sentence(hub: FakeHub, content: bytes) -> None:
    hub.repos["a/b"] = {"odd.json": content}
    with pytest.raises(FetchError, match="no JSON"):
        Downloader().get_json(f"{hub.url}/a/b/resolve/main/odd.json")
