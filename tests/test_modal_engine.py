"""The Modal app: what `modal deploy` sends for it, and its classes as they run here with the bundled model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import modal
import pytest

import modal_engine
from bot.clients.modal import Mounted
from bot.settings import Settings
from engine import wire
from engine.types import Cached, Image, Order, Progress, Stage
from tests.bot.workbench import resolved
from tests.fakes.modal_control import ROOT, FakeModal, deploy, source

WITHOUT_GPU = ("torch", "psutil", "diffusers", "transformers", "onnxruntime", "safetensors", "better_profanity")
CHAT_ALONE = f"""
import sys
sys.modules.update(dict.fromkeys({WITHOUT_GPU}))
import modal_engine, bot.serverless, bot.adapters.discord.http, bot.adapters.slack.adapter
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("easel"))


def functions(control: FakeModal) -> dict[str, Any]:
    """What was asked for, by name; of a chain of GPUs the first choice."""
    created = [
        [ranked.function for ranked in request.function_data.ranked_functions] or [request.function]
        for request in control.requests["FunctionCreate"]
    ]
    return {choices[0].function_name or choices[0].implementation_name: choices for choices in created}


def secret_named(control: FakeModal, name: str) -> str:
    """Its id: the control plane counts what it is asked for."""
    (found,) = {id_ for id_, request in control.made.items() if getattr(request, "deployment_name", "") == name}
    return found


@pytest.fixture(scope="module")
def control(folder: Path) -> FakeModal:
    """What came of deploying without any settings."""
    return asyncio.run(deploy(folder))


def test_what_a_deployment_consists_of(control: FakeModal) -> None:
    made = functions(control)
    assert sorted(made) == ["Engine.*", "Generator.*", "benchmark_on_gpu", "download", "draw_without_snapshot"]

    (generator,) = made["Generator.*"]
    assert generator.resources.gpu_config.gpu_type == "A10"
    assert (generator.timeout_secs, generator.startup_timeout_secs) == (930, 300)
    assert generator.checkpointing_enabled, "the memory snapshot"
    assert (generator.concurrency_limit, generator.task_idle_timeout_secs, generator.warm_pool_size) == (4, 60, 0)
    assert not generator.HasField("retry_policy") or generator.retry_policy.retries == 0
    assert [(mount.mount_path, mount.read_only) for mount in generator.volume_mounts] == [("/easel/models", True)]
    assert (generator.max_concurrent_inputs, generator.target_concurrent_inputs) == (4, 2)
    assert list(generator.method_definitions) == ["draw"]

    (engine,) = made["Engine.*"]
    assert not engine.resources.gpu_config.gpu_type
    assert (engine.resources.milli_cpu, engine.resources.memory_mb) == (2000, 4096)
    assert engine.max_concurrent_inputs == 100
    assert engine.autoscaler_settings.max_containers == 1
    mounts = {mount.mount_path: mount.read_only for mount in engine.volume_mounts}
    assert mounts == {"/easel/models": True, "/easel/cache": False}
    methods = {"generate", "generate_batch", "clear_cache", "purge", *wire.VALUES}
    assert set(engine.method_definitions) == methods

    assert sorted(request.deployment_name for request in control.requests["VolumeGetOrCreate"]) == [
        "easel-cache",
        "easel-weights",
    ]
    assert not any(request.required_keys for request in control.requests["SecretGetOrCreate"])


async def test_settings_travel_with_the_deployment_and_secrets_don_t(folder: Path) -> None:
    control = await deploy(
        folder,
        EASEL_MODEL="sd15",
        EASEL_DISCORD_TOKEN="very-secret",
        EASEL_HUB_TOKEN="very-secret",
        EASEL_MODAL__GPUS='["L4", "A10"]',
        EASEL_MODAL__SERVE='["web", "discord", "slack"]',
        EASEL_MODAL__HUB_SECRET="easel-hub",
        EASEL_MODAL__GPU_CONTAINERS="7",
        EASEL_MODAL__GPU_SNAPSHOT="true",
        EASEL_MODAL__CHAT_KEPT="true",
        EASEL_ATTENTION="xformers",
    )
    sent = str(control.requests)
    assert "very-secret" not in sent
    carried = [dict(request.env_dict) for request in control.requests["SecretGetOrCreate"] if request.env_dict]
    assert all(environment["EASEL_MODEL"] == "sd15" for environment in carried)
    assert all(environment["EASEL_HOME"] == "/easel" for environment in carried)
    named = {
        request.deployment_name: set(request.required_keys)
        for request in control.requests["SecretGetOrCreate"]
        if request.deployment_name
    }
    assert named == {
        "easel-hub": {"EASEL_HUB_TOKEN"},
        "easel-discord": {"EASEL_DISCORD_TOKEN", "EASEL_DISCORD_PUBLIC_KEY"},
        "easel-slack": {"EASEL_SLACK_BOT_TOKEN", "EASEL_SLACK_SIGNING_SECRET"},
    }
    made = functions(control)
    assert {"Chat.*", "gradio_app"} < made.keys()
    assert [choice.resources.gpu_config.gpu_type for choice in made["Generator.*"]] == ["L4", "A10"]
    assert made["Generator.*"][0].concurrency_limit == 7
    assert made["Generator.*"][0].experimental_options["enable_gpu_snapshot"] == "True"
    (chat,), (page,) = made["Chat.*"], made["gradio_app"]
    assert chat.autoscaler_settings.max_containers == page.autoscaler_settings.max_containers == 1, "each its database"
    assert (chat.warm_pool_size, page.warm_pool_size) == (1, 0)
    assert page.timeout_secs == 86_400, "an open page is one request"
    assert set(chat.method_definitions) == {"web", "attend"}
    assert [mount.mount_path for mount in chat.volume_mounts] == ["/easel/state"]
    layers = [" ".join(request.image.dockerfile_commands) for request in control.requests["ImageGetOrCreate"]]
    assert any("xformers" in layer for layer in layers)
    hub = secret_named(control, "easel-hub")
    assert [name for name, (function, *_) in made.items() if hub in function.secret_ids] == ["download"]


def test_images_are_pinned_and_a_change_of_code_builds_nothing(control: FakeModal) -> None:
    layers = ["\n".join(request.image.dockerfile_commands) for request in control.requests["ImageGetOrCreate"]]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert any(layer.endswith(torch) and "whl/cpu" in layer for layer in layers), "the CPU's torch"
    assert any(layer.endswith(torch) and "whl/cpu" not in layer for layer in layers), "the GPU's torch"
    assert all("--constraint" in layer for layer in layers if "diffusers" in layer)
    assert any("toxic_original" in layer and "sha256sum --check" in layer for layer in layers)
    built = {file.filename for request in control.requests["ImageGetOrCreate"] for file in request.image.context_files}
    assert built == set(), "nothing of the source is part of a layer"
    mounted = {file.filename for request in control.requests["MountGetOrCreate"] for file in request.files}
    assert {
        "/root/engine/deployment/engine.py",
        "/root/bot/languages/en.toml",
        "/root/bot/migrations/0001_initial.sql",
    } < mounted
    assert any(name.startswith("/root/engine/models/emoji/") for name in mounted), "the bundled model"
    assert not any("__pycache__" in name for name in mounted)


def test_a_chat_s_container_needs_no_engine() -> None:
    done = subprocess.run([sys.executable, "-c", CHAT_ALONE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_bot_s_side_loads_no_torch() -> None:
    code = """
import sys
from bot import app
from bot.settings import Settings
app.connect(Settings(engine="modal"))
found = {"torch", "diffusers", "transformers", "numpy", "PIL", "onnxruntime"} & set(sys.modules)
sys.exit(str(found) if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_settings_arrive_in_a_container_as_they_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        models=("sd15", "a/b"), watermark_text='say "hi"', image_check=False, cache_bytes=10, modal={"gpus": ("L4",)}
    )
    for name, value in given.carried().items():
        monkeypatch.setenv(name, value)
    arrived = Settings()
    for name in ("models", "watermark_text", "image_check", "cache_bytes", "modal"):
        assert getattr(arrived, name) == getattr(given, name)


# The classes, run here.


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(modal_engine, "SETTINGS", Settings(home=tmp_path, model="emoji", previews=False))
    engine = modal_engine.Engine()
    yield engine
    await engine.service.close()


@pytest.mark.filterwarnings("ignore:The .* function is executing locally:UserWarning")
async def test_a_picture_from_the_classes_themselves(engine: Any) -> None:
    """`.local()` runs the very methods that are deployed; it can't run streams, so these come by the service."""
    info = wire.understood(wire.VALUES["info"], wire.read(await engine.info.local(wire.call())).value)
    assert info.default_model == "emoji"

    order = Order(
        job="J1", requests=(resolved("a red apple", width=128, height=128, steps=2),), scope="x:a", owner="x:1"
    )
    events = [wire.read(answer) for answer in await collected(engine.service.generate(wire.call(order=order), "fc-1"))]
    assert events[0].call == "fc-1"
    found = [wire.understood(wire.EVENT, event.value) for event in events[1:] if event.value is not None]
    stages = [event.stage for event in found if isinstance(event, Progress)]
    assert stages == [Stage.WAKING, Stage.DRAWING, Stage.DRAWING, Stage.FINISHING]
    image = found[-1]
    assert isinstance(image, Image)
    assert image.cost is not None
    assert image.cost.dollars > 0

    (again,) = [wire.read(answer) for answer in await engine.generate_batch.local(wire.call(order=order))]
    hit = wire.understood(wire.EVENT, again.value)
    assert isinstance(hit, Image)
    assert (hit.cached, hit.data, hit.cost) == (Cached.FINISHED, image.data, None)

    for question, expected in (("cache_stats", 2), ("cache_clear", 2), ("cache_clear", 0)):
        answer = wire.read(await getattr(engine, question).local(wire.call(scope=None)))
        value = wire.understood(wire.VALUES[question], answer.value)
        assert (value.entries if question == "cache_stats" else value) == expected


async def collected(stream: AsyncGenerator[bytes, None]) -> list[bytes]:
    return [answer async for answer in stream]


# The edge of Modal's SDK.


class Broken:
    """A volume that can't."""

    def commit(self) -> None:
        raise RuntimeError("there are open files preventing the operation")

    def reload(self) -> None:
        raise modal.exception.ServiceError("503")


def test_nothing_is_mounted_here() -> None:
    Mounted(Broken()).commit()


def test_a_volume_s_errors_are_a_disk_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modal, "is_local", lambda: False)
    with pytest.raises(OSError, match="can't commit: there are open files"):
        Mounted(Broken()).commit()
    with pytest.raises(OSError, match="can't reload"):
        Mounted(Broken()).reload()
