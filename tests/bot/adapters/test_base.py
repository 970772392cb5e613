from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from pathlib import Path

import pytest

from bot.adapters.base import Answers, relay, settled
from bot.app import App, running
from bot.chat import Delivery, Failure, Queued, Reply, Update, Working
from bot.errors import DeliveryError
from bot.jobs import sending
from bot.settings import Settings
from engine.types import Progress, Stage
from tests.bot.talk import invocation
from tests.fakes.engine_client import ScriptedEngine


class Board:
    """A surface that keeps what it is shown."""

    def __init__(self, pace: float = 0.0) -> None:
        self.pace = pace
        self.shown: list[Update] = []
        self.sent: list[Delivery] = []
        self.refusals: list[DeliveryError] = []
        self.news = asyncio.Event()

    async def show(self, update: Update) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.shown.append(update)
        self.news.set()

    async def send(self, delivery: Delivery) -> str:
        self.sent.append(delivery)
        return delivery.nonce

    async def find(self, delivery: Delivery) -> str | None:
        return next((sent.nonce for sent in self.sent if sent.nonce == delivery.nonce), None)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def app(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(Settings(home=tmp_path), engine) as app:
        yield app


async def stream(updates: Iterable[Update]) -> AsyncGenerator[Update, None]:
    for update in updates:
        yield update


def step(number: int) -> Working:
    progress = Progress(index=0, stage=Stage.DRAWING, step=number, steps=9)
    return Working(job="k3", pictures=1, progress=progress, eta_seconds=None, text="")


QUEUED = Queued(job="k3", pictures=1, position=0, eta_seconds=None, text="")
DONE = Failure(job="k3", index=0, text="")


async def test_progress_keeps_the_pace_and_everything_else_passes(app: App) -> None:
    board = Board(pace=3.0)
    times = iter([0.0, 0.5, 1.0, 3.4, 3.6, 9.0])
    updates: list[Update] = [QUEUED, step(1), step(2), step(3), step(4), DONE, Reply(text="")]
    await relay(stream(updates), board, app.dispatcher, clock=lambda: next(times))
    assert board.shown == [QUEUED, step(1), step(4), DONE, Reply(text="")]


async def test_without_a_pace_everything_is_shown(app: App) -> None:
    board = Board()
    updates: list[Update] = [QUEUED, step(1), step(2), DONE]
    await relay(stream(updates), board, app.dispatcher)
    assert board.shown == updates


@pytest.mark.parametrize("away", [False, True])
async def test_a_line_that_cannot_be_shown_costs_nothing_else(app: App, away: bool) -> None:
    board = Board()
    board.refusals = [DeliveryError("The message is gone.", away=away)]
    await relay(app.dispatcher.handle(invocation("imagine", "a cat")), board, app.dispatcher)
    assert [picture.alt_text for sent in board.sent for picture in sent.pictures] == ["Generated picture: a cat"]


@pytest.mark.parametrize(
    ("away", "times", "pauses", "shown"),
    [(True, 3, [2.0, 8.0, 32.0], 1), (True, 100, [2.0, 8.0, 32.0, *[60.0] * 15], 0), (False, 1, [], 0)],
)
async def test_an_answer_waits_for_a_platform_that_is_away_but_not_for_ever(
    app: App, away: bool, times: int, pauses: list[float], shown: int
) -> None:
    board, slept = Board(), []
    board.refusals = [DeliveryError("Nobody answers.", away=away) for _ in range(times)]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await app.jobs.arrivals.keep("test", "1", "/help")
    answer = settled(app.dispatcher.handle(invocation("help")), app.jobs.arrivals, "test", "1")
    await relay(answer, board, app.dispatcher, sleep=sleep)
    assert (slept, len(board.shown)) == (pauses, shown)
    assert await app.jobs.in_flight() == frozenset(), "what is given up keeps no machine"


async def test_an_answer_that_a_stop_cuts_off_is_left_to_the_next_process(app: App) -> None:
    board, waiting = Board(), asyncio.Event()
    board.refusals = [DeliveryError("Nobody answers.", away=True)]

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    await app.jobs.arrivals.keep("test", "1", "/help")
    answer = settled(app.dispatcher.handle(invocation("help")), app.jobs.arrivals, "test", "1")
    telling = asyncio.create_task(relay(answer, board, app.dispatcher, sleep=sleep))
    await waiting.wait()
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert await app.jobs.in_flight() == {"1"}


async def test_what_arrives_when_all_is_over_is_left_to_the_next_process(app: App) -> None:
    board = Board()
    async with Answers(app.dispatcher) as answers:
        pass
    await app.jobs.arrivals.keep("test", "1", "/help")
    answers.start(settled(app.dispatcher.handle(invocation("help")), app.jobs.arrivals, "test", "1"), board)
    assert len(answers) == 0
    assert await app.jobs.in_flight() == {"1"}


async def test_an_earlier_attempt_that_got_through_is_not_repeated(
    app: App, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BACKOFF_SECONDS", 0.0)

    class Lossy(Board):
        """Takes the message, and then loses the connection."""

        async def send(self, delivery: Delivery) -> str:
            await super().send(delivery)
            raise DeliveryError("The connection broke.")

    board = Lossy()
    await relay(app.dispatcher.handle(invocation("imagine", "a cat")), board, app.dispatcher)
    assert len(board.sent) == 1
    assert not any(isinstance(update, Failure) for update in board.shown)


async def test_a_delivery_given_up_is_told(app: App) -> None:
    class Closed(Board):
        async def send(self, delivery: Delivery) -> str:
            raise DeliveryError("The channel is gone.", permanent=True)

    board = Closed()
    await relay(app.dispatcher.handle(invocation("imagine", "a cat")), board, app.dispatcher)
    assert board.shown[-1].kind == "failure"
    assert isinstance(board.shown[-1], Failure)
    assert board.shown[-1].text == "The channel is gone."


async def test_what_an_adapter_did_not_foresee_costs_no_picture(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(Board):
        tries = 0

        async def show(self, update: Update) -> None:
            raise KeyError("a field that the platform left out")

        async def send(self, delivery: Delivery) -> str:
            self.tries += 1
            if self.tries == 1:
                raise ConnectionResetError
            return await super().send(delivery)

    monkeypatch.setattr(sending, "BACKOFF_SECONDS", 0.0)
    board = Faulty()
    await relay(app.dispatcher.handle(invocation("imagine", "a cat")), board, app.dispatcher)
    assert [delivery.attempt for delivery in board.sent] == [2]


async def test_leaving_waits_for_answers(app: App, engine: ScriptedEngine) -> None:
    board = Board()
    async with Answers(app.dispatcher) as answers:
        answers.start(app.dispatcher.handle(invocation("imagine", "a cat")), board)
        assert len(answers) == 1
    assert len(answers) == 0
    assert len(board.sent) == 1


async def test_leaving_by_an_error_cancels_answers_but_not_jobs(app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    board = Board()

    async def stumble() -> None:
        async with Answers(app.dispatcher) as answers:
            answers.start(app.dispatcher.handle(invocation("imagine", "a cat")), board)
            await board.news.wait()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    assert engine.cancelled == []
    assert board.sent == []


async def test_an_answer_that_breaks_off_disturbs_no_other(app: App) -> None:
    class Broken(Board):
        async def show(self, update: Update) -> None:
            raise ZeroDivisionError

    board = Board()
    async with Answers(app.dispatcher) as answers:
        answers.start(app.dispatcher.handle(invocation("help")), Broken())
        answers.start(app.dispatcher.handle(invocation("help")), board)
    assert len(board.shown) == 1


async def test_unfinished_jobs_of_an_earlier_process_go_on(tmp_path: Path, engine: ScriptedEngine) -> None:
    settings, board = Settings(home=tmp_path), Board()
    engine.gate.clear()
    async with running(settings, engine) as app:
        task = asyncio.create_task(relay(app.dispatcher.handle(invocation("imagine", "a cat")), board, app.dispatcher))
        await engine.begun.wait()
    await task
    assert board.sent == []
    engine.gate.set()
    async with running(settings, engine) as app, Answers(app.dispatcher) as answers:
        await answers.resume("test", lambda _: board)
    assert len(board.sent) == 1
