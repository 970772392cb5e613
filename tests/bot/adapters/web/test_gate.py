"""What gets past the gate, asked by HTTP as a stranger might."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from starlette.datastructures import Headers

from bot.adapters.web.gate import MAX_JSON, locale_of
from bot.adapters.web.server import hosts
from bot.app import running
from bot.settings import Settings
from tests.contract.web import PASSWORD, add_account, served
from tests.fakes.engine_client import ScriptedEngine

EVERYWHERE = "0.0.0.0"  # noqa: S104
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), web_port=1)
    await add_account(settings, "ada")
    async with running(settings, ScriptedEngine()) as app, served(settings, app.dispatcher) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stranger: aiohttp.ClientSession) -> aiohttp.ClientSession:
    async with stranger.post("/sign-in", data={"name": "ada", "password": PASSWORD}, allow_redirects=False) as answer:
        assert answer.status == 303
        assert "HttpOnly" in answer.headers["set-cookie"] or "httponly" in answer.headers["set-cookie"]
        assert "samesite=lax" in answer.headers["set-cookie"].lower()
    return stranger


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/heartbeat/x",
        "/theme.css",
        "/pictures/abc/1/file",
        f"/entries/{'0' * 64}",
    ],
)
async def test_strangers_see_nothing(stranger: aiohttp.ClientSession, path: str) -> None:
    async with stranger.get(path) as answer:
        assert answer.status == 401
        assert await answer.read() == b""


async def test_strangers_are_sent_to_the_sign_in_page(stranger: aiohttp.ClientSession) -> None:
    async with stranger.get("/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (303, "/sign-in")


@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/openapi.json",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/gradio_api/run/predict",
        "/gradio_api/call/draw",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/monitoring",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/vibe-edit",
        "/login",
        "/token",
        "/gradio_api/token",
        "/manifest.json",
        "/static/../../etc/passwd",
        "/gradio_api/component_server",
    ],
)
async def test_what_the_page_does_not_need_is_not_there(ada: aiohttp.ClientSession, path: str) -> None:
    for method in ("GET", "POST"):
        async with ada.request(method, path) as answer:
            assert answer.status == 404, method


async def test_an_account_reaches_the_page(ada: aiohttp.ClientSession) -> None:
    async with ada.get("/") as answer:
        assert answer.status == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/gradio_api/queue/join", "/gradio_api/upload"])
async def test_other_sites_can_not_act_for_somebody(
    ada: aiohttp.ClientSession, path: str, headers: dict[str, str]
) -> None:
    async with ada.post(path, headers=headers, data=b"{}") as answer:
        assert answer.status == 403


async def test_a_name_that_was_pointed_here_is_not_served(ada: aiohttp.ClientSession) -> None:
    async with ada.get("/", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421


async def test_too_much_is_not_read(ada: aiohttp.ClientSession) -> None:
    async with ada.post("/gradio_api/queue/join", data=b"x" * (MAX_JSON + 1)) as answer:
        assert answer.status == 413


async def test_a_forged_session_is_none(stranger: aiohttp.ClientSession, address: str) -> None:
    cookies = {"easel_session": "eyJuYW1lIjogImFkYSIsICJ2ZXJzaW9uIjogIngifQ==.aaaa.bbbb"}
    async with aiohttp.ClientSession(address, cookies=cookies) as forger, forger.get("/config") as answer:
        assert answer.status == 401


async def test_signing_out_ends_the_session(ada: aiohttp.ClientSession) -> None:
    async with ada.post("/sign-out", allow_redirects=False) as answer:
        assert answer.status == 303
    async with ada.get("/config") as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({}, {"127.0.0.1", "localhost", "::1"}),
        ({"web_url": "https://easel.example.org/"}, {"127.0.0.1", "localhost", "::1", "easel.example.org"}),
        ({"web_host": EVERYWHERE}, None),
        (
            {"web_host": EVERYWHERE, "web_url": "http://a.example"},
            {"127.0.0.1", "localhost", "::1", "a.example", EVERYWHERE},
        ),
    ],
)
async def test_the_names_that_the_page_answers_to(
    tmp_path: Path, settings: dict[str, str], known: set[str] | None
) -> None:
    assert hosts(Settings.model_validate({"home": tmp_path, **settings})) == known


@pytest.mark.parametrize(
    ("given", "locale"),
    [("", "en"), ("en-GB,en;q=0.9", "en"), ("xx, en;q=0.3", "en"), ("\udfff" * 0 + ";;;,", "en"), ("a" * 10_000, "en")],
)
async def test_the_language_is_the_browser_s(given: str, locale: str) -> None:
    assert locale_of(Headers({"accept-language": given})) == locale
