"""The bot whose answers `benchmarks.discord` times: a process of its own, with an engine of five seconds a picture.

`python -m benchmarks.discord_bot HOME ADDRESS`; everything but the engine is what `easel serve` runs.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from bot import logs
from bot.adapters.discord.adapter import Discord
from bot.app import running
from bot.settings import Settings
from engine.types import Cached, Event, Image, Order, Progress, Stage
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.engine_client import ScriptedEngine

PICTURE_SECONDS = 5.0
STEPS = 20
PICTURE_BYTES = 100_000
PREVIEW_BYTES = 4_000


class SlowEngine(ScriptedEngine):
    """Draws any number of pictures side by side, as rented GPUs do, each in its time."""

    def __init__(self) -> None:
        super().__init__()
        noise = random.Random(0)
        self._picture = b"\x89PNG\r\n\x1a\n" + noise.randbytes(PICTURE_BYTES)
        self._preview = b"\xff\xd8\xff" + noise.randbytes(PREVIEW_BYTES)

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """A step, a wait, a step; then the picture."""
        for index, request in enumerate(order.requests):
            for step in range(1, STEPS + 1):
                yield Progress(index=index, stage=Stage.DRAWING, step=step, steps=STEPS, preview=self._preview)
                await asyncio.sleep(PICTURE_SECONDS / STEPS)
            yield Image(
                index=index,
                data=self._picture,
                request=request,
                key=f"{index:064x}",
                generation_key=f"{index:064x}",
                cached=Cached.NONE,
                seconds={"draw": PICTURE_SECONDS},
            )


async def main(home: Path, address: str) -> None:
    """Serve until killed."""
    settings = Settings(
        home=home,
        discord_token=SecretStr(TOKEN),
        discord_api=f"http://{address}/api",
        discord_gateway=f"ws://{address}/gateway/",
        daily_pictures=0,
        waiting=100_000,
        workers=1000,
    )
    logs.configure(settings)
    async with running(settings, SlowEngine()) as app:
        await Discord(settings).run(app.dispatcher)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
