"""Connections on which nothing, or too little, is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from bot.adapters.web import connections, gate
from bot.adapters.web.bodies import Bounded, LateError, Unfinished
from bot.adapters.web.gate import JOIN, SIGN_IN, UNFINISHED, UPLOAD
from bot.app import running
from bot.settings import Settings
from tests.contract.web import PASSWORD, add_account, served
from tests.fakes.engine_client import ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORM = b"name=ada&password=wrong"
KINDS = {
    SIGN_IN: "application/x-www-form-urlencoded",
    JOIN: "application/json",
    UPLOAD: "multipart/form-data; boundary=x",
}
PATIENCE = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), web_port=1)
    for name in ("ada", "bob", "cy"):
        await add_account(settings, name)
    async with running(settings, ScriptedEngine()) as app, served(settings, app.dispatcher) as address:
        yield address


async def cookie_of(address: str, name: str) -> str:
    """What a browser in which somebody has signed in sends along."""
    async with aiohttp.ClientSession(address) as session:
        form = {"name": name, "password": PASSWORD}
        async with session.post(SIGN_IN, data=form, allow_redirects=False) as answer:
            (cookie,) = answer.cookies.values()
            return f"{cookie.key}={cookie.value}"


class Line:
    """One connection, on which every byte is the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def announce(self, path: str, cookie: str = "", length: int = len(FORM)) -> bytes:
        """Announce a body without sending it; the first line of what the server says of it."""
        lines = (
            f"POST {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Expect: 100-continue",
            f"Content-Type: {KINDS[path]}",
            f"Content-Length: {length}",
            *([f"Cookie: {cookie}"] if cookie else []),
        )
        self.writer.write("\r\n".join((*lines, "", "")).encode())
        said = await self.reader.readline()
        if b" 100 " in said:
            await self.reader.readline()
        return said

    async def rest(self) -> bytes:
        """All that the server says until it hangs up."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Line]:
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("path", KINDS)
async def test_a_body_that_does_not_come_is_not_waited_for(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = "" if path == SIGN_IN else await cookie_of(address, "ada")
    monkeypatch.setattr(gate, "UPLOAD_SECONDS" if path == UPLOAD else "BODY_SECONDS", 0.0)
    async with connected(address) as line:
        await line.announce(path, cookie)
        said = await line.rest()
        assert b" 408 " in said
        assert b"The rest of the request didn't come in time; try again." in said


@pytest.mark.parametrize("path", KINDS)
async def test_only_so_many_bodies_are_waited_for_at_once(address: str, path: str) -> None:
    ada, bob = ("", "") if path == SIGN_IN else (await cookie_of(address, "ada"), await cookie_of(address, "bob"))
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(connected(address)) for _ in range(UNFINISHED[path][0] + 2)]
        *stalled, late, other = lines
        first = stalled[0]
        for line in stalled:
            assert b" 100 " in await line.announce(path, ada)
        assert b" 429 " in await late.announce(path, ada)
        if bob:
            assert b" 100 " in await other.announce(path, bob), "nobody takes another's place"
        first.writer.write(FORM)
        assert b" 40" in await first.reader.readline()
        async with connected(address) as next_one:
            assert b" 100 " in await next_one.announce(path, ada), "what has come is not counted any more"


async def test_who_hangs_up_is_not_counted(address: str) -> None:
    cookie = await cookie_of(address, "cy")
    async with AsyncExitStack() as stack:
        for _ in range(UNFINISHED[UPLOAD][0]):
            line = await stack.enter_async_context(connected(address))
            assert b" 100 " in await line.announce(UPLOAD, cookie)
    async with asyncio.timeout(PATIENCE):
        while True:
            async with connected(address) as line:
                if b" 100 " in await line.announce(UPLOAD, cookie):
                    break


@pytest.mark.parametrize("said", [b"", b"POST /sign-in HTTP/1.1\r\nHost: "])
async def test_who_asks_nothing_is_hung_up_on(address: str, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.0)
    async with connected(address) as line:
        line.writer.write(said)
        assert await line.rest() == b""


async def test_there_are_only_so_many_connections(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(address) as first:
        assert b" 100 " in await first.announce(SIGN_IN)
        with monkeypatch.context() as few:
            few.setattr(connections, "CONNECTIONS", 1)
            async with connected(address) as second:
                assert await second.rest() == b""
        first.writer.write(FORM)
        assert b" 401 " in await first.reader.readline(), "who was there before stays"


@pytest.mark.asyncio(loop_scope="function")  # the page's own loop would wait until that time has really come
async def test_it_is_the_whole_body_that_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no reason to wait any longer."""
    loop, now = asyncio.get_running_loop(), 1_000.0
    monkeypatch.setattr(loop, "time", lambda: now)
    sent = 0

    async def drop() -> dict[str, object]:
        nonlocal now, sent
        now += 6.0
        for _ in range(3):
            await asyncio.sleep(0)
        sent += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    receive = Bounded(drop, limit=100, seconds=15.0, come=lambda: None, locale="en")
    assert [(await receive())["body"] for _ in range(2)] == [b"x", b"x"]
    with pytest.raises(LateError):
        await receive()
    assert sent == 2


async def test_bodies_are_counted_until_they_have_come() -> None:
    unfinished = Unfinished(of_one=2, altogether=3)
    with unfinished.counted("ada") as come, unfinished.counted("ada"):
        assert not unfinished.allows("ada")
        with unfinished.counted("bob"):
            assert not unfinished.allows("bob"), "so many of all"
        come()
        come()
        assert unfinished.allows("ada")
    assert unfinished.allows("ada")
