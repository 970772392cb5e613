"""`easel chat` with a scripted engine, to be killed: `python -m tests.bot.adapters.console_bot HOME [blocked]`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from bot.adapters.console import Console
from bot.app import running
from bot.logs import configure
from bot.settings import Settings
from tests.fakes.engine_client import ScriptedEngine


async def main(home: Path, blocked: bool) -> None:
    """Chat over standard input and output until the input ends or SIGTERM comes."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    settings, engine = Settings(home=home), ScriptedEngine()
    configure(settings)
    if blocked:
        engine.gate.clear()
    async with running(settings, engine) as app:
        await Console(source=0, out=sys.stdout, folder=home / "pictures").run(app.dispatcher)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), "blocked" in sys.argv))
