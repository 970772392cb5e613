"""The adapter: serves the page until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager

import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.web.connections import Connection
from bot.adapters.web.people import PLATFORM, People
from bot.adapters.web.server import application, own_hosts, public_hosts
from bot.adapters.web.site import Site
from bot.dispatch import Dispatcher
from bot.errors import SettingsError
from bot.settings import Settings
from bot.store import Store
from engine.types import EngineInfo

STOP_SECONDS = 1.0
"""How long open answers may take to end when the page stops."""
PROXIES = ["127.0.0.1", "::1"]
"""Whose word on where a request comes from is taken, where there is a public address."""


class Web:
    """Serves the page on this machine."""

    name = PLATFORM

    def __init__(
        self, settings: Settings, *, listener: socket.socket | None = None, hasher: PasswordHasher | None = None
    ) -> None:
        """Serve with these settings.

        Args:
            settings: port, address, limits.
            listener: a socket that listens already, in the place of the settings' address.
            hasher: of passwords.
        """
        self._settings = settings
        self._listener = listener
        self._hasher = hasher

    async def run(self, dispatcher: Dispatcher) -> None:
        """Serve until cancelled.

        Raises:
            SettingsError: the port is taken, or the address isn't this machine's.
        """
        with self._listening() as listener:
            hosts = own_hosts(self._settings)
            async with serving(self._settings, dispatcher, hosts=hosts, hasher=self._hasher) as app:
                config = uvicorn.Config(
                    app,
                    http=Connection,
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    ws="none",
                    proxy_headers=self._settings.web_url is not None,
                    forwarded_allow_ips=PROXIES,
                    timeout_graceful_shutdown=int(STOP_SECONDS),
                )
                await _until_cancelled(_Server(config), listener)

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        if self._listener is not None:
            yield self._listener
            return
        host, port = self._settings.web_host, self._settings.web_port or 0
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SettingsError(messages.say("settings.web_port", host=host, port=port, reason=reason)) from error
        with listener:
            yield listener


class _Server(uvicorn.Server):
    """Leaves the signals to whoever runs Easel."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _until_cancelled(server: _Server, listener: socket.socket) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(task)
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def serving(
    settings: Settings, dispatcher: Dispatcher, *, hosts: frozenset[str] | None, hasher: PasswordHasher | None = None
) -> AsyncIterator[FastAPI]:
    """The application and everything that it stands on, for as long as the body runs."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.open(settings.database))
        people = People(store.web_accounts, hasher=hasher)
        answers = await stack.enter_async_context(Answers(dispatcher))
        site = Site(dispatcher, answers, people, settings)
        await site.resume()
        info = await site.info()
        app = await asyncio.to_thread(asyncio.run, _built(site, info, await people.secret(), hosts))
        await stack.enter_async_context(app.router.lifespan_context(app))
        try:
            yield app
        finally:
            app.state.close()


async def _built(site: Site, info: EngineInfo, secret: str, hosts: frozenset[str] | None) -> FastAPI:
    """The application, made where an event loop runs: without one, Gradio opens some and never closes them."""
    return application(site, info, secret, hosts)


def gradio_app(settings: Settings, start: Callable[[], AbstractAsyncContextManager[Dispatcher]]) -> ASGIApp:
    """The page for a server that isn't ours, such as Modal's: an ASGI application whose lifespan is the installation's.

    Args:
        settings: what the page is to be.
        start: starts everything below it, and stops it afterwards.
    """
    return _Mounted(settings, start)


class _Mounted:
    def __init__(self, settings: Settings, start: Callable[[], AbstractAsyncContextManager[Dispatcher]]) -> None:
        self._settings = settings
        self._start = start
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is None:
            raise RuntimeError("the application was asked before its lifespan began")
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop as the server says."""
        await receive()
        hosts = public_hosts(self._settings)
        async with self._start() as dispatcher, serving(self._settings, dispatcher, hosts=hosts) as app:
            self._app = app
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._app = None
        await send({"type": "lifespan.shutdown.complete"})
