from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.errors import FetchError, UnknownModelError
from engine.models.download import ATTEMPTS
from engine.models.fetch import fetch
from engine.models.manifest import Manifest
from engine.models.recipes import KNOWN_MODELS
from engine.models.registry import resolve
from engine.settings import EngineSettings
from tests.engine.models.repository import FILES, FOLDER, REPO, STORED_UNET, UNET, WANTED, WEIGHTS, Clock, stored
from tests.fakes.hub import COMMIT, FakeHub, Fault

# What is fetched.


def test_only_the_needed_files_come_in_half_precision_where_there_is_one(get: Callable[..., Path]) -> None:
    folder = get()
    assert folder.name == FOLDER
    assert stored(folder) == WANTED
    assert (folder / STORED_UNET).read_bytes() == WEIGHTS


def test_the_manifest_names_commit_licence_and_content(get: Callable[..., Path]) -> None:
    manifest = Manifest.read(get())
    assert manifest is not None
    assert (manifest.repo, manifest.revision, manifest.licence) == (REPO, COMMIT, "openrail")
    assert manifest.files.keys() == WANTED
    assert manifest.files[STORED_UNET].sha256 == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_fetched_model_resolves_as_installed(get: Callable[..., Path], settings: EngineSettings) -> None:
    assert not resolve(REPO, settings).info.installed
    get()
    info = resolve(REPO, settings).info
    assert (info.installed, info.revision, info.licence) == (True, COMMIT, "openrail")


def test_sharded_weights_come_whole(hub: FakeHub, get: Callable[..., Path]) -> None:
    shards = {f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors": b"shard %d" % i for i in (1, 2)}
    index = {"unet/diffusion_pytorch_model.safetensors.index.json": b"{}"}
    hub.repos[REPO] = {path: FILES[path] for path in ("model_index.json", "unet/config.json")} | shards | index
    assert stored(get()) == {"model_index.json", "unet/config.json", *shards, *index}


def test_progress_rises_to_the_whole(settings: EngineSettings) -> None:
    seen: list[tuple[str, int, int]] = []
    fetch(REPO, settings, lambda *step: seen.append(step))
    done = [step[1] for step in seen]
    assert done == sorted(done)
    total = sum(len(FILES[UNET if path == STORED_UNET else path]) for path in WANTED)
    assert seen[-1] == ("", total, total)
    assert any(name == STORED_UNET and 0 < count < total for name, count, _ in seen)


def test_a_moving_branch_is_fetched_at_its_commit(hub: FakeHub, get: Callable[..., Path]) -> None:
    get(f"{REPO}@main")
    assert all(f"/resolve/{COMMIT}/" in seen.path for seen in hub.seen if "/resolve/" in seen.path)


def test_the_bundled_model_needs_no_network(hub: FakeHub, get: Callable[..., Path]) -> None:
    assert get("emoji").name == "emoji"
    assert hub.seen == []


# A second time.


def test_what_is_sound_is_not_fetched_again(hub: FakeHub, get: Callable[..., Path]) -> None:
    get()
    hub.seen.clear()
    get()
    assert hub.seen == []


@pytest.mark.parametrize("damage", ["changed", "shortened", "gone"])
def test_what_is_damaged_is_repaired_and_nothing_else_fetched(
    hub: FakeHub, get: Callable[..., Path], damage: str
) -> None:
    weights = get() / STORED_UNET
    if damage == "gone":
        weights.unlink()
    else:
        weights.write_bytes(WEIGHTS[:-1] + b"x" if damage == "changed" else WEIGHTS[:-1])
    hub.seen.clear()
    get()
    assert weights.read_bytes() == WEIGHTS
    assert {seen.path.rsplit("/", 1)[1] for seen in hub.seen if "/store/" in seen.path} == {UNET.rsplit("/", 1)[1]}
    assert hub.requests("tokenizer/vocab.json") == []


def test_a_damaged_manifest_is_written_anew(get: Callable[..., Path]) -> None:
    folder = get()
    (folder / "manifest.json").write_text("{")
    get()
    assert Manifest.read(folder) is not None


# Lines that drop.


def test_a_cut_connection_goes_on_where_it_ended(hub: FakeHub, get: Callable[..., Path]) -> None:
    hub.faults[UNET].extend([Fault(cut_after=2_000_000), Fault(cut_after=500_000)])
    folder = get()
    assert (folder / STORED_UNET).read_bytes() == WEIGHTS
    ranges = [seen.range for seen in hub.requests(UNET) if seen.path.startswith("/store/")]
    assert ranges == [None, "bytes=2000000-", "bytes=2500000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(
    hub: FakeHub, get: Callable[..., Path], settings: EngineSettings, clock: Clock
) -> None:
    hub.faults[UNET].extend([Fault(cut_after=1_500_000), *[Fault(cut_after=0)] * (ATTEMPTS - 1)])
    with pytest.raises(FetchError, match="keeps breaking off"):
        get()
    assert clock.pauses[-1] > clock.pauses[0]
    assert not resolve(REPO, settings).info.installed
    hub.seen.clear()
    get()
    assert [seen.range for seen in hub.requests(UNET) if seen.path.startswith("/store/")] == ["bytes=1500000-"]


def test_a_server_without_ranges_is_asked_for_all_of_it(hub: FakeHub, get: Callable[..., Path]) -> None:
    hub.ranges = False
    hub.faults[UNET].append(Fault(cut_after=1_000_000))
    assert (get() / STORED_UNET).read_bytes() == WEIGHTS


def test_a_busy_server_is_asked_again(hub: FakeHub, get: Callable[..., Path], clock: Clock) -> None:
    hub.faults["listing"].append(Fault(status=503))
    hub.faults[UNET].append(Fault(status=429))
    get()
    assert len(clock.pauses) == 2


def test_no_network_is_one_sentence(settings: EngineSettings, get: Callable[..., Path]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = settings.model_copy(update={"hub_url": f"http://127.0.0.1:{unused.getsockname()[1]}"})
        with pytest.raises(FetchError, match="can't be reached"):
            get(settings=nowhere)


# Content that isn't what was promised.


@pytest.mark.parametrize("path", [UNET, "tokenizer/vocab.json"])
def test_other_content_is_thrown_away(
    hub: FakeHub, get: Callable[..., Path], settings: EngineSettings, path: str
) -> None:
    hub.lies[path] = bytes(len(FILES[path]))
    with pytest.raises(FetchError, match="not what was pinned"):
        get()
    folder = settings.models_folder / FOLDER
    assert not [path for path in stored(folder) if path.endswith(".part")]
    assert Manifest.read(folder) is None
    hub.lies.clear()
    get()


def test_more_than_was_promised_is_not_written(hub: FakeHub, get: Callable[..., Path]) -> None:
    hub.lies[UNET] = WEIGHTS * 2
    with pytest.raises(FetchError, match="more of"):
        get()


def test_the_hub_cannot_swap_pinned_content(
    hub: FakeHub, get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(KNOWN_MODELS["sd15"], repo=REPO, sha256={UNET: "0" * 64})
    monkeypatch.setitem(KNOWN_MODELS, "sd15", known)
    hub.commit = known.info.revision
    with pytest.raises(FetchError, match="another content"):
        get("sd15")
    assert hub.requests(UNET) == []


def test_another_commit_than_the_pinned_is_refused(get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(KNOWN_MODELS["sd15"], repo=REPO, sha256={})
    monkeypatch.setitem(KNOWN_MODELS, "sd15", known)
    with pytest.raises(FetchError, match="another commit"):
        get("sd15")


def test_paths_that_leave_the_folder_are_ignored(hub: FakeHub, get: Callable[..., Path], tmp_path: Path) -> None:
    hub.repos[REPO] |= {"unet/../../../evil.json": b"{}", "/etc/evil.json": b"{}"}
    get()
    assert not list(tmp_path.rglob("evil.json"))


# What the hub refuses.


def test_a_gated_model_says_how_to_get_in(hub: FakeHub, get: Callable[..., Path]) -> None:
    hub.token = "secret"
    with pytest.raises(FetchError, match="EASEL_HUB_TOKEN"):
        get()


def test_the_token_goes_to_the_hub_and_not_to_its_store(
    hub: FakeHub, get: Callable[..., Path], settings: EngineSettings
) -> None:
    hub.token = "secret"
    get(settings=settings.model_copy(update={"hub_token": SecretStr("secret")}))
    at_store = [seen.authorization for seen in hub.requests(UNET) if seen.path.startswith("/store/")]
    at_hub = [seen.authorization for seen in hub.requests(UNET) if seen.path.startswith(f"/{REPO}/")]
    assert at_hub == ["Bearer secret"]
    assert at_store == [None]


def test_an_unknown_repository_is_one_sentence(get: Callable[..., Path]) -> None:
    with pytest.raises(FetchError, match="check the name"):
        get("nobody/nothing")


def test_a_file_that_is_gone_is_one_sentence(hub: FakeHub, get: Callable[..., Path]) -> None:
    hub.faults[UNET].append(Fault(status=404))
    with pytest.raises(FetchError, match="There is no"):
        get()


def test_a_repository_of_another_kind_is_one_sentence(hub: FakeHub, get: Callable[..., Path]) -> None:
    del hub.repos[REPO]["model_index.json"]
    with pytest.raises(FetchError, match="diffusers layout"):
        get()


def test_pickles_alone_are_refused(hub: FakeHub, get: Callable[..., Path]) -> None:
    for path in (UNET, "unet/diffusion_pytorch_model.safetensors"):
        del hub.repos[REPO][path]
    with pytest.raises(FetchError, match="no pickles"):
        get()


def test_a_name_that_stands_for_nothing_is_one_sentence(get: Callable[..., Path]) -> None:
    with pytest.raises(UnknownModelError, match="known are emoji, sd15"):
        get("no such thing")
