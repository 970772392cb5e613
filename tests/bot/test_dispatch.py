from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.app import App, running
from bot.chat import Delivery, Failure, Invocation, Queued, Refusal, Reply, Role, Update
from bot.dispatch import random_seed
from bot.errors import DatabaseError, DeliveryError, LimitError
from bot.handlers.base import Command, Context
from bot.handlers.table import COMMANDS
from bot.settings import Settings
from engine.errors import EngineError, InputError, StorageError
from tests.bot.talk import ADA, BOB, ask, invocation
from tests.fakes.engine_client import ScriptedEngine


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def app(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(Settings(home=tmp_path), engine) as app:
        yield app


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Puts a command `break` into the table that raises what the list holds, after one reply."""
    errors: list[Exception] = []

    async def handler(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
        yield Reply(text="so far, so good")
        raise errors[0]

    monkeypatch.setitem(COMMANDS, "break", Command(handler=handler, role=Role.MEMBER, usage="/break"))
    return errors


async def broken(app: App) -> tuple[Update, list[str]]:
    with capture_logs() as logs:
        first, last = await ask(app.dispatcher, invocation("break"))
    assert isinstance(first, Reply)
    return last, [line["incident"] for line in logs if "incident" in line]


async def test_limits_are_refusals(app: App, failing: list[Exception]) -> None:
    failing.append(LimitError("Enough."))
    update, incidents = await broken(app)
    assert update == Refusal(job=None, index=None, layer=None, text="Enough.")
    assert incidents == []


async def test_bad_input_is_told_apart_from_failures(app: App, failing: list[Exception]) -> None:
    failing.append(InputError("Too wide."))
    update, incidents = await broken(app)
    assert update == Failure(job=None, index=None, input=True, text="Too wide.")
    assert incidents == []


@pytest.mark.parametrize("error", [StorageError("The disk is full."), DatabaseError("The disk is full.")])
async def test_known_failures_keep_their_sentence(
    app: App, failing: list[Exception], error: EngineError | DatabaseError
) -> None:
    failing.append(error)
    update, incidents = await broken(app)
    assert isinstance(update, Failure)
    assert not update.input
    assert update.text.startswith("The disk is full.")
    assert incidents[0] in update.text


async def test_faults_of_ours_show_nothing_but_a_number(app: App, failing: list[Exception]) -> None:
    failing.append(ZeroDivisionError("secret"))
    update, incidents = await broken(app)
    assert isinstance(update, Failure)
    assert "secret" not in update.text
    assert incidents[0] in update.text


async def test_an_unknown_command_is_bad_input(app: App) -> None:
    (update,) = await ask(app.dispatcher, invocation("imagin", "a cat"))
    assert update == Failure(
        job=None, index=None, input=True, text='There is no command "/imagin"; did you mean /imagine?'
    )
    (update,) = await ask(app.dispatcher, invocation("\x1bzzz"))
    assert isinstance(update, Failure)
    assert update.text == 'There is no command "/\\x1bzzz"; type /help to see them all.'


async def test_an_event_that_was_seen_yields_nothing(app: App, engine: ScriptedEngine) -> None:
    call = invocation("imagine", "a cat", event="same")
    assert await ask(app.dispatcher, call)
    assert await ask(app.dispatcher, call) == []
    assert len(engine.orders) == 1


async def test_closing_the_iterator_leaves_the_job_at_work(app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    async with aclosing(app.dispatcher.handle(invocation("imagine", "a cat"))) as updates:
        first = await anext(updates)
    assert isinstance(first, Queued)
    assert engine.cancelled == []
    (shown,) = await ask(app.dispatcher, invocation("show", first.job))
    assert isinstance(shown, Reply)
    engine.gate.set()


async def test_cancelling_the_watcher_does_not_hang(app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    task = asyncio.create_task(ask(app.dispatcher, invocation("imagine", "a cat")))
    await engine.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def delivery_of(app: App) -> Delivery:
    async with aclosing(app.dispatcher.handle(invocation("imagine", "a cat"))) as updates:
        async for update in updates:
            if isinstance(update, Delivery):
                return update
    raise AssertionError("nothing was delivered")


async def test_a_refused_delivery_is_told(app: App) -> None:
    async def refuse(delivery: Delivery) -> str:
        raise DeliveryError("The channel is gone.", permanent=True)

    delivery = await delivery_of(app)
    assert await app.dispatcher.deliver(delivery, refuse) == Failure(
        job=delivery.job, index=None, text="The channel is gone."
    )


async def test_a_fault_in_an_adapter_is_an_incident(app: App) -> None:
    async def stumble(delivery: Delivery) -> str:
        raise ZeroDivisionError("secret")

    with capture_logs() as logs:
        failure = await app.dispatcher.deliver(await delivery_of(app), stumble)
    assert failure is not None
    assert "secret" not in failure.text
    assert next(line["incident"] for line in logs if "incident" in line) in failure.text


async def test_people_are_told_apart(app: App) -> None:
    await ask(app.dispatcher, invocation("imagine", "a cat", who=ADA))
    (answer,) = await ask(app.dispatcher, invocation("history", who=BOB))
    assert isinstance(answer, Reply)
    assert answer.data == {"jobs": []}


def test_seeds_fit_other_tools() -> None:
    assert all(0 <= random_seed() < 2**32 for _ in range(100))


async def test_logs_hold_no_prompt(app: App, failing: list[Exception]) -> None:
    failing.append(ZeroDivisionError())
    with capture_logs() as logs:
        await ask(app.dispatcher, invocation("imagine", "a very private cat"))
        await ask(app.dispatcher, invocation("break", "a very private dog"))
    assert logs
    quiet = [line for line in logs if line["log_level"] != "debug"]
    assert not any("private" in str(value) for line in quiet for value in line.values())
