"""The web adapter's harness: somebody with a browser, who types commands into the prompt's field."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from argon2 import PasswordHasher

from bot.adapters.web.adapter import Web
from bot.adapters.web.people import People
from bot.chat import Role
from bot.dispatch import Dispatcher
from bot.settings import Settings
from bot.store import Store
from tests.fakes.web_person import WebPerson

PASSWORD = "correct horse"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@asynccontextmanager
async def served(settings: Settings, dispatcher: Dispatcher, hasher: PasswordHasher = QUICK) -> AsyncIterator[str]:
    """The page's address while the adapter runs; leaving cancels it, as SIGTERM does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(Web(settings, listener=listener, hasher=hasher).run(dispatcher))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def add_account(
    settings: Settings, name: str, role: Role = Role.MEMBER, *, hasher: PasswordHasher = QUICK
) -> None:
    """An account, if there is none of that name."""
    async with Store.open(settings.database) as store:
        people = People(store.web_accounts, hasher=hasher)
        if name not in [account.name for account in await people.all()]:
            await people.add(name, PASSWORD, role)


class WebHarness:
    """A member of the page's community."""

    member = "web:ada"
    hostile: tuple[str, ...] = ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b", "\x9b", "\x07")

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(home=folder, web_port=1)
        self.person = WebPerson("")

    @asynccontextmanager
    async def running(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        """Serve, sign in, and open the page."""
        await add_account(self._settings, "ada")
        async with served(self._settings, dispatcher) as address:
            self.person = self.person.reopened(address)
            try:
                await self.person.open("ada", PASSWORD)
                yield
            finally:
                await self.person.close()

    async def say(self, command: str, text: str = "", event: str | None = None) -> None:
        """Fill in the form; what it has no field for is typed as a command."""
        if command == "imagine":
            await self.person.draw(text, event=event)
        elif command == "batch" and text:
            await self.person.draw("", lines=text, event=event)
        else:
            await self.person.draw(f"/{command} {text}", event=event)

    async def until(self, text: str, times: int = 1) -> None:
        """Wait for a text."""
        await self.person.until(lambda: self.transcript().count(text) >= times)

    async def until_pictures(self, count: int) -> None:
        """Wait for figures."""
        await self.person.until(lambda: len(self.pictures()) >= count)

    def transcript(self) -> str:
        """What appeared on the page."""
        return "\n".join(self.person.log)

    def pictures(self) -> list[bytes]:
        """The files behind the figures."""
        return list(self.person.pictures)
