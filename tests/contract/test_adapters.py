"""What every adapter owes the people who use it, whatever the platform. A new adapter adds its harness to HARNESSES."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from bot.app import App, running
from bot.settings import Settings
from engine.errors import WeightsError
from engine.types import Failed, Layer, Refused
from tests.contract.console import PATIENCE, ConsoleHarness
from tests.contract.discord import DiscordHarness
from tests.contract.harness import Harness
from tests.contract.slack import SlackHarness, SlackHttpHarness
from tests.contract.web import WebHarness
from tests.fakes.engine_client import ScriptedEngine, picture

HARNESSES: dict[str, Callable[[Path], Harness]] = {
    "console": ConsoleHarness,
    "discord": DiscordHarness,
    "slack": SlackHarness,
    "slack-http": SlackHttpHarness,
    "web": WebHarness,
}


@pytest.fixture(params=HARNESSES)
def person(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return HARNESSES[request.param](tmp_path / "pictures")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", running_per_person=5)


@pytest.fixture
async def app(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[App]:
    async with running(settings, engine) as app:
        yield app


@asynccontextmanager
async def chat(person: Harness, app: App) -> AsyncIterator[None]:
    async with person.running(app.dispatcher):
        yield


def job_of(engine: ScriptedEngine, index: int = -1) -> str:
    return engine.orders[index].job


async def until_delivered(person: Harness, job: str) -> None:
    async with asyncio.timeout(PATIENCE):
        for asked in count(1):
            await person.say("show", job)
            await person.until(f"Job {job}: ", times=asked)
            if f"Job {job}: delivered" in person.transcript():
                return


def refusing(layer: Layer, sin: str) -> Callable[[int], Refused]:
    def refused(index: int) -> Refused:
        return Refused(index=index, layer=layer, categories=(sin,))

    return refused


async def test_accepts_at_once_while_the_engine_is_busy(person: Harness, app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    async with chat(person, app):
        await person.say("imagine", "a red apple")
        await person.until("Accepted")
        await engine.begun.wait()
        assert person.pictures() == []
        engine.gate.set()
        await person.until_pictures(1)


async def test_every_picture_arrives_once(person: Harness, app: App, engine: ScriptedEngine) -> None:
    async with chat(person, app):
        await person.say("batch", "--seed 7 --steps 3\na cat\na dog\na cow")
        await person.until_pictures(3)
        await until_delivered(person, job_of(engine))
    assert sorted(person.pictures()) == sorted(map(picture, engine.orders[0].requests))
    assert len(engine.orders) == 1


async def test_several_jobs_at_once_do_not_mix(person: Harness, app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    async with chat(person, app):
        for prompt in ("a cat", "a dog"):
            await person.say("imagine", prompt)
        await person.until("Accepted", times=2)
        engine.gate.set()
        await person.until_pictures(2)
    assert sorted(person.pictures()) == sorted(picture(order.requests[0]) for order in engine.orders)


async def test_a_refusal_says_why_whichever_layer_it_comes_from(
    person: Harness, app: App, engine: ScriptedEngine
) -> None:
    async with chat(person, app):
        for layer in Layer:
            sin = f"gluttony before {layer}"
            engine.endings[sin] = refusing(layer, sin)
            await person.say("imagine", sin)
            await person.until(f"({sin})")
        await person.say("quota")
        await person.until("today")
        for layer in Layer:
            assert person.transcript().count(f"(gluttony before {layer})") == 1
    assert person.pictures() == []


async def test_a_failure_is_answered_with_its_sentence(person: Harness, app: App, engine: ScriptedEngine) -> None:
    engine.endings["a bug"] = lambda index: Failed(index=index, code="weights", sentence="The weights are gone.")
    async with chat(person, app):
        await person.say("imagine", "a bug")
        await person.until("The weights are gone.")


async def test_an_engine_that_breaks_off_is_answered(person: Harness, app: App, engine: ScriptedEngine) -> None:
    engine.faults["a bug"] = WeightsError("The weights are gone.")
    async with chat(person, app):
        await person.say("imagine", "a bug")
        await person.until("The weights are gone.")


async def test_a_fault_of_ours_is_an_incident_and_no_traceback(
    person: Harness, app: App, engine: ScriptedEngine
) -> None:
    engine.faults["a bug"] = ZeroDivisionError("secret detail")
    async with chat(person, app):
        await person.say("imagine", "a bug")
        await person.until("incident")
        await person.say("imagine", "a cat")
        await person.until_pictures(1)
    assert "secret detail" not in person.transcript()
    assert "Traceback" not in person.transcript()


BAD_INPUT = [
    ("imagine", "", "what the picture should show"),
    ("imagine", "a cat --steps 1000", "--steps takes a whole number from 1 to 100, not 1000."),
    ("imagine", "a cat --stesp 4", "did you mean --steps?"),
    ("imagine", "a cat --model sd99", "only emoji"),
    ("imagine", "x" * 5000, "this one has 5000"),
    ("batch", "", "at least one prompt"),
    ("imagin", "a cat", "did you mean /imagine?"),
    ("show", "nothing", "There is no job"),
    ("cache", "stats", "Only moderators may use /cache."),
]


async def test_bad_input_is_answered_with_one_sentence(person: Harness, app: App) -> None:
    async with chat(person, app):
        for command, text, named in BAD_INPUT:
            await person.say(command, text)
            await person.until(named)
        await person.say("quota")
        await person.until("today")
    for _, _, named in BAD_INPUT:
        assert person.transcript().count(named) == 1
    assert "Traceback" not in person.transcript()


async def test_a_running_job_can_be_cancelled(person: Harness, app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    async with chat(person, app):
        await person.say("imagine", "a red apple")
        await engine.begun.wait()
        await person.say("cancel", job_of(engine))
        await person.until("was cancelled")
        await person.say("show", job_of(engine))
        await person.until(": cancelled")
    assert engine.cancelled == [job_of(engine)]
    assert person.pictures() == []


async def test_the_same_event_twice_is_one_job(person: Harness, app: App, engine: ScriptedEngine) -> None:
    async with chat(person, app):
        await person.say("imagine", "a red apple", event="same")
        await person.say("imagine", "a red apple", event="same")
        await person.until_pictures(1)
        await person.say("quota")
        await person.until("1 picture today")
    assert len(engine.orders) == 1
    assert len(person.pictures()) == 1


async def test_a_job_cut_off_by_a_restart_arrives_once(
    person: Harness, settings: Settings, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    async with running(settings, engine) as app, chat(person, app):
        await person.say("imagine", "a red apple --seed 7")
        await engine.begun.wait()
    assert person.pictures() == []
    engine.gate.set()
    async with running(settings, engine) as app, chat(person, app):
        await person.until_pictures(1)
    async with running(settings, engine) as app, chat(person, app):
        await until_delivered(person, job_of(engine))
    assert person.pictures() == [picture(engine.orders[0].requests[0])]


ODD_INPUT = [
    "ein Apfel, 一个苹果, تفاحة, 🍎👩\N{ZERO WIDTH JOINER}🚀",
    "%s {0} {prompt} %(x)s $HOME `id` <b>&amp;</b> [link](x) *bold* @everyone <!channel>",
    "--" * 2000,
    '"' * 999,
    "a \ufffd\N{RIGHT-TO-LEFT OVERRIDE}b",
    "\x1b[31mred\x1b[0m",
    "\x9b31mred",
    "a\x00b\x07",
]


async def test_odd_input_is_answered_and_the_next_command_works(person: Harness, app: App) -> None:
    async with chat(person, app):
        for number, text in enumerate(ODD_INPUT):
            await person.say("imagine", text)
            await person.say("imagine", f"a cat --style {text}")
            await person.say(text)
            await person.say("history")
            await person.say("imagine", f"a plain cat --seed {12345 + number}")
            await person.until(f"seed {12345 + number}")
    for hostile in person.hostile:
        assert hostile not in person.transcript()


async def test_a_hostile_sentence_from_below_is_made_harmless(
    person: Harness, app: App, engine: ScriptedEngine
) -> None:
    attack = "".join(person.hostile)
    engine.endings["a bug"] = lambda index: Failed(index=index, code="weights", sentence=f"Broken {attack} thing.")
    async with chat(person, app):
        await person.say("imagine", "a bug")
        await person.until("thing.")
    for hostile in person.hostile:
        assert hostile not in person.transcript()


async def test_stopping_takes_no_time_while_the_engine_is_busy(
    person: Harness, app: App, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    async with asyncio.timeout(5):
        async with chat(person, app):
            await person.say("imagine", "a red apple")
            await engine.begun.wait()
