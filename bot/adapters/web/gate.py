"""What stands before every request: which paths there are, who asks, from where, how much they may send, and how often.

Gradio brings many routes that this page doesn't need; only those listed here are answered. Requests that change
something must come from the page itself (Origin and Sec-Fetch-Site, which a browser sets and a page can't), and the
cookie is SameSite=Lax beside that. Events are read and written anew before Gradio sees them (`events`). The content
security policy keeps the page from asking anybody but this server.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot import messages
from bot.adapters.web import events
from bot.adapters.web.bodies import Bounded, LateError, Unfinished, replayed, whole
from bot.adapters.web.pace import Pace, Unread
from bot.adapters.web.people import Visitor, network
from bot.adapters.web.uploads import MAX_UPLOAD
from bot.errors import BadInputError, BotError

log = structlog.get_logger("bot.adapters.web")

VISITOR = "easel.visitor"
"""Where the request's scope holds who asks."""
SIGN_IN = "/sign-in"
JOIN, DATA, UPLOAD = "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/upload"
PUBLIC = frozenset({SIGN_IN, "/easel.css", "/favicon.ico"})
SAFE = frozenset({"GET", "HEAD"})
OURS = frozenset({"/", SIGN_IN, "/sign-out", "/seen", "/easel.css", "/favicon.ico", JOIN, DATA, UPLOAD})
FIXED = re.compile(r"/(?:assets|static)(?:/(?!\.+(?:/|\Z))[\w.@ -]+)+")
"""Gradio's own scripts, styles and fonts: the same for everybody, and nothing of anybody's."""
GRADIO = re.compile(
    r"""/(?: config/? | theme\.css | gradio_api/(?: app_id | startup-events | theme\.css )
      | pictures/[0-9a-z]{1,32}/[0-9]{1,2}/(?:small|file) | entries/[0-9a-f]{64} )""",
    re.VERBOSE,
)
ASKS = re.compile(r"/pictures/.*|/gradio_api/queue/data")
"""Where what follows a `?` is read; elsewhere Gradio would take pages and links from it that aren't there."""
COSTS = {JOIN: 1, UPLOAD: 3, "/": 2, "/config": 2}
"""What a request counts as against a person's pace; others count nothing."""
STREAMS = 24
"""Streams of events that one person may read at once: one for each open page."""
MAX_JSON = 512 * 1024
"""Bytes of a request that is no upload: the largest batch with room to spare."""
BODY_SECONDS, UPLOAD_SECONDS = 15.0, 120.0
"""For the whole body of a request, and for that of an upload."""
UNFINISHED = {SIGN_IN: (8, 64), JOIN: (24, 256), UPLOAD: (4, 16)}
"""Bodies on their way here at once, of one person or, where nobody has signed in, one network; and of all. Uploads are
kept in memory meanwhile."""
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
ONLY_TLS = {"Strict-Transport-Security": "max-age=31536000"}


class Recognise(Protocol):
    """Finds out who a session belongs to."""

    def __call__(self, session: MutableMapping[str, Any], locale: str, address: str) -> Awaitable[Visitor | None]:
        """The visitor; None where they have to sign in first."""


class Gate:
    """ASGI middleware, inside the one that reads the session's cookie."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        recognise: Recognise,
        hosts: frozenset[str] | None,
        forget: Callable[[str], None],
        secure: bool = False,
    ) -> None:
        """Stand before an application.

        Args:
            app: what is behind the gate.
            recognise: tells who asks.
            hosts: names under which the page may be asked for; None is any.
            forget: lets go of the answers that wait for a page.
            secure: whether people reach it by TLS alone.
        """
        self._app = app
        self._recognise = recognise
        self._hosts = hosts
        self._headers = HEADERS | (ONLY_TLS if secure else {})
        self._pages = events.Pages()
        self._pace = Pace()
        self._streams: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        """Streams by their pages."""
        self._unread = Unread(forget)
        self._unfinished = {path: Unfinished(*counts) for path, counts in UNFINISHED.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        send = self._with_headers(send, scope["path"])
        answer = PlainTextResponse("", 404) if scope["type"] != "http" else await self._judge(scope)
        if answer is None:
            answer = await self._enter(scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Let through, unless what is sent doesn't come in time or isn't good; then the answer."""
        try:
            with self._arriving(scope, receive) as arriving:
                return await self._ask(scope, arriving, send)
        except LateError as late:
            return PlainTextResponse(late.sentence, 408, {"Connection": "close"})

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """The same for something that comes in time."""
        if scope["path"] == JOIN:
            answer, receive = await self._screened(scope, receive)
            if answer is not None:
                return answer
        if not ASKS.fullmatch(scope["path"]):
            scope["query_string"] = b""
        with self._counted(scope):
            await self._app(scope, receive, send)
        return None

    async def _judge(self, scope: Scope) -> Response | None:
        """The answer to a request that goes no further."""
        headers, path = Headers(scope=scope), scope["path"]
        if not self._is_our_host(headers):
            return PlainTextResponse("", 421)
        if FIXED.fullmatch(path) and scope["method"] in SAFE:
            return None
        if path not in OURS and not GRADIO.fullmatch(path):
            return PlainTextResponse("", 404)
        if scope["method"] not in SAFE and not _is_same_origin(headers):
            return PlainTextResponse("", 403)
        if _length(headers) > _limit(scope):
            return PlainTextResponse("", 413)
        return await self._judge_person(scope, headers)

    async def _judge_person(self, scope: Scope, headers: Headers) -> Response | None:
        """The same, by who asks."""
        path = scope["path"]
        try:
            visitor = await self._recognise(scope["session"], locale_of(headers), _address(scope))
        except BotError as error:
            log.exception("nobody can be recognised")
            return PlainTextResponse(error.sentence, 503)
        scope[VISITOR] = visitor
        if visitor is not None:
            return self._judge_visitor(scope, visitor)
        if path in PUBLIC:
            return None if self._has_room(scope) else _too_much(scope)
        return RedirectResponse(SIGN_IN, 303) if path == "/" else PlainTextResponse("", 401)

    def _judge_visitor(self, scope: Scope, visitor: Visitor) -> Response | None:
        """The same for somebody who may come in: whether it is too much, or not theirs."""
        path, payer = scope["path"], visitor.payer
        if path == DATA and not self._pages.holds(_page(scope), visitor.requester.key):
            return PlainTextResponse("", 404)
        too_many = (path == DATA and self._streams[payer] >= STREAMS) or not self._has_room(scope)
        if too_many or (path in COSTS and not self._pace.allows(payer, COSTS[path])):
            return _too_much(scope)
        return None

    def _has_room(self, scope: Scope) -> bool:
        """Whether a request's body may be on its way beside the others."""
        return not _brings(scope) or self._unfinished[scope["path"]].allows(_sender(scope))

    @contextmanager
    def _arriving(self, scope: Scope, receive: Receive) -> Iterator[Receive]:
        """Give what a request receives, and count its body until that has come."""
        path = scope["path"]
        counted = self._unfinished[path].counted(_sender(scope)) if _brings(scope) else nullcontext(lambda: None)
        seconds = {UPLOAD: UPLOAD_SECONDS, DATA: None}.get(path, BODY_SECONDS)
        locale = locale_of(Headers(scope=scope))
        with counted as come:
            yield Bounded(receive, limit=_limit(scope), seconds=seconds, come=come, locale=locale)

    @contextmanager
    def _counted(self, scope: Scope) -> Iterator[None]:
        """Count a stream of events for as long as it is read."""
        if scope["path"] != DATA:
            yield
            return
        person, page = scope[VISITOR].payer, _page(scope)
        self._unread.read(person, page)
        self._streams[person] += 1
        self._read[page] += 1
        try:
            yield
        finally:
            self._streams[person] -= 1
            self._read[page] -= 1
            self._streams += Counter()  # forgets who reads none
            self._read += Counter()

    async def _screened(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        """An event as Gradio is to see it, or the answer to one that it isn't to see."""
        try:
            event = events.happening(await whole(receive))
        except BadInputError:
            return PlainTextResponse("", 400), receive
        visitor, page = scope[VISITOR], event.session_hash
        if not self._pages.take(page, visitor.requester.key):
            return PlainTextResponse("", 403), receive
        if not self._read[page] and not self._unread.allows(visitor.payer, page):
            return _too_much(scope), receive
        return None, replayed(events.written(event), receive)

    def _is_our_host(self, headers: Headers) -> bool:
        """Whether the page was asked for by a name of its own: others point a name of theirs at 127.0.0.1."""
        return self._hosts is None or _hostname(headers.get("host", "")) in self._hosts

    def _with_headers(self, send: Send, path: str) -> Callable[[Message], Awaitable[None]]:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name in [name for name in headers if name.startswith("access-control-")]:
                    del headers[name]
                headers.update(self._headers)
                if FIXED.fullmatch(path):
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                elif "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        return sending


def _too_much(scope: Scope) -> Response:
    """In the words in which Gradio shows it: whatever else it is answered, it takes for a broken line."""
    said = messages.say("web.too_fast", locale_of(Headers(scope=scope)))
    later = {"Retry-After": "10"}
    if scope["path"] == SIGN_IN:
        return PlainTextResponse(said, 429, later)
    return JSONResponse({"detail": said}, 429, later)


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
    origin, host = headers.get("origin"), headers.get("host")
    return origin is None or (bool(host) and origin.partition("://")[2] == host)


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _page(scope: Scope) -> str:
    """The key of the page whose events a browser wants to read."""
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("session_hash", [""])[-1]


def _brings(scope: Scope) -> bool:
    """Whether a request brings a body that is waited for."""
    return scope["path"] in UNFINISHED and scope["method"] not in SAFE


def _sender(scope: Scope) -> str:
    """Whom a body is counted to."""
    visitor: Visitor | None = scope[VISITOR]
    return visitor.payer if visitor else network(_address(scope))


def _address(scope: Scope) -> str:
    """Where a request comes from."""
    address: str = (scope["client"] or ("",))[0]
    return address


def _limit(scope: Scope) -> int:
    """Bytes that a request's body may have."""
    if scope["method"] in SAFE:
        return 0
    return MAX_UPLOAD + MAX_JSON if scope["path"] == UPLOAD else MAX_JSON


def _length(headers: Headers) -> int:
    given = headers.get("content-length", "0")
    return int(given[:15]) if given.isdecimal() else 0
