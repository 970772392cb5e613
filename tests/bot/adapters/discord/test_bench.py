"""What the load benchmarks count: answers from the moment when they were due, pictures by their commands."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import load
from benchmarks.discord import Counting
from tests.fakes.discord_values import File


async def test_commands_are_given_when_they_are_due_whatever_became_of_others() -> None:
    given, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def give(number: int) -> int:
        given.release()
        await go_on.wait()  # as a connection does that nobody reads from
        return number

    task = asyncio.create_task(load.evenly(5, 1000.0, give))
    for _ in range(5):
        await given.acquire()
    go_on.set()
    asked = await task
    assert [number for _, number in asked] == list(range(5))
    assert [round(due - asked[0][0], 6) for due, _ in asked] == [0.0, 0.001, 0.002, 0.003, 0.004]


def test_figures_are_of_what_was_acknowledged() -> None:
    times = [number / 1000 for number in range(1, 101)]
    found = load.figures(50.0, reversed(times), lost=1, duplicated=2, before=3.0, after=4.0)
    assert (found["accepted"], found["ack_p50_ms"], found["ack_p99_ms"], found["ack_max_ms"]) == (
        100,
        50.0,
        99.0,
        100.0,
    )
    assert (found["lost"], found["duplicated"]) == (1, 2)
    nothing = load.figures(50.0, [], lost=0, duplicated=0, before=3.0, after=4.0)
    assert (nothing["accepted"], nothing["ack_max_ms"]) == (0, 0.0)


def test_pictures_are_counted_by_their_prompts_and_not_kept() -> None:
    discord = Counting()
    for number, prompt in enumerate(("a cat", "a dog", "a cat")):
        kept = discord.arrived(File(number, f"job{number}-1.png", f"Generated picture: {prompt}", b"x" * 1000))
        assert kept.data == b""
    assert discord.seen == {"a cat": 2, "a dog": 1}


async def test_a_bot_that_ends_is_not_waited_for() -> None:
    async with load.bot("this", "that") as process:
        with pytest.raises(RuntimeError, match="did not connect"):
            await load.until_up(process, asyncio.Event().wait())
