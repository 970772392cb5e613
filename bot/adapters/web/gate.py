"""What stands before every request: which paths there are, who asks, from where, and how much they may send.

Gradio brings many routes that this page doesn't need; only those listed here are answered. Requests that change
something must come from the page itself (Origin and Sec-Fetch-Site, which a browser sets and a page can't), and the
cookie is SameSite=Lax beside that. The content security policy keeps the page from asking anybody but this server.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot import messages
from bot.adapters.web.people import Visitor

VISITOR = "easel.visitor"
"""Where the request's scope holds who asks."""
SIGN_IN = "/sign-in"
PUBLIC = frozenset({SIGN_IN, "/easel.css", "/favicon.ico"})
SAFE = frozenset({"GET", "HEAD"})
OURS = frozenset({"/", SIGN_IN, "/sign-out", "/easel.css", "/favicon.ico"})
GRADIO = re.compile(
    r"""/(?: config/? | theme\.css | assets/[\w.@/-]+ | static/[\w.@ /-]+
      | gradio_api/(?: queue/(?:join|data) | heartbeat/\w+ | cancel | reset/? | upload | upload_progress
                     | startup-events | theme\.css )
      | pictures/[0-9a-z]{1,32}/[0-9]{1,2}/(?:small|file) | entries/[0-9a-f]{64} )""",
    re.VERBOSE,
)
MAX_JSON = 512 * 1024
"""Bytes of a request that is no upload: the largest batch with room to spare."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Gradio's page evaluates its templates and writes styles into its elements, hence the three `unsafe` words."""


class Recognise(Protocol):
    """Finds out who a session belongs to."""

    def __call__(self, session: MutableMapping[str, Any], locale: str, address: str) -> Awaitable[Visitor | None]:
        """The visitor; None where they have to sign in first."""


class Gate:
    """ASGI middleware, inside the one that reads the session's cookie."""

    def __init__(self, app: ASGIApp, *, recognise: Recognise, hosts: frozenset[str] | None, max_upload: int) -> None:
        """Stand before an application.

        Args:
            app: what is behind the gate.
            recognise: tells who asks.
            hosts: names under which the page may be asked for; None is any.
            max_upload: bytes of an uploaded file.
        """
        self._app = app
        self._recognise = recognise
        self._hosts = hosts
        self._max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        answer = PlainTextResponse("", 404) if scope["type"] != "http" else await self._judge(scope)
        send = _with_headers(send, scope["path"])
        if answer is not None:
            await answer(scope, receive, send)
            return
        limit = self._max_upload + MAX_JSON if scope["path"] == "/gradio_api/upload" else MAX_JSON
        await self._app(scope, _bounded(receive, limit), send)

    async def _judge(self, scope: Scope) -> Response | None:
        """The answer to a request that goes no further."""
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if not self._is_our_host(headers):
            return PlainTextResponse("", 421)
        if path not in OURS and not GRADIO.fullmatch(path):
            return PlainTextResponse("", 404)
        if method not in SAFE and not _is_same_origin(headers):
            return PlainTextResponse("", 403)
        if _length(headers) > (self._max_upload + MAX_JSON if path == "/gradio_api/upload" else MAX_JSON):
            return PlainTextResponse("", 413)
        visitor = await self._recognise(scope["session"], locale_of(headers), (scope["client"] or ("",))[0])
        scope[VISITOR] = visitor
        if visitor is None and path not in PUBLIC and not path.startswith(("/assets/", "/static/")):
            return RedirectResponse(SIGN_IN, 303) if path == "/" else PlainTextResponse("", 401)
        return None

    def _is_our_host(self, headers: Headers) -> bool:
        """Whether the page was asked for by a name of its own: others point a name of theirs at 127.0.0.1."""
        return self._hosts is None or urlsplit(f"//{headers.get('host', '')}").hostname in self._hosts


def locale_of(headers: Headers) -> str:
    """The offered locale that the browser likes best."""
    for part in headers.get("accept-language", "")[:200].split(","):
        name = part.partition(";")[0].strip()
        if name and messages.language(name).partition("-")[0].casefold() == name.partition("-")[0].casefold():
            return messages.language(name)
    return messages.ENGLISH


def _is_same_origin(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _length(headers: Headers) -> int:
    given = headers.get("content-length", "0")
    return int(given) if given.isdecimal() else 0


def _bounded(receive: Receive, limit: int) -> Receive:
    """The same body; one that is longer than it said breaks off."""
    left = limit

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return bounded


def _with_headers(send: Send, path: str) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]
            headers.update(HEADERS)
            if path.startswith(("/assets/", "/static/")):
                headers["Cache-Control"] = "public, max-age=31536000, immutable"
            elif "cache-control" not in headers:
                headers["Cache-Control"] = "no-store"
        await send(message)

    return sending
