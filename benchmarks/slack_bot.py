"""The bot whose answers `benchmarks.slack` times: a process of its own, with an engine of five seconds a picture.

`python -m benchmarks.slack_bot HOME API PORT`, with port 0 for Socket Mode; everything but the engine is what
`easel serve` runs.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from benchmarks.discord_bot import SlowEngine
from bot import logs
from bot.adapters.slack.adapter import Slack
from bot.app import running
from bot.settings import Settings
from tests.fakes.slack import SECRET
from tests.fakes.slack_api import APP_TOKEN, BOT_TOKEN


async def main(home: Path, api: str, port: int) -> None:
    """Serve until killed."""
    settings = Settings(
        home=home,
        slack_bot_token=SecretStr(BOT_TOKEN),
        slack_app_token=SecretStr(APP_TOKEN),
        slack_signing_secret=SecretStr(SECRET),
        slack_http=port > 0,
        slack_http_port=port or 3000,
        slack_api=api,
        daily_pictures=0,
        waiting=100_000,
        workers=1000,
    )
    logs.configure(settings)
    async with running(settings, SlowEngine()) as app:
        await Slack(settings).run(app.dispatcher)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
