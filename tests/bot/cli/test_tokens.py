"""What Discord and Slack answer to a token, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from bot.cli import tokens
from bot.cli.tokens import Answer
from bot.settings import Settings

GOOD = "good-token"


class Platforms(BaseHTTPRequestHandler):
    """Both APIs' answers as their documentation gives them."""

    def do_GET(self) -> None:
        good = self.headers["Authorization"] in (f"Bot {GOOD}", f"Bearer {GOOD}")
        if self.path == "/discord/users/@me" and self.headers["User-Agent"].startswith("DiscordBot ("):
            self._answer(200, {"username": "easel"}) if good else self._answer(401, {"message": "401: Unauthorized"})
        elif self.path == "/slack/auth.test":
            reply = {"ok": True, "user": "easel", "team": "Zoo"} if good else {"ok": False, "error": "invalid_auth"}
            self._answer(200, reply)
        elif self.path.startswith("/odd"):
            self._answer(200, [])
        else:
            self._answer(503, "down")

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Platforms)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def settings(token: str, discord: str, slack: str) -> Settings:
    secret = SecretStr(token)
    return Settings(discord_token=secret, slack_bot_token=secret, discord_api=discord, slack_api=slack)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_good_token_is_valid(base: str, slash: str) -> None:
    known = settings(GOOD, f"{base}/discord{slash}", f"{base}/slack{slash}")
    assert await tokens.ask("discord", known) == Answer(verdict="valid", detail="easel")
    assert await tokens.ask("slack", known) == Answer(verdict="valid", detail="easel @ Zoo")


async def test_a_bad_token_is_refused(base: str) -> None:
    known = settings("bad", f"{base}/discord", f"{base}/slack")
    assert await tokens.ask("discord", known) == Answer(verdict="refused", detail="401: Unauthorized")
    assert await tokens.ask("slack", known) == Answer(verdict="refused", detail="invalid_auth")


@pytest.mark.parametrize("where", ["down", "odd"])
async def test_a_platform_in_trouble_says_nothing_about_the_token(base: str, where: str) -> None:
    known = settings(GOOD, f"{base}/{where}", f"{base}/{where}")
    assert (await tokens.ask("slack", known)).verdict == "unasked"
    if where == "down":
        assert (await tokens.ask("discord", known)) == Answer(verdict="unasked", detail="503")


async def test_an_unreachable_platform_and_a_broken_address(base: str) -> None:
    known = settings(GOOD, "http://127.0.0.1:9/", "nonsense")
    assert (await tokens.ask("discord", known)).verdict == "unasked"
    assert (await tokens.ask("slack", known)).verdict == "unasked"


async def test_no_token_is_not_asked() -> None:
    assert await tokens.ask("discord", Settings()) == Answer(verdict="unset")
    assert await tokens.ask("slack", Settings()) == Answer(verdict="unset")
