"""A bot to be killed: `python killed_bot.py HOME ADDRESS [hold]` serves the fake Discord there.

With `hold`, its engine stops in the middle of every picture.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic import SecretStr

from bot.adapters.discord.adapter import Discord
from bot.app import running
from bot.settings import Settings
from tests.fakes.discord_gateway import TOKEN
from tests.fakes.engine_client import ScriptedEngine


async def main(home: Path, address: str, *, hold: bool) -> None:
    """Serve until killed."""
    settings = Settings(
        home=home,
        discord_token=SecretStr(TOKEN),
        discord_api=f"http://{address}/api",
        discord_gateway=f"ws://{address}/gateway/",
    )
    engine = ScriptedEngine()
    if hold:
        engine.gate.clear()
    async with running(settings, engine) as app:
        await Discord(settings).run(app.dispatcher)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], hold="hold" in sys.argv))
