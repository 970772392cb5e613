"""A bot to be killed: `python crashing_bot.py HOME drawing|sending [EVENT]`.

It takes a job, says where it is on standard output, and then waits for the end in the middle of it. Messages go to
the file `channel` in HOME, a line with nonce and prompts each, as a platform would keep them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bot.chat import Delivery
from tests.bot.workbench import working


def posted(home: Path) -> list[str]:
    """The lines of the channel."""
    channel = home / "channel"
    return channel.read_text().splitlines() if channel.exists() else []


def post(home: Path, delivery: Delivery) -> str:
    """Write a message to the channel, unless it can be found there by its nonce; returns its id."""
    lines = posted(home)
    known = [number for number, line in enumerate(lines) if line.split()[0] == delivery.nonce]
    if delivery.attempt > 1 and known:
        return f"message-{known[0]}"
    prompts = [picture.image.request.prompt for picture in delivery.pictures]
    with (home / "channel").open("a") as channel:
        channel.write(" ".join([delivery.nonce, *prompts]) + "\n")
    return f"message-{len(lines)}"


async def main(home: Path, where: str) -> None:
    """Take a job, and come to a stop in the middle of it."""
    forever = asyncio.Event()

    async def send(delivery: Delivery) -> str:
        message = post(home, delivery)
        if where == "sending":
            print("ready", flush=True)  # noqa: T201  (the parent reads it)
            await forever.wait()
        return message

    async with working(home) as bench:
        if where == "drawing":
            bench.engine.gate.clear()
        job = (await bench.submit("apple", "pear")).job
        async for update in bench.jobs.watch(job):
            if isinstance(update, Delivery):
                await bench.jobs.deliver(update, send)
            elif where == "drawing" and bench.engine.begun.is_set():
                print("ready", flush=True)  # noqa: T201  (the parent reads it)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
