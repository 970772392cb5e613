from __future__ import annotations

import asyncio

import pytest

from bot.adapters.web import pace
from bot.adapters.web.pace import A_SECOND, BURST, UNREAD, UNREAD_SECONDS, Pace, Turns, Unread
from bot.errors import LimitError


class HandClock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_person_s_requests_are_counted_and_forgiven() -> None:
    clock = HandClock()
    paces = Pace(clock)
    assert all(paces.allows("ada") for _ in range(BURST))
    assert not paces.allows("ada")
    assert paces.allows("bob", BURST)
    clock.time += 1.0
    assert not paces.allows("ada", A_SECOND + 1)
    assert all(paces.allows("ada") for _ in range(int(A_SECOND)))
    assert not paces.allows("ada")
    clock.time += 1_000.0
    assert paces.allows("ada", BURST)
    assert not paces.allows("ada")


def test_only_so_many_people_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "REMEMBERED", 2)
    paces = Pace(HandClock())
    assert paces.allows("ada", BURST)
    for name in ("bob", "cy"):
        assert paces.allows(name)
    assert paces.allows("ada", BURST), "who was long away begins again"


def test_what_nobody_reads_is_counted_until_somebody_does_or_it_is_forgotten() -> None:
    clock = HandClock()
    forgotten: list[str] = []
    unread = Unread(forgotten.append, clock)
    for number in range(UNREAD):
        assert unread.allows("ada", f"page{number % 2}")
        clock.time += 1.0
    assert not unread.allows("ada", "page9")
    assert unread.allows("bob", "bobs")
    unread.read("ada", "page0")
    assert unread.allows("ada", "page9")
    clock.time = 1.0 + UNREAD_SECONDS
    assert unread.allows("bob", "another")
    assert forgotten == ["page1"]
    unread.read("ada", "a page of which nothing waits")


async def test_one_person_has_one_turn_at_a_time() -> None:
    turns = Turns(1)
    begun, go_on = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def take(name: str) -> None:
        async with turns.turn(name, "en"):
            begun.set()
            order.append(name)
            await go_on.wait()

    tasks = [asyncio.create_task(take(name)) for name in ("ada", "bob")]
    await begun.wait()
    for name in ("ada", "bob"):
        with pytest.raises(LimitError, match="still being answered"):
            await take(name)
    assert order == ["ada"], "bob waits for his turn"
    go_on.set()
    await asyncio.gather(*tasks)
    await take("ada")
    assert order == ["ada", "bob", "ada"]
