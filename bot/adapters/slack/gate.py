"""Who may knock in HTTP mode: Slack alone, now, and with every request once.

docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable

import structlog
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier

from bot.clock import Clock
from bot.store.slack import SlackTable

WINDOW_SECONDS = 300.0
"""How far a request's time may be from ours, as slack_sdk checks it."""
PRUNE_SECONDS = 60.0
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
SIGNATURE = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)
TIMESTAMP_HEADER, SIGNATURE_HEADER = "x-slack-request-timestamp", "x-slack-signature"

log = structlog.get_logger("bot.adapters.slack")


class Gate:
    """Tells what Slack has signed, just now, and what was taken before, also by an earlier process."""

    def __init__(self, secret: str, table: SlackTable, clock: Clock) -> None:
        self._verifier = SignatureVerifier(secret, clock=_Time(clock))
        self._clock = clock
        self._table = table
        self._waiting: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._pruned = 0.0

    async def is_new(self, signature: str) -> bool:
        """Whether a request with this signature was never taken before; from now on it was.

        Raises:
            DatabaseError: it can't be written down.
        """
        digest = hashlib.sha256(signature.encode()).digest()
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((digest, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await future

    def signature(self, headers: Iterable[tuple[str, str]], body: bytes) -> str | None:
        """The signature of a request, if it is Slack's and fresh."""
        given: dict[str, list[str]] = {TIMESTAMP_HEADER: [], SIGNATURE_HEADER: []}
        for name, value in headers:
            given.get(name.lower(), []).append(value)
        if any(len(values) != 1 for values in given.values()):
            return None
        (timestamp,), (signature,) = given[TIMESTAMP_HEADER], given[SIGNATURE_HEADER]
        if not TIMESTAMP.fullmatch(timestamp) or not SIGNATURE.fullmatch(signature):
            return None
        try:
            valid = self._verifier.is_valid(body, timestamp, signature)
        except Exception:  # noqa: BLE001  (whatever the library can't read is no request of Slack's)
            return None
        return signature if valid else None

    async def _write(self) -> None:
        """Requests that arrive during one transaction share the next one."""
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                await self._prune()
                news = await self._table.take([digest for digest, _ in taken], now=self._clock.now())
            except Exception as error:  # noqa: BLE001  (handed on to those who wait)
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), new in zip(taken, news, strict=True):
                if not future.done():
                    future.set_result(new)

    async def _prune(self) -> None:
        """Forget, now and then, requests that their own time keeps out."""
        now = self._clock.now()
        if now - self._pruned >= PRUNE_SECONDS:
            await self._table.prune(before=now - 2 * WINDOW_SECONDS - 1.0)
            self._pruned = now


class _Time(SignatureClock):
    """Our clock, as slack_sdk wants it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now()
