"""Easel on Modal: `modal deploy modal_engine.py`.

`Engine` checks, looks up, marks and stores, on a CPU; `Generator` draws, on a GPU, and is asked only for what the
cache doesn't hold. What the classes do is in `engine.deployment`; here is what they are given: images, volumes,
secrets, sizes. The settings are read once, when this is deployed, and travel with it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import modal
from modal.experimental import stop_fetching_inputs as retire

from bot.clients.modal import MEMORY, Deployed, Mounted, translated
from bot.settings import Settings, load
from engine.models import baking, recipes

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from bot.serverless.chats import Chats
    from bot.serverless.keeper import Keeper
    from engine.deployment.engine import EngineService
    from engine.deployment.generator import GeneratorService
    from engine.line import Remote

SETTINGS = load()
RENTAL = SETTINGS.modal
ROOT, HOME = Path(__file__).parent, PurePosixPath("/easel")
MODELS, PICTURES, STATE = HOME / "models", HOME / "cache", HOME / "state"
DETOXIFY = PurePosixPath("/opt/detoxify")
CONSTRAINTS = "/opt/constraints.txt"
TORCH_FOR_CPU = "https://download.pytorch.org/whl/cpu"
GENERATION_SECONDS = RENTAL.startup_timeout + 2 * int(SETTINGS.generation_timeout) + 30
"""Modal's limit for a call, which may wait for a model or for others; ours comes first, and has a sentence."""
SERVED_SECONDS = 86_400
"""Modal's longest: a page that stays open is one request, and may not end the container that all others are in."""
ENVIRONMENT: dict[str, str | None] = {**SETTINGS.carried(), "EASEL_HOME": str(HOME), "HF_HUB_OFFLINE": "1"}

app = modal.App(RENTAL.app)
weights = modal.Volume.from_name(RENTAL.weights_volume, create_if_missing=True)
pictures = modal.Volume.from_name(RENTAL.cache_volume, create_if_missing=True)
state = modal.Volume.from_name(RENTAL.state_volume, create_if_missing=True)


def secret(name: str, *keys: str) -> modal.Secret:
    """A secret of the workspace; deploying fails where a key is missing."""
    return modal.Secret.from_name(name, required_keys=list(keys))


HUB_SECRETS = [secret(RENTAL.hub_secret, "EASEL_HUB_TOKEN")] if RENTAL.hub_secret else []
CHAT_SECRETS = {
    "discord": lambda: secret(RENTAL.discord_secret, "EASEL_DISCORD_TOKEN", "EASEL_DISCORD_PUBLIC_KEY"),
    "slack": lambda: secret(RENTAL.slack_secret, "EASEL_SLACK_BOT_TOKEN", "EASEL_SLACK_SIGNING_SECRET"),
}


def image(*extras: str, torch_index: str | None = None) -> modal.Image:
    """Python and packages; what changes often comes last, and the source is mounted, so that it builds nothing."""
    built = modal.Image.debian_slim(python_version="3.11")
    if "engine" in extras:
        built = built.uv_pip_install(baking.pinned(ROOT, "torch"), index_url=torch_index)
    built = built.add_local_file(ROOT / baking.PINS, CONSTRAINTS, copy=True)
    needed = [name for name in baking.packages(ROOT, *extras) if not name.startswith("torch>")]
    return built.uv_pip_install(needed, extra_options=f"--constraint {CONSTRAINTS}")


def with_source(built: modal.Image) -> modal.Image:
    """The image, and beside it Easel as it is on the machine that deploys."""
    return built.add_local_python_source("engine", "bot", ignore=["**/__pycache__"])


WANTED = [extra for extra, wanted in {"gpu": SETTINGS.attention == "xformers", "int8": SETTINGS.int8}.items() if wanted]
gpu_image = with_source(image("engine", "modal", *WANTED, torch_index=RENTAL.torch_index))
cpu_image = with_source(
    image("engine", "modal", torch_index=TORCH_FOR_CPU)
    .apt_install("curl")
    .run_commands(*baking.commands(recipes.DETOXIFY, DETOXIFY))
    .env({"EASEL_TOXICITY_FOLDER": str(DETOXIFY)})
)
serve_image = with_source(image("modal", "discord", "slack", "web"))


def log_here() -> None:
    """Have log lines written as the settings say, to Modal's log."""
    from bot import logs

    if not modal.is_local():
        logs.configure(SETTINGS, console=True)


def settings_for_gpu() -> Settings:
    """The settings of a container with a GPU, which is used unless its environment says otherwise."""
    elsewhere = modal.is_local() or SETTINGS.device != "auto"
    return SETTINGS if elsewhere else SETTINGS.model_copy(update={"device": "cuda"})


def generators() -> Remote:
    """The GPU class; where nothing is deployed, a generator in this process."""
    if not modal.is_local():
        return Deployed(Generator, "draw")
    from engine.deployment.generator import GeneratorService, Nearby

    service = GeneratorService(settings_for_gpu(), RENTAL)
    service.load()
    service.wake()
    return Nearby(service)


ON_GPU: dict[str, Any] = {
    "image": gpu_image,
    "gpu": list(RENTAL.gpus),
    "volumes": {str(MODELS): weights.with_mount_options(read_only=True)},
    "env": ENVIRONMENT,
    "startup_timeout": RENTAL.startup_timeout,
}


@app.cls(
    **ON_GPU,
    min_containers=RENTAL.gpu_containers_kept,
    max_containers=RENTAL.gpu_containers,
    scaledown_window=RENTAL.scaledown_window,
    timeout=GENERATION_SECONDS,
    enable_memory_snapshot=RENTAL.memory_snapshot or RENTAL.gpu_snapshot,
    experimental_options={"enable_gpu_snapshot": True} if RENTAL.gpu_snapshot else {},
)
@modal.concurrent(max_inputs=RENTAL.gpu_requests, target_inputs=(RENTAL.gpu_requests + 1) // 2)
class Generator:
    """Draws batches on a GPU; a few at once share its steps, and more start another container."""

    service: GeneratorService

    @modal.enter(snap=RENTAL.memory_snapshot or RENTAL.gpu_snapshot)
    def load(self) -> None:
        """Load the model before the snapshot, where nothing may touch the GPU unless that is kept as well."""
        self.prepare()

    @modal.enter(snap=False)
    def wake(self) -> None:
        """Bring it to the GPU."""
        self.prepare()
        self.service.wake()

    def prepare(self) -> None:
        """Load the model, once: without a snapshot, Modal may call either hook first."""
        if hasattr(self, "service"):
            return
        log_here()
        from engine.deployment.generator import GeneratorService

        self.service = GeneratorService(settings_for_gpu(), RENTAL, weights=Mounted(weights), retire=retire.aio)
        self.service.load()
        if RENTAL.gpu_snapshot:
            self.service.move()

    @modal.exit()
    async def close(self) -> None:
        """Stop."""
        await self.service.close()

    @modal.method()
    async def draw(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Draw a batch; yields its steps and its pictures."""
        async for answer in self.service.draw(payload, modal.current_function_call_id() or ""):
            yield answer


def asked(question: str) -> Any:  # noqa: ANN401  (what Modal makes of a method)
    """A method that answers one of `wire.VALUES`, for which see `bot.clients.base.EngineClient`."""

    async def answer(self: Engine, payload: bytes) -> bytes:
        return await self.service.answer(question, payload)

    return modal.method()(answer)


@app.cls(
    image=cpu_image,
    cpu=RENTAL.engine_cores,
    memory=RENTAL.engine_memory,
    volumes={str(MODELS): weights.with_mount_options(read_only=True), str(PICTURES): pictures},
    env=ENVIRONMENT,
    max_containers=RENTAL.engine_containers,
    scaledown_window=RENTAL.engine_scaledown_window,
    timeout=int(RENTAL.deadline),
    startup_timeout=RENTAL.startup_timeout,
)
@modal.concurrent(max_inputs=100)
class Engine:
    """Everything but the pixels. A hit or a refusal is answered here and starts no GPU."""

    service: EngineService

    async def __aenter__(self) -> Self:
        """Read the cache, once; every `.local()` calls this, and not the hook below."""
        if hasattr(self, "service"):
            return self
        log_here()
        from engine.deployment.engine import EngineService

        self.service = EngineService(
            SETTINGS,
            RENTAL,
            generator=generators(),
            volume=Mounted(pictures),
            index_folder=SETTINGS.home / "index",
            weights=Mounted(weights),
        )
        await self.service.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what was stored."""
        await self.service.close()

    @modal.enter()
    async def open(self) -> None:
        """Begin."""
        await self.__aenter__()

    @modal.exit()
    async def close(self) -> None:
        """End."""
        await self.__aexit__()

    @modal.method()
    async def generate(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Draw an order; yields its events."""
        async for answer in self.service.generate(payload, modal.current_function_call_id() or ""):
            yield answer

    @modal.method()
    async def generate_batch(self, payload: bytes) -> list[bytes]:
        """Draw an order; returns how each picture ended."""
        return await self.service.generate_batch(payload)

    info = asked("info")
    cache_stats = asked("cache_stats")
    cache_list = asked("cache_list")
    cache_show = asked("cache_show")
    cache_read = asked("cache_read")
    cache_delete = asked("cache_delete")
    cache_clear = clear_cache = asked("cache_clear")
    cache_purge = purge = asked("cache_purge")
    cache_verify = asked("cache_verify")
    verify = asked("verify")
    smaller = asked("smaller")


def keeper(name: str) -> Keeper:
    """Of the database of a chat or of the web page; they don't share one."""
    from bot.serverless.keeper import Keeper

    return Keeper(SETTINGS.database, SETTINGS.home / STATE.name / name, Mounted(state), beside=[SETTINGS.home / MEMORY])


SERVED: dict[str, Any] = {
    "image": serve_image,
    "volumes": {str(STATE): state},
    "env": ENVIRONMENT,
    "max_containers": 1,
    "scaledown_window": RENTAL.engine_scaledown_window,
    "timeout": SERVED_SECONDS,
    "startup_timeout": RENTAL.startup_timeout,
}


def served_chats(chat: type[Any]) -> Any:  # noqa: ANN401  (Modal's own, or the plain class)
    """Deploy the class, if a chat is to be served."""
    secrets = [CHAT_SECRETS[name]() for name in RENTAL.serve if name in CHAT_SECRETS]
    if not secrets:
        return chat
    return app.cls(**SERVED, min_containers=int(RENTAL.chat_kept), secrets=secrets)(
        modal.concurrent(max_inputs=100)(chat)
    )


def served_page(page: Callable[[], ASGIApp]) -> Any:  # noqa: ANN401
    """Deploy the function, if the web page is to be served."""
    if "web" not in RENTAL.serve:
        return page
    return app.function(**SERVED)(modal.concurrent(max_inputs=1000)(modal.asgi_app()(page)))  # two for an open page


@served_chats
class Chat:
    """Slack and Discord by HTTP, for those who don't want a server of their own. One container has the database."""

    chats: Chats

    async def keep(self) -> None:
        """Have this container kept until everything that was asked for is done."""
        await Chat().attend.spawn.aio()

    @modal.enter()
    async def open(self) -> None:
        """Bring the database back."""
        from bot.serverless.chats import Chats

        log_here()
        served = {"engine": "modal", "slack_http": "slack" in RENTAL.serve}
        self.chats = Chats(SETTINGS.model_copy(update=served), keeper("chat"), self.keep)
        await self.chats.start()

    @modal.exit()
    async def close(self) -> None:
        """Copy it a last time."""
        await self.chats.stop()

    @modal.asgi_app()
    def web(self) -> ASGIApp:
        """`/slack/events` and `/discord/interactions`."""
        return self.chats.application()

    @modal.method()
    async def attend(self) -> None:
        """Keep this container; where it is taken away all the same, Modal calls this again in the next one."""
        await self.chats.attend()


@served_page
def gradio_app() -> ASGIApp:
    """The web page."""
    from bot.serverless.page import page

    log_here()
    address = SETTINGS.web_url or gradio_app.get_web_url()  # of a domain of one's own, only the operator knows
    return page(SETTINGS.model_copy(update={"engine": "modal", "web_url": address}), keeper("web"))


@app.function(
    image=cpu_image,
    volumes={str(MODELS): weights},
    secrets=HUB_SECRETS,
    env={**ENVIRONMENT, "HF_HUB_OFFLINE": "0"},
    timeout=3600,
)
def download(model: str = SETTINGS.model) -> str:
    """Bring a model onto the volume: `modal run modal_engine.py::download --model sd15`."""
    from engine.deployment.weights import download as fetched

    path = fetched(model, SETTINGS, lambda *_: None)
    Mounted(weights).commit()
    sys.stdout.write(f"{model} is at {path}\n")
    return str(path)


@app.function(**ON_GPU, max_containers=1, timeout=1800)
def benchmark_on_gpu(rounds: int = 5) -> str:
    """Our pipeline and that of diffusers, in one container."""
    import torch as installed

    from engine.pipelines.factory import make
    from engine.race import race, table

    found = installed.cuda.get_device_name() if installed.cuda.is_available() else "no GPU"
    figures = table(race(settings_for_gpu(), make, rounds=rounds))
    return f"{SETTINGS.model} on {found}, torch {installed.__version__}\n{figures}"


@app.function(**ON_GPU, max_containers=1, timeout=GENERATION_SECONDS)
async def draw_without_snapshot(payload: bytes) -> AsyncGenerator[bytes, None]:
    """Load the model and draw a batch, as the first call of a container does that was not started from a snapshot."""
    from engine import wire
    from engine.deployment.generator import GeneratorService

    yield wire.called(modal.current_function_call_id() or "")
    service = GeneratorService(settings_for_gpu(), RENTAL)
    service.load()
    service.wake()
    async for answer in service.draw(payload, ""):
        yield answer
    await service.close()


@app.local_entrypoint()
def benchmark(rounds: int = 5) -> None:
    """`modal run modal_engine.py::benchmark`: seconds a picture, and cold starts without a snapshot and with one.

    The first start after a deployment makes the snapshot and takes longer, so the deployed class starts twice.
    """
    from engine import race

    def tell(what: str, cold: race.ColdStart) -> None:
        sys.stdout.write(f"cold start {what}: container {cold.container:.1f} s, picture {cold.picture:.1f} s\n")

    sys.stdout.write(benchmark_on_gpu.remote(rounds) + "\n")
    tell("without a snapshot", race.first_picture(draw_without_snapshot.remote_gen, SETTINGS))
    with translated():
        deployed = modal.Cls.from_name(RENTAL.app, "Generator", environment_name=RENTAL.environment)().draw
        way = "from a snapshot" if RENTAL.memory_snapshot or RENTAL.gpu_snapshot else "as deployed, without one"
        for turn in ("first", "second"):
            race.until_idle(lambda: deployed.get_current_stats().num_total_runners, RENTAL.scaledown_window + 300)
            tell(f"{way}, {turn}", race.first_picture(deployed.remote_gen, SETTINGS))
