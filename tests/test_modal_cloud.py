"""The app as Modal runs it: containers on this machine, Modal's own entry point and client, the bundled model."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import modal
import pytest
import pytest_asyncio

from bot.adapters.web.people import People
from bot.chat import Role
from bot.clients.base import EngineClient
from bot.clients.modal import connect
from bot.settings import Settings
from bot.store import Store
from engine.types import Cached, Cancelled, Event, Image, Order, Progress, Refused, Stage
from tests.bot.workbench import resolved
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_door import PUBLIC_KEY, Door, signed
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.discord_person import Person
from tests.fakes.modal_calls import Call, Container
from tests.fakes.modal_cloud import TERMINATED, FakeCloud
from tests.fakes.modal_control import deploy, source
from tests.fakes.modal_front import fronting
from tests.fakes.web_person import WebPerson

pytestmark = pytest.mark.asyncio(loop_scope="module")

CPU = {"EASEL_DEVICE": "cpu", "EASEL_COMPILE": "off"}
"""Where the containers have no GPU."""
PATIENCE = 240.0
"""Seconds for starting several processes that load torch, beside whatever else this machine does."""
PAGE = "easel--gradio-app.modal.run"
"""The name that Modal gives the page."""
PASSWORD = "correct horse"
SERVED = {"EASEL_MODAL__SERVE": '["web", "discord"]', "EASEL_DISCORD_PUBLIC_KEY": PUBLIC_KEY}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("easel"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def discord() -> AsyncIterator[FakeDiscord]:
    discord = FakeDiscord()
    async with discord.serving():
        yield discord


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, discord: FakeDiscord
) -> AsyncIterator[FakeCloud]:
    """One for all tests that find their way about what others have left running; Ada has an account on its page."""
    deployed = await deploy(folder, EASEL_MODAL__GPU_CONTAINERS="2", **SERVED)
    home = tmp_path_factory.mktemp("cloud")
    await _with_account(home / "state" / "web" / "easel.db")
    secrets = {"easel-discord": {"EASEL_DISCORD_TOKEN": TOKEN, "EASEL_DISCORD_PUBLIC_KEY": PUBLIC_KEY}}
    environment = CPU | {"EASEL_DISCORD_API": f"http://{discord.address}/api"}
    cloud = FakeCloud(home, folder, deployed, secrets=secrets, environment=environment)
    async with cloud.serving():
        yield cloud
    assert cloud.crashes == []


async def _with_account(kept: Path) -> None:
    """A database with one account, as the page's last container has left it on the volume."""
    kept.parent.mkdir(parents=True)
    async with Store.open(kept) as store:
        await People(store.web_accounts).add("ada", PASSWORD, Role.MEMBER)


@asynccontextmanager
async def meeting(cloud: FakeCloud, home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineClient]:
    for name, value in cloud.tokens.items():
        monkeypatch.setenv(name, value)
    client = connect(Settings(home=home, engine="modal"))
    try:
        yield client
    finally:
        await client.close()
        env_client = await modal.Client.from_env.aio()
        await env_client.close.aio()


def order(*prompts: str, job: str = "J1", **options: Any) -> Order:
    values: dict[str, Any] = {"width": 128, "height": 128, "steps": 2} | options
    return Order(job=job, requests=tuple(resolved(p, **values) for p in prompts), scope="x:a", owner="x:1")


async def endings(client: EngineClient, wanted: Order) -> list[Event]:
    found = [event async for event in client.generate(wanted) if not isinstance(event, Progress)]
    assert sorted(event.index for event in found) == list(range(len(wanted.requests)))
    return sorted(found, key=lambda event: event.index)


async def test_a_picture_is_drawn_on_one_machine_and_everything_else_done_on_another(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with meeting(cloud, tmp_path, monkeypatch) as client, asyncio.timeout(PATIENCE):
        await client.start()
        assert (await client.info()).default_model == "emoji"
        await client.cache_clear(None)

        drawn = len(cloud.called("Generator"))
        (refused,) = await endings(client, order("a naked child"))
        assert isinstance(refused, Refused)
        assert len(cloud.called("Generator")) == drawn, "a refusal starts no GPU"

        events = [event async for event in client.generate(order("a red apple"))]
        stages = [event.stage for event in events if isinstance(event, Progress)]
        assert stages == [Stage.WAKING, Stage.DRAWING, Stage.DRAWING, Stage.FINISHING]
        image = events[-1]
        assert isinstance(image, Image)
        assert image.cost is not None

        (hit,) = await endings(client, order("a red apple", job="J2"))
        assert isinstance(hit, Image)
        assert (hit.cached, hit.data, hit.cost) == (Cached.FINISHED, image.data, None)
        assert len(cloud.called("Generator")) == drawn + 1, "nor does a hit"

        assert await client.cache_read("x:a", image.key) == image.data
        assert (await client.verify(image.data)).made_here
        assert await client.cache_clear(None) == 2
    assert cloud.crashes == []
    for container in cloud.containers:
        assert "AsyncUsageWarning" not in container.log, "a blocking call of Modal's on the event loop"
        assert "red apple" not in container.log, "what people ask for is not written down"


async def test_a_large_order_is_drawn_by_several_gpus(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = len(cloud.called("Generator"))
    async with meeting(cloud, tmp_path, monkeypatch) as client, cloud.handing_out_together(), asyncio.timeout(PATIENCE):
        found = await endings(client, order(*(f"apple {n}" for n in range(6))))
        assert all(isinstance(event, Image) for event in found)
    calls = cloud.called("Generator")[drawn:]
    assert len(calls) == 6
    assert len(cloud.running("Generator")) == 2, "as many as the settings allow"
    assert {call.container for call in calls} == set(cloud.running("Generator"))


async def test_cancelling_reaches_the_gpu(cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = len(cloud.calls)
    async with meeting(cloud, tmp_path, monkeypatch) as client, asyncio.timeout(PATIENCE):
        stream = client.generate(order("a pear", steps=100))
        found = [event async for event in cancelled_once_drawing(client, stream)]
        assert found[-1] == Cancelled(index=0)
        drawing, *others = [call for call in cloud.calls[made:] if call.method in ("generate", "draw")]
        assert others, "both machines were asked"
        for call in (drawing, *others):
            await ended(call)
            assert call.output.result.status == TERMINATED.status
    assert cloud.crashes == []


async def cancelled_once_drawing(client: EngineClient, stream: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async for event in stream:
        yield event
        if isinstance(event, Progress) and event.step == 1:
            await client.cancel("J1")


@pytest.mark.parametrize("lost", ["Generator", "Engine"])
async def test_a_machine_that_is_lost_loses_no_picture(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Modal gives the call to another container, and its answers follow those of the first."""
    prompt = f"an apple for the {lost}"
    gone: list[Container] = []
    async with meeting(cloud, tmp_path, monkeypatch) as client, asyncio.timeout(PATIENCE):
        found: list[Event] = []
        async for event in client.generate(order(prompt, steps=40)):
            found.append(event)
            if isinstance(event, Progress) and event.step == 3 and not gone:
                call = cloud.called(lost)[-1]
                assert call.container is not None
                gone.append(call.container)
                await cloud.lose(call.container)
        (image,) = [event for event in found if not isinstance(event, Progress)]
        (again,) = await endings(client, order(prompt, steps=40, job="J2"))
        assert isinstance(image, Image)
        assert isinstance(again, Image)
        assert again.data == image.data
    assert call.container not in gone, "another one has finished it"


async def test_the_page_is_served_with_its_sign_in(cloud: FakeCloud) -> None:
    """Through Modal's own ASGI wrapper, lifespan included, under the address that Modal gave it."""
    async with asyncio.timeout(PATIENCE):
        here = {"host": PAGE, "origin": f"https://{PAGE}"}
        form = {**here, "content-type": "application/x-www-form-urlencoded"}
        assert (await cloud.visit("gradio_app", "/", headers=here)).status == 303, "to the sign-in"
        assert (await cloud.visit("gradio_app", "/", headers={"host": "evil.example"})).status == 421
        assert (await cloud.visit("gradio_app", "/config", headers=here)).status == 401
        wrong = await cloud.visit("gradio_app", "/sign-in", body=b"name=ada&password=wrong+horse", headers=form)
        assert wrong.status == 401
        right = await cloud.visit("gradio_app", "/sign-in", body=b"name=ada&password=correct+horse", headers=form)
        assert right.status == 303
        (cookie,) = [value for name, value in right.headers if name == "set-cookie"]
        assert cookie.startswith("__Host-")
        assert "secure" in cookie
        page = await cloud.visit("gradio_app", "/", headers={**here, "cookie": right.cookies})
        assert page.status == 200
        assert b"gradio" in page.body
        config = await cloud.visit("gradio_app", "/config", headers={**here, "cookie": right.cookies})
        assert config.status == 200
        assert json.loads(config.body)["components"]
        (container,) = cloud.running("gradio_app")
        await cloud.retire(container)
        again = await cloud.visit("gradio_app", "/", headers={**here, "cookie": right.cookies})
        assert again.status == 200, "the next container knows the session"
    assert cloud.crashes == []


async def test_somebody_draws_on_the_page(cloud: FakeCloud) -> None:
    """With all that streams: the queue, the progress, the picture."""
    drawn = len(cloud.called("Generator"))
    async with fronting(cloud, "gradio_app", PAGE) as address, asyncio.timeout(PATIENCE):
        person = WebPerson(address)
        await person.open("ada", PASSWORD)
        try:
            await person.draw("a red apple")
            while not person.pictures:
                person.news.clear()
                await person.news.wait()
        finally:
            await person.close()
    assert len(cloud.called("Generator")) == drawn + 1
    assert cloud.crashes == []


async def test_discord_is_answered_without_a_server(cloud: FakeCloud, discord: FakeDiscord) -> None:
    posted: list[tuple[dict[str, str], bytes]] = []

    async def post(headers: dict[str, str], body: bytes) -> int:
        posted.append((headers, body))
        return (await cloud.visit("Chat.web", "/discord/interactions", body=body, headers=headers)).status

    async with asyncio.timeout(PATIENCE):
        ping = b'{"type": 1}'
        assert await post(signed(ping) | {"x-signature-ed25519": "0" * 128}, ping) == 401
        assert await post(signed(ping), ping) == 200
        door = Door(post)
        door.ready.set()
        discord.gateway = door  # type: ignore[assignment]
        await Person(discord).imagine("a red apple", steps=2)
        assert door.statuses == [202]
        await ended(next(call for call in cloud.called("Chat") if call.method == "attend"))
        assert len(discord.pictures) == 1

        (chat,) = cloud.running("Chat")
        await cloud.retire(chat)
        assert await post(*posted[-1]) == 202, "a container that has never seen it"
        await ended([call for call in cloud.called("Chat") if call.method == "attend"][-1])
        assert len(discord.pictures) == 1, "but its database knows it"
        assert await post(*posted[-1]) == 401
    assert cloud.crashes == []


async def test_doctor_says_what_is_missing_over_there(tmp_path: Path, folder: Path) -> None:
    deployed = await deploy(folder, EASEL_MODEL="sd15", EASEL_TOXICITY_CHECK="off")
    cloud = FakeCloud(tmp_path, folder, deployed, environment=CPU)
    async with cloud.serving(), asyncio.timeout(PATIENCE):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "doctor", "--json"),
            env=_plain() | cloud.tokens | {"EASEL_ENGINE": "modal", "EASEL_HOME": str(tmp_path / "bot")},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    checks = {check["name"]: check for check in json.loads(output)["checks"]}
    assert process.returncode == 1
    assert (checks["modal"]["state"], checks["extras"]["state"]) == ("ok", "ok")
    assert checks["weights"]["mend"] == "Bring them there: modal run modal_engine.py::download --model sd15"
    assert cloud.running("Generator") == [], "for looking no GPU is paid"


@pytest.fixture
def brief(tmp_path: Path) -> Path:
    """The app's folder, in which a race takes few steps and little patience."""
    folder = tmp_path / "brief"
    folder.mkdir()
    race = source(folder) / "engine" / "race.py"
    fewer = (("50", "2"), ("20", "1"), ("512", "128"), ("PAUSE = 5.0", "PAUSE = 0.2"))
    text = race.read_text("utf-8")
    for old, new in fewer:
        assert old in text
        text = text.replace(old, new)
    race.write_text(text)
    return folder


async def test_benchmark_prints_its_figures(tmp_path: Path, brief: Path) -> None:
    """`modal run modal_engine.py::benchmark`: its own app, and the class as it was deployed."""
    cloud = FakeCloud(tmp_path, brief, environment=CPU)
    async with cloud.serving(), asyncio.timeout(PATIENCE):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modal", "run", "modal_engine.py::benchmark", "--rounds", "1"),
            cwd=brief,
            env=_plain() | cloud.tokens | {"EASEL_MODAL__SCALEDOWN_WINDOW": "2"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    lines = output.decode().splitlines()
    assert process.returncode == 0, output.decode()
    for begin in (
        "emoji on no GPU, torch",
        "exact, 2 steps",
        "exact, 1 steps",
        "fast, 2 steps",
        "diffusers, 2 steps",
        "cold start without a snapshot: container",
        "cold start from a snapshot, first: container",
        "cold start from a snapshot, second: container",
    ):
        assert any(line.startswith(begin) for line in lines), begin


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "MODAL_"))}


async def ended(call: Call) -> None:
    async with call.change:
        await call.change.wait_for(lambda: call.output is not None)
