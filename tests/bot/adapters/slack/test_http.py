"""HTTP mode: what is Slack's is taken once, and whatever isn't is a 401."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.adapters.slack import gate as gates
from bot.adapters.slack import server
from bot.adapters.slack.gate import Gate
from bot.adapters.slack.manifest import EVENTS_PATH
from bot.adapters.slack.server import Events, application
from bot.app import App, running
from bot.errors import SettingsError
from bot.settings import Settings
from bot.store import Store
from tests.bot.adapters.slack.test_answers import finished
from tests.bot.workbench import ManualClock
from tests.contract.slack import SlackHttpHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack import SECRET
from tests.fakes.slack_forger import MARK, Headers, Request, command, forged_request, request

FORGED, WIRED, VALID = 10_000, 500, 100
"""Requests that are not Slack's, those of them that go over a socket, and those that are Slack's."""


class Served:
    """The handlers behind a real socket, and how often one of Bolt's ran."""

    def __init__(self, gate: Gate) -> None:
        self.port = 0
        self.handled = 0
        self.events = Events(counting(self), gate)

    async def in_process(self, requests: Iterable[Request]) -> list[int]:
        """The status of each answer, without the wire; headers are read as aiohttp reads them."""
        answers = [
            await self.events.answer([(_text(name), _text(value)) for name, value in headers], body)
            for headers, body in requests
        ]
        return [answer.status for answer in answers]

    async def statuses(self, requests: Iterable[Request], path: str = EVENTS_PATH) -> list[int]:
        """Send them all down one connection, without waiting in between; the status of each answer."""
        wire = [_wire(headers, body, path) for headers, body in requests]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(wire))
        try:
            return [await _status(reader) for _ in wire]
        finally:
            writer.close()
            await writer.wait_closed()


def _text(header: bytes) -> str:
    return header.decode("utf-8", "surrogateescape")


def _wire(headers: Headers, body: bytes, path: str) -> bytes:
    given = [(b"Host", b"easel"), (b"Content-Length", str(len(body)).encode()), *headers]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in given)
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + lines + b"\r\n" + body


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
    return int(head.split(maxsplit=2)[1])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def served(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Served]:
    async with serving(tmp_path, clock) as served:
        yield served


@asynccontextmanager
async def serving(folder: Path, clock: ManualClock) -> AsyncIterator[Served]:
    async with Store.open(folder / "easel.db") as store, Gate(SECRET, store.slack, clock).open() as gate:
        served = Served(gate)
        runner = web.AppRunner(application(served.events))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.port = runner.addresses[0][1]
        try:
            yield served
        finally:
            await runner.cleanup()


def counting(served: Served) -> AsyncApp:
    async def authorize(team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=team_id)

    async def on_command(ack: AsyncAck) -> None:
        await ack()

    async def count(next: Callable[[], object]) -> None:  # noqa: A002  (Bolt's name)
        served.handled += 1
        await next()  # type: ignore[misc]

    log = logging.getLogger("bot.adapters.slack.bolt")
    log.setLevel(logging.ERROR)
    app = AsyncApp(
        name="t", client=AsyncWebClient(), authorize=authorize, logger=log, request_verification_enabled=False
    )
    app.use(count)
    app.command("/imagine")(on_command)
    return app


async def test_of_ten_thousand_forged_requests_none_is_handled_and_all_of_slack_s_are(
    served: Served, clock: ManualClock
) -> None:
    now, choose = int(clock.time), random.Random(7)
    slack_s = [request(now - 300 + number * 600 // VALID, command(-number - 1)) for number in range(VALID)]
    assert await served.statuses(slack_s) == [200] * VALID
    assert served.handled == VALID
    forged = [forged_request(choose, now, slack_s, number) for number in range(FORGED)]
    on_the_wire, inside = forged[:WIRED], forged[WIRED:]
    statuses = await served.statuses(on_the_wire) + await served.in_process(inside)
    assert [(status, sent) for status, sent in zip(statuses, forged, strict=True) if status != 401] == []
    assert served.handled == VALID


@pytest.mark.parametrize(
    ("offset", "status"), [(-301, 401), (-300, 200), (-299, 200), (299, 200), (300, 200), (301, 401)]
)
async def test_the_window_is_five_minutes_either_way(
    served: Served, clock: ManualClock, offset: int, status: int
) -> None:
    assert await served.statuses([request(int(clock.time) + offset, command())]) == [status]


async def test_a_request_counts_once_also_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    sent = request(int(clock.time), command())
    async with serving(tmp_path, clock) as served:
        assert await served.statuses([sent] * 4) == [200, 401, 401, 401]
    async with serving(tmp_path, clock) as served:
        assert await served.statuses([sent, request(int(clock.time), command(1))]) == [401, 200]


async def test_a_busy_disk_keeps_no_request_waiting_and_none_counts_twice(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "WRITE_SECONDS", 0.02)
    sent = request(int(clock.time), command())
    async with serving(tmp_path, clock) as served:
        with closing(sqlite3.connect(tmp_path / "easel.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await served.statuses([sent] * 4) == [200, 401, 401, 401]
            other.execute("ROLLBACK")
    async with serving(tmp_path, clock) as served:
        assert await served.statuses([sent]) == [401]


async def test_requests_that_arrive_together_are_written_down_together(tmp_path: Path, clock: ManualClock) -> None:
    async with Store.open(tmp_path / "easel.db") as store:
        gate = Gate(SECRET, store.slack, clock)
        bodies = [command(number) for number in (1, 2, 3, 1, 2, 3)]
        asked = [gate.is_new(body.decode()) for body in bodies]
        assert await asyncio.gather(*asked) == [True, True, True, False, False, False]


async def test_what_time_keeps_out_is_forgotten(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store.open(tmp_path / "easel.db") as store:
        gate = Gate(SECRET, store.slack, clock)
        assert await gate.is_new("1")
        clock.time += 2 * gates.WINDOW_SECONDS + 2 * gates.PRUNE_SECONDS
        assert await gate.is_new("2")
        assert await store.slack.remembered() == 1
        assert await gate.is_new("1")


async def test_signed_forms_with_odd_words_are_read_whole(served: Served, clock: ManualClock) -> None:
    """Bolt's own reading takes any form with this word in it for something else."""
    now = int(clock.time)
    bodies = [b"command=%2Fimagine&text=payload", b"text=&command=%2Fimagine&team_id=T1", b"ssl_check=1&token=x"]
    assert await served.statuses(request(now, body) for body in bodies) == [200] * 3


async def test_slack_s_question_for_the_address_is_answered(served: Served, clock: ManualClock) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "c4", "token": "x"}).encode()
    headers, _ = request(int(clock.time), body)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(_wire([*headers, (b"Connection", b"close")], body, EVENTS_PATH))
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"challenge": "c4"}


async def test_a_body_is_bounded_in_size_and_time(
    served: Served, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = command() + b"&x=" + b"x" * server.MAX_BODY
    assert await served.statuses([request(int(clock.time), large)]) == [401]
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(_wire([], b"x" * 100, EVENTS_PATH)[:-50])
    assert await _status(reader) == 401
    writer.close()


@pytest.mark.parametrize("path", ["/", "/slack", "/slack/events/", "/slack/install", "/slack/oauth_redirect"])
async def test_there_is_nothing_else(served: Served, path: str) -> None:
    assert (await served.statuses([([], b"")], path))[0] in (404, 405)


async def test_a_database_that_fails_is_a_503_and_then_works_again(
    served: Served, clock: ManualClock, tmp_path: Path
) -> None:
    now = int(clock.time)
    with sqlite3.connect(tmp_path / "easel.db") as other:
        other.execute("ALTER TABLE slack_requests RENAME TO away")
    # A fault of ours is no answer to a stranger either.
    assert await served.statuses([request(now, command(1))]) == [503]
    with sqlite3.connect(tmp_path / "easel.db") as other:
        other.execute("ALTER TABLE away RENAME TO slack_requests")
    assert await served.statuses([request(now, command(2))]) == [200]
    assert served.handled == 1


async def test_nothing_of_a_request_is_logged(
    served: Served, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        now = int(clock.time)
        unknown = urlencode({"command": "/unknown", "text": MARK, "team_id": "T1"}).encode()
        await served.statuses([request(now, command(), b"v0="), request(now, command()), request(now, unknown)])
    assert MARK not in caplog.text


@pytest.fixture
def person(tmp_path: Path) -> SlackHttpHarness:
    return SlackHttpHarness(tmp_path / "slack")


async def test_everything_works_as_by_socket(
    person: SlackHttpHarness, app: App, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with person.running(app.dispatcher):
            await person.slash("imagine", f"a payload {MARK}")
            await finished(person)
            await person.mention("a dog", number=7)
            await person.say("batch", "a cat\na cow")
            await finished(person, pictures=4)
    assert engine.orders[0].requests[0].prompt == f"a payload {MARK}"
    assert max(person.slack.acked.values()) < 1.0
    assert MARK not in "".join(record.getMessage() for record in caplog.records if "slack" in record.name)


async def test_events_in_any_order_four_times_and_after_a_restart_are_one_job_each(
    person: SlackHttpHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    numbers = [1, 2, 3] * 4
    random.Random(3).shuffle(numbers)
    async with running(settings, engine) as app, person.running(app.dispatcher):
        for number in numbers:
            await person.mention(f"prompt {number}", number=number)
        await finished(person, pictures=3)
    async with running(settings, engine) as app, person.running(app.dispatcher):
        for number in (3, 1, 2):
            await person.mention(f"prompt {number}", number=number)
        await person.slash("quota")
        await person.until("3 pictures today")
    assert len(person.pictures()) == 3


async def test_a_taken_port_is_one_sentence(person: SlackHttpHarness, app: App) -> None:
    blocker = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = blocker.sockets[0].getsockname()[1]
    with pytest.raises(SettingsError, match=f"127.0.0.1 port {port}"):
        async with server.listening(web.Application(), "127.0.0.1", port):
            raise AssertionError("it must not start")
    blocker.close()
    await blocker.wait_closed()
