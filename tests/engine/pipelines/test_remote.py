"""Asking GPU containers that are late, lost, or lost again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence

import pytest
from PIL import Image

from engine import wire
from engine.errors import BrokeOffError, GenerationCancelled, TookTooLongError, UnreachableError
from engine.pipelines import remote
from engine.pipelines.base import Drawing
from engine.pipelines.remote import SILENCE, STARTS, RemoteRenderer, Step, packed
from engine.types import ResolvedRequest, Stage
from tests.engine.ordering import request
from tests.engine.scripted_pipeline import color

Said = bytes | float
"""An answer, or seconds until the next one."""


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Container:
    """Says what the scripts say, one for each call and the last for all further ones.

    One that ends with seconds has lost its container: nothing more is heard, for Modal's client counts answers, and
    doesn't hear those that the next container gives again. After others the call ends, or waits for ever.
    """

    def __init__(self, clock: Clock, *scripts: Sequence[Said], ends: bool = True) -> None:
        self.clock = clock
        self.scripts = scripts
        self.ends = ends
        self.calls = 0
        self.busy = asyncio.Event()
        """Set at the second call."""
        self.cancelled: list[str] = []

    async def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        script = self.scripts[min(self.calls, len(self.scripts) - 1)]
        self.calls += 1
        if self.calls == 2:
            self.busy.set()
        for said in script:
            if isinstance(said, float):
                for _ in range(20):  # until what was said has been heard
                    await asyncio.sleep(0)
                self.clock.time += said
                await asyncio.sleep(0.002)
            else:
                yield said
        if not self.ends or isinstance(script[-1], float):
            await asyncio.Event().wait()

    async def cancel(self, call: str) -> None:
        self.cancelled.append(call)


def drawn(place: int = 0, seed: int = 7) -> bytes:
    picture = Image.new("RGB", (8, 8), color(seed))
    return wire.value(packed(Drawing(image=picture, seconds={}), place))


CALLED = wire.called("fc-1")
ALIVE = wire.alive()
STEP = wire.value(Step(step=1, steps=2))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.001)


def asking(container: Container, at_once: int = 4) -> RemoteRenderer:
    return RemoteRenderer(
        container, at_once=at_once, timeout=100.0, startup=60.0, warm_for=30.0, monotonic=container.clock
    )


async def draw(renderer: RemoteRenderer, *requests: ResolvedRequest) -> Sequence[object]:
    drawings = await renderer.draw(requests or (request(),), lambda *_: None, threading.Event())
    return [drawing.image.getpixel((0, 0)) for drawing in drawings]


async def test_a_picture() -> None:
    container = Container(Clock(), (20.0, CALLED, STEP, 3.0, drawn()))
    renderer = asking(container)
    assert renderer.outlook("emoji") is Stage.WAKING
    assert await draw(renderer) == [color(7)]
    assert renderer.outlook("emoji") is Stage.DRAWING
    container.clock.time += 31
    assert renderer.outlook("emoji") is Stage.WAKING
    assert container.cancelled == []


async def test_a_container_that_falls_silent_is_lost_and_another_one_asked() -> None:
    container = Container(Clock(), (CALLED, STEP, SILENCE + 1), (CALLED, STEP, drawn()))
    assert await draw(asking(container)) == [color(7)]
    assert (container.calls, container.cancelled) == (2, ["fc-1"]), "or Modal would hand the first one on for ever"


async def test_a_picture_whose_answer_was_never_heard_is_drawn_again() -> None:
    """The next container needed no more answers than the lost one had given, so that its last is known by number."""
    first = drawn(0, 1)
    container = Container(Clock(), (CALLED, STEP, first), (CALLED, STEP, first, drawn(1, 2)))
    assert await draw(asking(container), request(seed=1), request(seed=2)) == [color(1), color(2)]


async def test_a_picture_that_kills_every_container_is_given_up() -> None:
    container = Container(Clock(), (CALLED, STEP, SILENCE + 1), ends=False)
    with pytest.raises(BrokeOffError, match="broke off"):
        await draw(asking(container))
    assert container.calls == STARTS
    assert container.cancelled == ["fc-1"] * STARTS


async def test_whoever_stops_is_not_asked_for_again() -> None:
    stop = threading.Event()
    container = Container(Clock(), (CALLED, STEP, SILENCE + 1), ends=False)
    with pytest.raises(GenerationCancelled):
        await asking(container).draw((request(),), lambda *_: stop.set(), stop)
    assert container.calls == 1


async def test_a_container_that_never_starts() -> None:
    container = Container(Clock(), (61.0,), ends=False)
    with pytest.raises(UnreachableError, match="No GPU"):
        await draw(asking(container))


async def test_waiting_for_those_before_is_not_drawing() -> None:
    """A container takes several calls, and may have to draw them one after the other, or to load their model."""
    waits = (CALLED, *(25.0, ALIVE) * 2, STEP)
    slow = (*(30.0, ALIVE) * 3, drawn())
    assert await draw(asking(Container(Clock(), (*waits, *slow)))) == [color(7)]


async def test_a_container_that_never_comes_to_draw() -> None:
    container = Container(Clock(), (CALLED, *(25.0, ALIVE) * 3), ends=False)
    with pytest.raises(UnreachableError, match="No GPU"):
        await draw(asking(container))
    assert container.cancelled == ["fc-1"]


async def test_a_container_that_draws_for_ever() -> None:
    container = Container(Clock(), (CALLED, STEP, *(30.0, ALIVE) * 4), ends=False)
    with pytest.raises(TookTooLongError):
        await draw(asking(container))
    assert container.cancelled == ["fc-1"]


async def test_no_more_calls_at_a_time_than_there_is_room_for() -> None:
    container = Container(Clock(), (CALLED,), ends=False)
    renderer, stop = asking(container, at_once=2), threading.Event()
    tasks = [asyncio.create_task(renderer.draw((request(),), lambda *_: None, stop)) for _ in range(5)]
    await container.busy.wait()
    stop.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, GenerationCancelled) for result in results)
    assert container.calls == 2, "those who waited never called"
