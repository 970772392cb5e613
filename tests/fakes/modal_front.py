"""Modal's front, the address under which a browser reaches a web function; on loopback and without encryption."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.fakes.modal_calls import messages
from tests.fakes.modal_cloud import FakeCloud

DROPPED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


async def hand_over(request: web.Request, response: web.StreamResponse, message: dict[str, Any]) -> None:
    """Send the browser a part of the answer."""
    if message["type"] == "http.response.start":
        response.set_status(message["status"])
        for name, value in message["headers"]:
            if name.decode() not in DROPPED:  # and a browser here has no encryption
                response.headers.add(name.decode(), value.decode().replace("; secure", ""))
        await response.prepare(request)
    elif message["type"] == "http.response.body":
        await response.write(message["body"])


@asynccontextmanager
async def fronting(cloud: FakeCloud, function: str, host: str) -> AsyncIterator[str]:
    """Serve a web function; gives the address. To the function it is asked for by its public name."""

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
        body = await request.read() if request.method == "POST" else None
        call = await cloud.request(function, request.raw_path, body=body, headers={**headers, "host": host})
        response = web.StreamResponse()
        try:
            async for message in messages(call):
                await hand_over(request, response, message)
        except ConnectionError:
            cloud.hang_up(call)
        return response

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
