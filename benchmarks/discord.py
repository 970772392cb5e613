"""How fast commands are acknowledged under load: `python -m benchmarks.discord [--rate R] [--seconds S] [--json]`.

A Discord on loopback sends slash commands at an even rate to a bot in a process of its own, whose engine takes five
seconds a picture. An acknowledgement is timed from the moment when its command was due to the moment when the callback
arrives, so what this process itself needs counts against the bot. Then every picture is waited for and counted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks import load
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_person import Person
from tests.fakes.discord_values import Asked, File

FIRST_PERSON = 1_000_000
PROMPT = "a lighthouse on a cliff at dusk, number"


class Counting(FakeDiscord):
    """A Discord that keeps no pictures, and counts them by their alternative texts, which hold their prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.judging = False
        self.seen: Counter[str] = Counter()

    def arrived(self, file: File) -> File:
        """Count it."""
        self.seen[file.text.rpartition(": ")[2]] += 1
        return File(file.id, file.name, file.text, b"")

    async def ask(self, number: int) -> Asked:
        """Have somebody new give a command that nobody gave before."""
        return await Person(self, FIRST_PERSON + number).imagine(f"{PROMPT} {number}")


async def measure(home: Path, rate: float, seconds: float) -> load.Figures:
    """Give the commands, wait for the pictures, count."""
    discord = Counting()
    count = round(rate * seconds)
    async with discord.serving(), load.bot("benchmarks.discord_bot", str(home), discord.address) as process:
        await load.until_up(process, discord.gateway.ready.wait())
        await load.evenly(load.WARM_UP, rate, lambda number: discord.ask(count + number))
        await load.drained(lambda: len(discord.seen), load.WARM_UP)
        before = load.memory(process)
        asked = await load.evenly(count, rate, discord.ask)
        await load.drained(lambda: sum(command.answered is not None for _, command in asked), count, load.ACK_SECONDS)
        times = {
            f"{PROMPT} {number}": command.answered - due
            for number, (due, command) in enumerate(asked)
            if command.answered is not None and command.answered - due <= load.ACK_SECONDS
        }
        await load.drained(lambda: len(times.keys() & discord.seen.keys()), len(times))
        await load.settled()
        return load.figures(
            rate,
            times.values(),
            lost=len(times.keys() - discord.seen.keys()),
            duplicated=discord.seen.total() - len(discord.seen),
            before=before,
            after=load.memory(process),
        )


if __name__ == "__main__":
    load.main("Discord", measure)
