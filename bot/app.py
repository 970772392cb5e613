"""The composition root: the only module that names concrete classes, and the one that starts and stops them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.adapters.base import Adapter
from bot.appeals import Appeals
from bot.clients.base import EngineClient
from bot.community import Communities
from bot.dispatch import Dispatcher
from bot.errors import SettingsError
from bot.jobs import Jobs
from bot.messages import say
from bot.moderation import Moderation
from bot.quota import Quota
from bot.settings import Settings
from bot.store import Store

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp


def _discord(settings: Settings) -> Adapter | None:
    if settings.discord_token is None:
        return None
    with _needing("discord"):
        from bot.adapters.discord.adapter import Discord
    return Discord(settings)


def _slack(settings: Settings) -> Adapter | None:
    from bot.adapters import slack

    with _needing("slack"):
        return slack.make(settings)


def _web(settings: Settings) -> Adapter | None:
    if settings.web_port is None:
        return None
    with _needing("web"):
        from bot.adapters.web.adapter import Web
    return Web(settings)


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    """Say which extra of this package is missing, if one is."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(say("settings.extra", name=error.name or "", extra=extra)) from error


PLATFORMS: tuple[Callable[[Settings], Adapter | None], ...] = (_discord, _slack, _web)
"""Makers of the adapters that `easel serve` runs; each answers None where its platform is not set up."""


@dataclass(frozen=True, kw_only=True)
class App:
    """A running installation."""

    settings: Settings
    client: EngineClient
    jobs: Jobs
    dispatcher: Dispatcher


def connect(settings: Settings, registry: CollectorRegistry | None = None) -> EngineClient:
    """The engine that the settings name.

    Raises:
        ExtraMissingError: its packages are not installed.
    """
    if settings.engine == "modal":
        from bot.clients import modal

        return modal.connect(settings)
    from bot.clients import local

    return local.connect(settings, registry)


def adapters(settings: Settings) -> tuple[Adapter, ...]:
    """The chats that are set up."""
    return tuple(adapter for make in PLATFORMS if (adapter := make(settings)) is not None)


@asynccontextmanager
async def running(settings: Settings, client: EngineClient | None = None) -> AsyncIterator[App]:
    """Start everything below the adapters, and stop it in reverse order, however the body ends.

    The engine is the one that the settings name, or the `client` given.

    Raises:
        BotError, EngineError: something can't start; the sentence says what, and how to mend it.
    """
    async with AsyncExitStack() as stack:
        registry = _registry() if settings.metrics_port else None
        client = client or connect(settings, registry)
        stack.push_async_callback(client.close)
        await client.start()
        store = await stack.enter_async_context(Store.open(settings.database))
        moderation = Moderation(store, operators=settings.operators)
        quota = Quota(store, settings)
        jobs = Jobs(store, client, settings, quota=quota, moderation=moderation)
        stack.push_async_callback(jobs.stop)
        await jobs.start()
        if settings.metrics_port and registry:
            _publish(stack, settings.metrics_port, registry, jobs)
        dispatcher = Dispatcher(
            jobs=jobs,
            client=client,
            moderation=moderation,
            quota=quota,
            communities=Communities(store),
            appeals=Appeals(store),
            settings=settings,
        )
        yield App(settings=settings, client=client, jobs=jobs, dispatcher=dispatcher)


def gradio_app(settings: Settings, client: EngineClient | None = None) -> ASGIApp:
    """The web page and everything below it for an ASGI server that isn't ours; starts and stops with its lifespan.

    Raises:
        SettingsError: the `web` extra is not installed.
    """
    with _needing("web"):
        from bot.adapters.web.adapter import gradio_app as mounted

    @asynccontextmanager
    async def start() -> AsyncIterator[Dispatcher]:
        async with running(settings, client) as app:
            yield app.dispatcher

    return mounted(settings, start)


def _registry() -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


def _publish(stack: AsyncExitStack, port: int, registry: CollectorRegistry, jobs: Jobs) -> None:
    """Answer Prometheus's scrapes on 127.0.0.1 until the installation stops.

    Raises:
        SettingsError: the port is taken.
    """
    from prometheus_client import Gauge, start_http_server

    Gauge("easel_queue_jobs", "Jobs that wait.", registry=registry).set_function(lambda: jobs.waiting)
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise SettingsError(say("settings.port_taken", port=port, reason=error.strerror or "")) from error
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
