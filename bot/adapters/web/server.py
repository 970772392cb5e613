"""The web application: the gate, the sign-in page, the pictures' files, and Gradio's page behind them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, MutableMapping
from functools import partial
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from bot.adapters.web import uploads
from bot.adapters.web.gate import LOOPBACK, SIGN_IN, UPLOAD, VISITOR, Gate, locale_of
from bot.adapters.web.html import esc
from bot.adapters.web.page import build, forgotten
from bot.adapters.web.people import SESSION_SECONDS, People, Visitor, guest, member
from bot.adapters.web.site import Site
from bot.adapters.web.theme import STYLE, theme
from bot.adapters.web.words import Words
from bot.errors import BotError, LimitError, UserError
from bot.messages import say
from bot.settings import Settings
from engine.errors import EngineError
from engine.types import EngineInfo

STATIC = files("bot") / "adapters" / "web" / "static"
COOKIE = "easel_session"
MAX_FORM = 4_096
FORM = Template((STATIC / "sign_in.html").read_text("utf-8"))
FOREVER = {"Cache-Control": "private, max-age=86400"}


def application(site: Site, info: EngineInfo, secret: str, hosts: frozenset[str] | None) -> FastAPI:
    """Everything that is served, to whoever asks for one of these hosts. Slow (a second): not for the event loop."""
    settings = site.settings
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    routes = Routes(site)
    for path, endpoint, method in (
        (SIGN_IN, routes.sign_in_page, "GET"),
        (SIGN_IN, routes.sign_in, "POST"),
        ("/sign-out", routes.sign_out, "POST"),
        (UPLOAD, routes.upload, "POST"),
        ("/seen", routes.seen, "GET"),
        ("/pictures/{job}/{number:int}/{kind}", routes.picture, "GET"),
        ("/entries/{key}", routes.entry, "GET"),
        ("/easel.css", routes.style, "GET"),
        ("/favicon.ico", routes.icon, "GET"),
    ):
        app.add_route(path, endpoint, methods=[method])
    words = Words()
    blocks = build(site, info, words)
    app.state.close = partial(blocks.close, verbose=False)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        auth_dependency=_name,
        allowed_paths=[],
        show_error=False,
        max_file_size=uploads.MAX_UPLOAD,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        i18n=words.i18n,
        theme=theme(),
        css=STYLE,
    )
    secure = (settings.web_url or "").startswith("https:")
    app.add_middleware(Gate, recognise=routes.recognise, hosts=hosts, forget=partial(forgotten, blocks), secure=secure)
    app.add_middleware(
        SessionMiddleware,
        secret_key=secret,
        # A browser takes a cookie of this prefix from the page itself alone, never from a neighbour's subdomain.
        session_cookie=f"__Host-{COOKIE}" if secure else COOKIE,
        max_age=SESSION_SECONDS,
        same_site="lax",
        https_only=secure,
    )
    return app


def own_hosts(settings: Settings) -> frozenset[str] | None:
    """Names that the page answers to where it listens by itself; None is any, on a network without a public address."""
    named = public_hosts(settings)
    if named is None and settings.web_host not in LOOPBACK:
        return None
    return LOOPBACK | {settings.web_host} | (named or frozenset())


def public_hosts(settings: Settings) -> frozenset[str] | None:
    """The name in its public address; None, any, if it has none."""
    named = urlsplit(settings.web_url).hostname if settings.web_url else None
    return frozenset({named}) if named else None


def _named(session: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Account, version and number of a session that somebody signed in to."""
    name, version, number = (session.get(key) for key in ("name", "version", "session"))
    if isinstance(name, str) and isinstance(version, str) and isinstance(number, str):
        return name, version, number
    return None


def _name(request: Request) -> str | None:
    """Whom Gradio takes a request for."""
    visitor: Visitor | None = request.scope.get(VISITOR)
    return visitor.requester.id if visitor else None


class Routes:
    """What is answered without Gradio."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def _people(self) -> People:
        return self._site.people

    async def recognise(self, session: MutableMapping[str, Any], locale: str, address: str) -> Visitor | None:
        """Who a session belongs to; a guest gets a token of their own."""
        named = _named(session)
        if named is not None:
            account = await self._people.of_session(*named)
            if account is not None:
                return member(account, locale, address)
            session.clear()
        if not self._site.settings.web_guests:
            return None
        token = session.get("guest")
        if not isinstance(token, str):
            token = session["guest"] = secrets.token_hex(8)
        return guest(token, locale, address)

    async def sign_in_page(self, request: Request) -> Response:
        """The form, or the page itself for whoever has signed in."""
        visitor: Visitor | None = request.scope[VISITOR]
        if visitor is not None and not visitor.is_guest:
            return RedirectResponse("/", 303)
        return self._form(locale_of(request.headers))

    async def sign_in(self, request: Request) -> Response:
        """Compare name and password."""
        locale = locale_of(request.headers)
        async with request.form(max_files=0, max_fields=2, max_part_size=MAX_FORM) as form:
            name, password = (str(form.get(field, "")) for field in ("name", "password"))
        address = request.client.host if request.client else ""
        try:
            account = await self._people.sign_in(name, password, address, locale)
        except LimitError as error:
            return self._form(locale, wrong=error.sentence, name=name, status=429)
        except UserError as error:
            return self._form(locale, wrong=error.sentence, name=name, status=401)
        except BotError as error:
            return self._form(locale, wrong=error.sentence, name=name, status=503)
        request.session.clear()
        request.session.update(name=account.name, version=account.version, session=secrets.token_hex(16))
        return RedirectResponse("/", 303)

    async def sign_out(self, request: Request) -> Response:
        """Forget the session, here and in whatever copy of the cookie there is."""
        named = _named(request.session)
        try:
            if named is not None:
                await self._people.sign_out(named[-1])
        except BotError as error:
            return PlainTextResponse(error.sentence, 503)
        request.session.clear()
        # The next person at this browser is to find no pictures in its cache.
        gone = {"Clear-Site-Data": '"cache"'}
        return RedirectResponse("/" if self._site.settings.web_guests else SIGN_IN, 303, headers=gone)

    async def upload(self, request: Request) -> Response:
        """Take a file in; what the page says of it from now on is its name."""
        visitor: Visitor = request.scope[VISITOR]
        found = await uploads.received(request)
        if found is None or len(found[1]) > uploads.MAX_UPLOAD:
            return PlainTextResponse("", 413 if found else 400)
        name = self._site.uploads.keep(visitor.requester.key, *found, payer=visitor.payer)
        asyncio.get_running_loop().call_later(uploads.SECONDS, self._site.uploads.forget_old)
        return JSONResponse([name])

    async def seen(self, request: Request) -> Response:
        """What the person's page would show by now, for a page that may have been cut off."""
        return PlainTextResponse(self._site.stamp(request.scope[VISITOR]))

    async def picture(self, request: Request) -> Response:
        """A picture of a job: the file as it was delivered, or a small copy."""
        visitor: Visitor = request.scope[VISITOR]
        job, number = request.path_params["job"], request.path_params["number"]
        try:
            gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
            data = await gallery.picture(job, number)
            small = request.path_params["kind"] == "small"
            shown = await self._site.looks.small(f"{job}/{number}", data) if data and small else data
        except (BotError, EngineError):
            return PlainTextResponse("", 503)
        if shown is None:
            return PlainTextResponse("", 404)
        way = "attachment" if "save" in request.query_params else "inline"
        kind = "image/webp" if small else "image/png"
        return Response(
            shown, media_type=kind, headers={**FOREVER, "Content-Disposition": f'{way}; filename="{job}-{number}.png"'}
        )

    async def entry(self, request: Request) -> Response:
        """A small copy of a file of the cache, for moderators."""
        visitor: Visitor = request.scope[VISITOR]
        key = request.path_params["key"]
        try:
            gallery = await self._site.dispatcher.gallery(visitor.requester, visitor.place)
            data = await gallery.entry(key)
            small = await self._site.looks.small(key, data) if data else None
        except UserError:
            return PlainTextResponse("", 403)
        except (BotError, EngineError):
            return PlainTextResponse("", 503)
        return Response(small, media_type="image/webp", headers=FOREVER) if small else PlainTextResponse("", 404)

    async def style(self, request: Request) -> Response:  # noqa: ARG002  (Starlette passes it)
        """The style sheet of the sign-in page."""
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})

    async def icon(self, request: Request) -> Response:  # noqa: ARG002
        """The page's icon."""
        return FileResponse(str(STATIC / "icon.svg"), media_type="image/svg+xml")

    def _form(self, locale: str, wrong: str = "", name: str = "", status: int = 200) -> Response:
        said = f'<p class="ez-notice ez-wrong" role="alert">{esc(wrong)}</p>' if wrong else ""
        values = {key: esc(say(f"web.{key}", locale)) for key in ("sign_in", "name", "password", "sign_in_hint")}
        return HTMLResponse(FORM.substitute(values, locale=esc(locale), wrong=said, given=esc(name[:64])), status)
