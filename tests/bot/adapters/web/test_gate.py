"""What gets past the gate, asked by HTTP as a stranger might."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from starlette.datastructures import Headers
from yarl import URL

from bot.adapters.web import pace
from bot.adapters.web.gate import MAX_JSON, STREAMS, _is_same_origin, locale_of
from bot.adapters.web.pace import BURST
from bot.adapters.web.server import own_hosts, public_hosts
from bot.app import running
from bot.settings import Settings
from tests.contract.web import PASSWORD, add_account, served
from tests.fakes.engine_client import ScriptedEngine

EVERYWHERE = "0.0.0.0"  # noqa: S104
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), web_port=1)
    for name in ("ada", "bob", "cy", "dee"):
        await add_account(settings, name)
    async with running(settings, ScriptedEngine()) as app, served(settings, app.dispatcher) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def sign_in(session: aiohttp.ClientSession, name: str) -> aiohttp.ClientSession:
    async with session.post("/sign-in", data={"name": name, "password": PASSWORD}, allow_redirects=False) as answer:
        assert answer.status == 303
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert "samesite=lax" in answer.headers["set-cookie"].lower()
    return session


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stranger: aiohttp.ClientSession) -> aiohttp.ClientSession:
    return await sign_in(stranger, "ada")


@pytest_asyncio.fixture(loop_scope="module")
async def bob(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    many = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(address, cookie_jar=jar, connector=many) as session:
        yield await sign_in(session, "bob")


def event(page: str = "page1", fn_index: object = 0, **other: Any) -> dict[str, Any]:
    """The body of an event without values."""
    return {"fn_index": fn_index, "session_hash": page, "data": [], "event_data": None, "trigger_id": 1} | other


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def look(address: str) -> int:
    """Gradio's number of an event that takes no values and does no more than show the page."""
    async with aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await sign_in(session, "ada")
        async with session.get("/config") as answer:
            config = await answer.json()
    return next(int(dependency["id"]) for dependency in config["dependencies"] if not dependency["inputs"])


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/app_id",
        "/seen",
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
        "/gradio_api/component_server",
        "/gradio_api/heartbeat/x",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/upload_progress",
    ],
)
async def test_what_the_page_does_not_need_is_not_there(ada: aiohttp.ClientSession, path: str) -> None:
    for method in ("GET", "POST"):
        async with ada.request(method, path) as answer:
            assert answer.status == 404, method


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../routes.py",
        "/static/%2e%2e/%2e%2e/routes.py",
        "/assets/..%2f..%2fblocks.py",
        "/assets/a/../../../blocks.py",
        "/static//etc/passwd",
    ],
)
async def test_no_path_leads_out_of_gradio_s_own_files(ada: aiohttp.ClientSession, address: str, path: str) -> None:
    async with ada.get(URL(f"{address}{path}", encoded=True)) as answer:
        assert answer.status == 404
        assert await answer.read() == b""


@pytest.mark.parametrize("path", ["/?page=nowhere", "/?deep_link=abc", "/config?deep_link=../x&page=y"])
async def test_nothing_is_read_from_behind_a_question_mark(ada: aiohttp.ClientSession, path: str) -> None:
    async with ada.get(path) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b'"\xff"',
        json.dumps(event(data="x")).encode(),
        json.dumps(event(data=[[]])).encode(),
        json.dumps(event(data=[{"path": "a", "meta": {"_type": "gradio.FileData"}}])).encode(),
        json.dumps(event(data=[None] * 100)).encode(),
        json.dumps(event(fn_index=-1)).encode(),
        json.dumps(event(fn_index="0")).encode(),
        json.dumps(event(page="../../x")).encode(),
        json.dumps(event(page="")).encode(),
        json.dumps({"data": []}).encode(),
        b'{"fn_index": 0, "session_hash": "page1", "data": [NaN]}',
        b'{"fn_index": 0, "session_hash": "page1", "data": ["\\ud800"]}',
    ],
    ids=str,
)
async def test_what_is_no_event_goes_no_further(bob: aiohttp.ClientSession, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with bob.post("/gradio_api/queue/join", data=body, headers=headers) as answer:
        assert answer.status == 400


async def test_a_page_is_its_owner_s_alone(ada: aiohttp.ClientSession, bob: aiohttp.ClientSession, look: int) -> None:
    async with ada.post("/gradio_api/queue/join", json=event("adas1page", look)) as answer:
        assert answer.status == 200
    async with bob.post("/gradio_api/queue/join", json=event("adas1page")) as answer:
        assert answer.status == 403, "what bob asks for would be shown to ada"
    for page in ("adas1page", "nobodys1page", ""):
        async with bob.get("/gradio_api/queue/data", params={"session_hash": page}) as answer:
            assert answer.status == 404, "what ada asked for would be shown to bob"
    async with bob.get("/gradio_api/queue/data?session_hash=adas1page&session_hash=x") as answer:
        assert answer.status == 404


async def test_nobody_takes_the_page_from_the_others(address: str, stranger: aiohttp.ClientSession, look: int) -> None:
    cy = await sign_in(stranger, "cy")
    answers: list[int] = []
    said: object = None
    while 429 not in answers and len(answers) < 10 * BURST:
        async with cy.post("/gradio_api/queue/join", json=event(f"page{len(answers)}", look)) as answer:
            answers.append(answer.status)
            said = await answer.json()
    assert answers[0] == 200
    assert said == {"detail": "That was a lot at once; wait a few seconds."}, "as Gradio shows it"
    async with aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        other = await sign_in(session, "bob")
        async with other.post("/gradio_api/queue/join", json=event("bobs1page", look)) as answer:
            assert answer.status == 200


async def test_answers_that_nobody_reads_do_not_pile_up(
    stranger: aiohttp.ClientSession, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "UNREAD", 3)
    dee = await sign_in(stranger, "dee")

    async def join(page: str) -> int:
        async with dee.post("/gradio_api/queue/join", json=event(page, look)) as answer:
            return answer.status

    assert [await join(page) for page in ("deespage1", "deespage1", "deespage2", "deespage3")] == [200, 200, 200, 429]
    async with dee.get("/gradio_api/queue/data?session_hash=deespage1") as stream:
        assert b"close_stream" in await stream.read()
    assert await join("deespage1") == 200, "who reads may go on"
    monkeypatch.setattr(pace, "UNREAD_SECONDS", 0.0)
    assert await join("deespage3") == 200, "what is forgotten counts no more"


async def test_one_person_reads_so_many_streams_at_once(bob: aiohttp.ClientSession, look: int) -> None:
    stream = "/gradio_api/queue/data?session_hash=bobs2page"
    async with bob.post("/gradio_api/queue/join", json=event("bobs2page", look)) as answer:
        assert answer.status == 200
    async with bob.get(stream) as answer:
        assert b"close_stream" in await answer.read()
    async with AsyncExitStack() as open_streams:
        for _ in range(STREAMS):
            answer = await open_streams.enter_async_context(bob.get(stream))
            assert answer.status == 200
        async with bob.get(stream) as answer:
            assert answer.status == 429
    async with asyncio.timeout(20):
        while True:
            async with bob.get(stream) as answer:
                if answer.status == 200:
                    break


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


async def test_a_body_that_never_ends_breaks_off(ada: aiohttp.ClientSession) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    async with asyncio.timeout(20):
        try:
            async with ada.post("/gradio_api/queue/join", data=endless()) as answer:
                assert answer.status == 400
        except aiohttp.ClientError:
            pass  # the server hangs up while it is being sent to
    assert sent < 64 * MAX_JSON


async def test_no_origin_is_not_no_host() -> None:
    assert not _is_same_origin(Headers({"origin": "null", "host": ""}))
    assert not _is_same_origin(Headers({"origin": "null"}))
    assert _is_same_origin(Headers({"origin": "https://a.example", "host": "a.example"}))
    assert _is_same_origin(Headers({"host": "a.example"})), "no browser"


@pytest.mark.parametrize("host", ["[", "[::1", "evil.example:80:80", ""])
async def test_odd_hosts_are_not_served(ada: aiohttp.ClientSession, host: str) -> None:
    async with ada.get("/", headers={"Host": host, "Origin": "http://["}) as answer:
        assert answer.status in (400, 421)


async def test_a_forged_session_is_none(stranger: aiohttp.ClientSession, address: str) -> None:
    cookies = {"easel_session": "eyJuYW1lIjogImFkYSIsICJ2ZXJzaW9uIjogIngifQ==.aaaa.bbbb"}
    async with aiohttp.ClientSession(address, cookies=cookies) as forger, forger.get("/config") as answer:
        assert answer.status == 401


async def test_signing_out_ends_the_session(ada: aiohttp.ClientSession, address: str) -> None:
    cookies = {cookie.key: cookie.value for cookie in ada.cookie_jar}
    async with ada.post("/sign-out", allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["clear-site-data"] == '"cache"'
    async with ada.get("/config") as answer:
        assert answer.status == 401
    async with aiohttp.ClientSession(address, cookies=cookies) as thief, thief.get("/config") as answer:
        assert answer.status == 401, "a copy of the cookie has ended with it"


async def test_signing_in_again_is_another_session(ada: aiohttp.ClientSession, address: str) -> None:
    async with aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        elsewhere = await sign_in(session, "ada")
        async with elsewhere.post("/sign-out", allow_redirects=False) as answer:
            assert answer.status == 303
    async with ada.get("/config") as answer:
        assert answer.status == 200


async def test_behind_tls_the_cookie_is_the_page_s_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, web_port=1, web_url="https://easel.example.org")
    await add_account(settings, "ada")
    async with running(settings, ScriptedEngine()) as app, served(settings, app.dispatcher) as address:
        headers = {"Host": "easel.example.org", "X-Forwarded-Proto": "https", "Origin": "https://easel.example.org"}
        async with aiohttp.ClientSession(address, headers=headers) as session:
            form = {"name": "ada", "password": PASSWORD}
            async with session.post("/sign-in", data=form, allow_redirects=False) as answer:
                assert answer.status == 303
                assert answer.headers["strict-transport-security"] == "max-age=31536000"
                (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
        assert cookie.key == "__Host-easel_session"
        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


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
    assert own_hosts(Settings.model_validate({"home": tmp_path, **settings})) == known


async def test_another_server_s_page_answers_to_its_public_name_alone(tmp_path: Path) -> None:
    assert public_hosts(Settings(home=tmp_path, web_url="https://a.example")) == frozenset({"a.example"})
    assert public_hosts(Settings(home=tmp_path)) is None


@pytest.mark.parametrize(
    ("given", "locale"),
    [("", "en"), ("en-GB,en;q=0.9", "en"), ("xx, en;q=0.3", "en"), ("\udfff" * 0 + ";;;,", "en"), ("a" * 10_000, "en")],
)
async def test_the_language_is_the_browser_s(given: str, locale: str) -> None:
    assert locale_of(Headers({"accept-language": given})) == locale
